"""Generate mode: fetches everything once, writes the offline directory, and exits."""

import asyncio

from ff_proxy.app.harness import open_apis
from ff_proxy.app.process import ProcessContext
from ff_proxy.app.roles import Generate
from ff_proxy.errors import ExitCode
from ff_proxy.offline.format import OfflineEnvironment
from ff_proxy.offline.writer import check_writable, write_directory
from ff_proxy.runtime.signals import Stop
from ff_proxy.upstream.snapshot_export import SnapshotExporter


async def generate(role: Generate, context: ProcessContext, stop: Stop) -> ExitCode:
    """Write the directory; on failure or a signal an older one stays unchanged.

    Raises ``StartupError`` or ``UpstreamError``.
    """
    options, telemetry = role.options, context.telemetry
    log = telemetry.logger("generate")
    await asyncio.to_thread(check_writable, options.config_dir)
    try:
        async with open_apis(options.upstream, context) as apis:
            exporter = SnapshotExporter(
                api=apis.client, admin=apis.admin, telemetry=telemetry, schedule=apis.schedule
            )
            collected = await exporter.collect(options.upstream.api_keys)
    except asyncio.CancelledError:
        log.warning("interrupted, nothing is written", directory=str(options.config_dir))
        raise
    stop.taken_over = True  # do not interrupt the write, which is short
    environments = [OfflineEnvironment(one.config, one.targets) for one in collected]
    now = context.clock.wall()
    written = await asyncio.to_thread(write_directory, options.config_dir, environments, now)
    for directory in written.directories:
        log.info("environment written", directory=str(directory))
    for directory in written.made_private:
        log.warning("other users could read this directory, its mode was corrected", directory=str(directory))
    for environment in written.untouched:
        log.warning("environment is not configured, its files stay as they are", environment=environment)
    return ExitCode.OK
