"""What users of a running sandbox are told: addresses, keys, lines to copy."""

from collections.abc import Sequence

from ff_proxy.sandbox.keys import KeyType
from ff_proxy.sandbox.server import RunningSandbox


def proxy_options(sandbox: RunningSandbox, api_keys: Sequence[str]) -> list[tuple[str, str]]:
    """The options of an ff-proxy in front of ``sandbox``, as name and value."""
    organization = next((one.info.organization_identifier for one in sandbox.state.environments.values()), "")
    return [
        ("account-identifier", sandbox.state.account),
        ("org-identifier", organization),
        ("admin-service", sandbox.admin_url),
        ("admin-service-token", sandbox.state.admin_token),
        ("api-keys", ",".join(api_keys)),
        ("client-service", sandbox.client_url),
        ("metric-service", sandbox.client_url),
        ("sdk-base-url", sandbox.client_url),
        ("sdk-events-url", sandbox.client_url),
    ]


def server_keys(sandbox: RunningSandbox) -> list[str]:
    """One server key of each environment that has one whose text is known."""
    found = []
    for environment in sandbox.state.environments.values():
        texts = [key.text for key in environment.keys if key.type == "Server" and key.text]
        found.extend(texts[:1])
    return found


def first_key(sandbox: RunningSandbox, kind: KeyType) -> str:
    """A key of that kind to show: the first whose text is known, of whatever kind if there is no other."""
    known = [
        key for environment in sandbox.state.environments.values() for key in environment.keys if key.text
    ]
    return next((key.text for key in known if key.type == kind), known[0].text if known else "<a key>")


def as_record(sandbox: RunningSandbox, proxy_url: str = "") -> dict[str, object]:
    """The same for programs: ``ready`` is true, ``url`` the root, the rest what options and SDKs need.

    ``proxyUrl`` is there if a proxy runs in front.
    """
    return {
        "ready": True,
        "url": sandbox.url,
        "clientUrl": sandbox.client_url,
        "adminUrl": sandbox.admin_url,
        "adminToken": sandbox.state.admin_token,
        "account": sandbox.state.account,
        "environments": {
            environment.info.identifier: environment.info.id
            for environment in sandbox.state.environments.values()
        },
        "serverKeys": server_keys(sandbox),
        "proxyOptions": dict(proxy_options(sandbox, server_keys(sandbox))),
        **({"proxyUrl": proxy_url} if proxy_url else {}),
    }


def greeting(sandbox: RunningSandbox, proxy_url: str = "", sdks: Sequence[str] = ()) -> str:
    """Everything a person needs to begin, as lines to read and to copy.

    With a proxy in front, ``sdks`` are the lines to paste into SDKs.
    """
    options = proxy_options(sandbox, server_keys(sandbox) or ["<a server key of each environment>"])
    command = " \\\n".join(["  ff-proxy", *(f"    -{name} {value}" for name, value in options)])
    sdk_parts = [
        f"An SDK straight at it: base URL and events URL are both\n  {sandbox.client_url}",
        f"ff-proxy in front of it, for SDKs with base URL and events URL http://127.0.0.1:7000:\n{command}",
    ]
    if proxy_url:
        pasted = "\n".join(f"  {line}" for line in sdks)
        sdk_parts = [f"ff-proxy in front of it, on {proxy_url}. Paste into your SDK:\n{pasted}"]
    return "\n\n".join(
        [
            f"A Harness of your own, on {sandbox.url} (Ctrl-C ends it): a page with switches",
            _environments(sandbox),
            *sdk_parts,
            f"Change a flag and watch:\n{_flips(sandbox)}",
            f"More: {sandbox.url}/sandbox lists what else can be seen and done",
        ]
    )


def _environments(sandbox: RunningSandbox) -> str:
    lines = []
    for environment in sandbox.state.environments.values():
        info = environment.info
        lines.append(f"  {info.identifier or info.id}: {len(environment.flags)} flags, id {info.id}")
        lines.extend(
            f"    {key.type.lower()} key {key.text or f'with SHA-256 {key.hash}'}" for key in environment.keys
        )
    return "Environments:\n" + "\n".join(lines or ["  none yet"])


def _flips(sandbox: RunningSandbox) -> str:
    for environment in sandbox.state.environments.values():
        for flag in environment.flags:
            name = environment.info.identifier or environment.info.id
            return (
                f"  ff-proxy sandbox flip {flag} -environment {name} -url {sandbox.url}\n"
                f"  curl -X POST {sandbox.url}/sandbox/flip "
                f"""-d '{{"flag": "{flag}", "environment": "{name}"}}'"""
            )
    return "  there is no flag yet"
