"""Options about Harness: account, addresses, synchronisation, and usage."""

from dataclasses import dataclass
from typing import ClassVar, Final

from ff_proxy.config import value_types as kinds
from ff_proxy.config.declare import option, required
from ff_proxy.config.sections import HARNESS, SYNC
from ff_proxy.model.keys import SdkKey, Secret

_CONFIG_URL: Final = "https://config.ff.harness.io/api/1.0"
_EVENTS_URL: Final = "https://events.ff.harness.io/api/1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamOptions:
    """Account, addresses and synchronisation. Intervals are in seconds.

    ``target_poll_interval`` is ``None`` if targets are never fetched.
    """

    section: ClassVar[str] = HARNESS

    account: str = required(
        kinds.IDENTIFIER, "Account whose configuration is loaded", name="account-identifier"
    )
    organization: str = required(
        kinds.IDENTIFIER, "Organisation whose configuration is loaded", name="org-identifier"
    )
    admin_token: Secret = required(
        kinds.TOKEN,
        "Service account token for the admin service",
        name="admin-service-token",
        reloadable=True,
    )
    api_keys: tuple[SdkKey, ...] = required(
        kinds.KEYS,
        "Server SDK keys, one or more per environment, separated by commas; those of all sources are joined",
        reloadable=True,
    )
    admin_service: str = option(
        kinds.URL, "https://app.harness.io/gateway/cf", "URL of the admin service: SDK keys and targets"
    )
    client_service: str = option(
        kinds.URL, _CONFIG_URL, "URL of the client service: authentication and registration of targets"
    )
    metric_service: str = option(
        kinds.URL, _EVENTS_URL, "URL to which usage is forwarded", fallback="sdk-events-url"
    )
    sdk_base_url: str = option(kinds.URL, _CONFIG_URL, "URL of flags, target groups and the stream")
    sdk_events_url: str = option(
        kinds.URL, _EVENTS_URL, "URL to which usage is forwarded if metric-service is not set"
    )
    stream_enabled: bool = option(
        kinds.BOOLEAN,
        True,
        "Follow Harness by streaming; false: by polling, for networks that block streams",
        name="flag-stream-enabled",
        section=SYNC,
    )
    flag_poll_interval: float = option(
        kinds.seconds(1),
        60.0,
        "Seconds between polls while no stream from Harness is open, at least 1",
        section=SYNC,
    )
    target_poll_interval: float | None = option(
        kinds.zero_for_none(kinds.seconds(1)),
        None,
        "Seconds between fetches of the targets; 0: never",
        name="target-poll-duration",
        section=SYNC,
    )
    key_refresh_interval: float = option(
        kinds.seconds(1),
        60.0,
        "Seconds between refreshes of the SDK keys, at least 1",
        name="api-key-refresh-interval",
        section=SYNC,
    )
    forward_targets: bool = option(
        kinds.BOOLEAN, True, "Register targets that SDKs send with Harness", section=SYNC
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageOptions:
    """Seconds between posts of usage; ``None``: usage is accepted from SDKs and discarded."""

    section: ClassVar[str] = SYNC

    post_interval: float | None = option(
        kinds.zero_for_none(kinds.seconds(1)),
        60.0,
        "Seconds between posts of usage to Harness; 0: do not forward",
        name="metric-post-duration",
    )
    ofrep: bool = option(
        kinds.BOOLEAN,
        True,
        "Count evaluations over OFREP as usage",
        name="ofrep-usage",
    )
