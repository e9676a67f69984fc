"""Generate: fetch everything once, write the offline directory, and end."""

import asyncio

from ff_proxy.config.load import Loaded
from ff_proxy.config.records import GenerateOptions
from ff_proxy.errors import ExitCode
from ff_proxy.modes.process import make_telemetry
from ff_proxy.modes.saas import make_collector, open_apis
from ff_proxy.offline.format import OfflineEnvironment
from ff_proxy.offline.write import check_writable, write_directory
from ff_proxy.runtime.clock import SystemClock


def run(loaded: Loaded) -> ExitCode:
    """Write the directory; raises ``StartupError`` or ``UpstreamError`` and leaves an older one as it was."""
    assert isinstance(loaded.options, GenerateOptions)  # noqa: S101  (cli chose this module by the type)
    return asyncio.run(_generate(loaded.options, loaded.warnings))


async def _generate(options: GenerateOptions, warnings: tuple[str, ...]) -> ExitCode:
    clock = SystemClock()
    telemetry = make_telemetry(options.operation, clock, warnings)
    log = telemetry.logger("generate")
    await asyncio.to_thread(check_writable, options.config_dir)
    async with open_apis(options.upstream, clock, telemetry) as apis:
        collected = await make_collector(apis, telemetry).collect(options.upstream.api_keys)
    environments = [OfflineEnvironment(one.config, one.targets) for one in collected]
    written = await asyncio.to_thread(write_directory, options.config_dir, environments, clock.wall())
    for directory in written.directories:
        log.info("environment written", directory=str(directory))
    for environment in written.untouched:
        log.warning("environment is not configured, its files stay as they are", environment=environment)
    return ExitCode.OK
