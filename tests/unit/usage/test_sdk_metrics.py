"""Labels that clients choose stay few and short."""

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.telemetry import null_telemetry
from ff_proxy.usage.sdk_metrics import SdkCounter
from ff_proxy.wire.usage import SdkLabels

ENV = EnvironmentId("5b3ae4f2-46a4-4e0a-a2f6-24d8ff2f3a11")


def test_new_sdks_beyond_the_capacity_count_as_other() -> None:
    """Known ones keep their own series; long labels are cut."""
    telemetry = null_telemetry()
    sdks = SdkCounter(telemetry.metrics.sdk_usage, capacity=2)
    for version in ("1", "2" * 100, "3", "4", "1"):
        sdks.count(ENV, SdkLabels("server", version, "go"))
    text = telemetry.exposition().decode()
    lines = {line for line in text.splitlines() if line.startswith("ff_proxy_sdk_usage")}
    shown = 'ff_proxy_sdk_usage{{envID="{}",sdk_language="{}",sdk_type="{}",sdk_version="{}"}} {}'
    assert lines == {
        shown.format(ENV, "go", "server", "1", "2.0"),
        shown.format(ENV, "go", "server", "2" * 40, "1.0"),
        shown.format(ENV, "other", "other", "other", "2.0"),
    }


def test_thirty_thousand_odd_sdks_are_few_series() -> None:
    """Whatever they call themselves, and however long."""
    telemetry = null_telemetry()
    counter = SdkCounter(telemetry.metrics.sdk_usage)
    for number in range(30_000):
        counter.count(EnvironmentId("e1"), SdkLabels(f"t{number}" * 9, f"v\n{number}", f'"l{number}'))
    lines = [line for line in telemetry.exposition().decode().splitlines() if line.startswith("ff_proxy_sdk")]
    assert len(lines) <= 201
    assert sum(float(line.rpartition(" ")[2]) for line in lines) == 30_000
    assert max(map(len, lines)) < 250
