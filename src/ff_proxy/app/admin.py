"""The admin address: bound at startup, and served by the one process that reports for the whole proxy."""

import os
import signal
from collections.abc import Callable, Sequence

from ff_proxy import __version__
from ff_proxy.admin.app import AdminApp
from ff_proxy.admin.ports import (
    AdminPorts,
    ProxyFacts,
    ReloadResult,
    SettingRow,
)
from ff_proxy.admin.server import AdminServer
from ff_proxy.api.openapi import openapi_json
from ff_proxy.app.backend import Backend, ServedStore
from ff_proxy.app.options_reload import ADMIN_FLAGS, OptionsReload
from ff_proxy.app.process import ProcessContext, process_count
from ff_proxy.app.start_lines import start_facts
from ff_proxy.config.load import Loaded
from ff_proxy.config.records import GenerateOptions, OfflineOptions, ProxyOptions, ReplicaOptions
from ff_proxy.config.settings import DEFAULT
from ff_proxy.http.sockets import Listening
from ff_proxy.model.keys import Secret
from ff_proxy.model.readiness import Readiness
from ff_proxy.runtime.services import Service
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.usage.tally import UsageTally


def make_admin(
    listening: Listening,
    reload: OptionsReload,
    options: ProxyOptions,
    *,
    snapshots: SnapshotRegistry,
    backend: Backend[ServedStore],
    sent: UsageTally | None,
    readiness: Callable[[], Readiness],
    context: ProcessContext,
) -> Sequence[Service]:
    """The services that serve the admin address on ``listening``; ``reload`` has the current options."""
    telemetry, clock = context.telemetry, context.clock
    log = telemetry.logger("admin")
    # The token is read from the options on each request.
    reload.add(ADMIN_FLAGS, lambda _: ())

    def reload_all() -> ReloadResult:
        result = reload()
        if options.serving.workers > 1 and not result.problems:
            # The supervisor makes all processes reload, including this one.
            os.kill(os.getppid(), signal.SIGHUP)
        return result

    app = AdminApp(
        AdminPorts(
            facts=_facts(reload.loaded, clock.wall()),
            snapshots=snapshots,
            statuses=backend.store.configs,
            targets=backend.store.targets,
            readiness=readiness,
            settings=lambda: setting_rows(reload.loaded),
            log=telemetry.recent,
            levels=telemetry.levels,
            collect=telemetry.collect,
            reload=reload_all,
            token=lambda: _token(reload.loaded),
            sdk_port=lambda: openapi_json(__version__),
            fleet=backend.members,
            sent=sent,
            silent=_why_nothing_is_sent(options),
            clock=clock,
        ),
        log,
        lambda error: telemetry.failures.contained("admin address", error),
    )
    return [AdminServer(app, listening), app.history]


def _why_nothing_is_sent(options: ProxyOptions) -> str:
    """Why a proxy with these options sends no usage to Harness; empty if it sends usage."""
    if isinstance(options, OfflineOptions):
        return "This proxy is offline: it sends no usage to Harness, and drops what SDKs report."
    if options.usage.post_interval is None:
        return "metric-post-duration is 0: no usage is sent to Harness, and what SDKs report is dropped."
    if isinstance(options, ReplicaOptions):
        return "This is a read replica: the leader of each environment sends what SDKs report here."
    return ""


def setting_rows(loaded: Loaded) -> Sequence[SettingRow]:
    """All options, as shown on the settings page."""
    return [
        SettingRow(
            section=setting.option.section,
            flag=setting.option.flag,
            variable=setting.option.env,
            value=setting.masked,
            source=setting.place,
            given=setting.place != DEFAULT,
            meaning=setting.option.meaning,
            reloadable=setting.option.reloadable,
        )
        for setting in loaded.report
    ]


def _facts(loaded: Loaded, started: float) -> ProxyFacts:
    facts, options = start_facts(loaded), loaded.options
    assert not isinstance(options, GenerateOptions)  # noqa: S101  (that role serves nothing)
    return ProxyFacts(
        version=__version__,
        mode=str(facts["mode"]),
        store=str(facts["store"]),
        address=str(facts["address"]),
        processes=process_count(options),
        started=started,
        and_rules=options.serving.and_rules,
    )


def _token(loaded: Loaded) -> Secret | None:
    token: Secret | None = next(one.value for one in loaded.report if one.option.flag == "admin-token")
    return token
