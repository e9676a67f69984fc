"""An online shop: the same flags in development and in production, further along in the former."""

from typing import Final, Literal

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
    needs,
    rollout,
    rule,
    serve,
    target,
)

Stage = Literal["development", "production"]

_IDS: Final = {
    "development": "11111111-1111-4111-8111-111111111111",
    "production": "22222222-2222-4222-8222-222222222222",
}
_SHORT: Final = {"development": "dev", "production": "prod"}


def shop(stage: Stage) -> Environment:
    """One of the shop's environments."""
    info = identity(_IDS[stage], stage, "online_shop", cluster="1")
    return Environment(
        info,
        flags=_flags(info, developing=stage == "development"),
        segments=_groups(info),
        targets=_targets(),
        keys=keys(_SHORT[stage]),
    )


def _flags(info: EnvironmentInfo, *, developing: bool) -> list[Document]:
    return [
        flag(
            info,
            "dark_mode",
            "boolean",
            BOOLEAN,
            off="false",
            default=serve("false"),
            variationToTargetMap=[given_to("true", targets=["alice"], groups=["beta_testers"])],
        ),
        flag(
            info,
            "checkout_flow",
            "string",
            {"classic": "classic", "one_page": "one-page", "express": "express"},
            off="classic",
            default=rollout("identifier", classic=50, one_page=30, express=20),
            rules=[
                rule(1, serve("express"), in_group("internal_staff")),
                rule(2, serve("classic"), clause("browser", "starts_with", "Internet Explorer")),
            ],
        ),
        flag(
            info,
            "one_click_payment",
            "boolean",
            BOOLEAN,
            off="false",
            default=serve("true"),
            prerequisites=[needs("checkout_flow", "one_page", "express")],
        ),
        flag(
            info,
            "search_results_per_page",
            "int",
            {"few": "10", "some": "25", "many": "50"},
            off="few",
            default=serve("some"),
            rules=[
                rule(
                    1, serve("few"), clause("device", "equal", "phone"), clause("connection", "equal", "slow")
                ),
                rule(2, serve("many"), clause("device", "in", "desktop", "tv")),
            ],
        ),
        flag(
            info,
            "price_display",
            "json",
            {
                "net": '{"currency":"USD","tax":"excluded","decimals":2}',
                "gross": '{"currency":"EUR","tax":"included","decimals":2}',
            },
            off="net",
            default=serve("net"),
            rules=[rule(1, serve("gross"), in_group("europe"))],
        ),
        flag(
            info,
            "recommendations",
            "json",
            {
                "none": '{"enabled":false}',
                "similar": '{"enabled":true,"model":"similar-items","count":4}',
                "bought_together": '{"enabled":true,"model":"bought-together","count":8}',
            },
            off="none",
            default=serve("none" if not developing else "similar"),
            rules=[
                rule(
                    1,
                    rollout("company", similar=50, bought_together=50),
                    in_group("enterprise_customers", "beta_testers"),
                )
            ],
        ),
        flag(
            info,
            "shipping_banner",
            "string",
            {"none": "", "free": "Free shipping from 50 €, today only!", "late": "Deliveries may be late"},
            off="none",
            default=serve("free"),
            state="on" if developing else "off",
        ),
        flag(
            info,
            "new_search",
            "boolean",
            BOOLEAN,
            off="false",
            default=rollout("email", true=100 if developing else 10, false=0 if developing else 90),
            rules=[rule(1, serve("true"), clause("email", "match", r"^[a-z.]+\+test@"))],
        ),
    ]


def _groups(info: EnvironmentInfo) -> list[Document]:
    premium = clause("plan", "equal", "enterprise")
    return [
        group(
            info,
            "beta_testers",
            "Beta testers",
            included=["bob", "carol"],
            excluded=["mallory"],
            rules=[clause("beta", "equal", "true")],
        ),
        group(
            info,
            "internal_staff",
            "Internal staff",
            rules=[clause("email", "ends_with", "@shop.example"), clause("role", "equal_sensitive", "Staff")],
        ),
        group(
            info,
            "europe",
            "Visitors from Europe",
            rules=[clause("country", "in", "AT", "BE", "DE", "ES", "FR", "IT", "NL", "PT")],
        ),
        group(
            info,
            "enterprise_customers",
            "Enterprise customers",
            rules=[premium],
            serving_rules=[
                [premium, clause("seats", "gt", "100")],
                [premium, clause("name", "contains", "Ltd")],
            ],
        ),
    ]


def _targets() -> list[Document]:
    return [
        target("alice", "Alice", email="alice@example.com", country="DE", plan="free", device="phone"),
        target("bob", "Bob", email="bob@example.com", country="US", plan="pro", device="desktop"),
        target("carol", "Carol", email="carol@shop.example", country="FR", role="Staff", beta=True),
        target("dave", "Dave Ltd", email="dave+test@example.org", country="GB", plan="enterprise", seats=250),
        target("mallory", "Mallory", email="mallory@example.net", beta=True),
    ]
