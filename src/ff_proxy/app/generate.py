"""Generate: fetch everything once, write the offline directory, and end."""

import asyncio
from functools import partial

from ff_proxy.app.process_setup import make_telemetry
from ff_proxy.app.upstream import make_exporter, open_apis
from ff_proxy.config.load import Loaded
from ff_proxy.config.records import GenerateOptions
from ff_proxy.errors import ExitCode
from ff_proxy.offline.format import OfflineEnvironment
from ff_proxy.offline.writer import check_writable, write_directory
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.runtime.event_loop import run_until_told
from ff_proxy.runtime.signals import Stop


def run(loaded: Loaded) -> ExitCode:
    """Write the directory; an older one stays as it was if that fails or a signal comes before the end.

    Raises ``StartupError`` or ``UpstreamError``.
    """
    assert isinstance(loaded.options, GenerateOptions)  # noqa: S101  (cli chose this module by the type)
    return run_until_told(partial(_generate, loaded, loaded.options), unfinished=ExitCode.CRASH)


async def _generate(loaded: Loaded, options: GenerateOptions, stop: Stop) -> ExitCode:
    clock = SystemClock()
    telemetry = make_telemetry(loaded, clock)
    log = telemetry.logger("generate")
    await asyncio.to_thread(check_writable, options.config_dir)
    try:
        async with open_apis(options.upstream, clock, telemetry) as apis:
            collected = await make_exporter(apis, telemetry).collect(options.upstream.api_keys)
    except asyncio.CancelledError:
        log.warning("interrupted, nothing is written", directory=str(options.config_dir))
        raise
    stop.taken_over = True  # what is left takes a moment, and is better finished than begun
    environments = [OfflineEnvironment(one.config, one.targets) for one in collected]
    written = await asyncio.to_thread(write_directory, options.config_dir, environments, clock.wall())
    for directory in written.directories:
        log.info("environment written", directory=str(directory))
    for directory in written.made_private:
        log.warning("other users could read this directory, its mode was corrected", directory=str(directory))
    for environment in written.untouched:
        log.warning("environment is not configured, its files stay as they are", environment=environment)
    return ExitCode.OK
