"""The shop's back office: another project, on the other cluster, one environment."""

from typing import Final

from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.sandbox.environment import Document, Environment
from ff_proxy.sandbox.seed.build import (
    BOOLEAN,
    clause,
    flag,
    given_to,
    group,
    identity,
    in_group,
    keys,
    rollout,
    rule,
    serve,
    target,
)

_ID: Final = "33333333-3333-4333-8333-333333333333"


def office() -> Environment:
    """The environment ``back_office``."""
    info = identity(_ID, "back_office", "back_office", cluster="2")
    return Environment(
        info,
        flags=_flags(info),
        segments=[
            group(
                info, "managers", "Managers", included=["erin"], rules=[clause("role", "equal", "manager")]
            ),
            group(info, "warehouse", "Warehouse", rules=[clause("team", "in", "picking", "packing")]),
        ],
        targets=[
            target("erin", "Erin", role="manager", team="sales"),
            target("frank", "Frank", role="clerk", team="packing"),
        ],
        keys=keys("office"),
    )


def _flags(info: EnvironmentInfo) -> list[Document]:
    return [
        flag(
            info,
            "bulk_refunds",
            "boolean",
            BOOLEAN,
            off="false",
            default=serve("false"),
            rules=[rule(1, serve("true"), in_group("managers"))],
        ),
        flag(
            info,
            "export_row_limit",
            "int",
            {"small": "1000", "large": "100000"},
            off="small",
            default=serve("small"),
            variationToTargetMap=[given_to("large", groups=["managers"])],
        ),
        flag(
            info,
            "scanner_profile",
            "json",
            {"v1": '{"beep":true,"retries":3}', "v2": '{"beep":false,"retries":5,"camera":"wide"}'},
            off="v1",
            default=serve("v1"),
            rules=[rule(1, rollout("team", v1=50, v2=50), in_group("warehouse"))],
        ),
        flag(
            info,
            "maintenance_notice",
            "string",
            {"none": "", "tonight": "The back office is down for maintenance from 22:00."},
            off="none",
            default=serve("tonight"),
            state="off",
        ),
    ]
