"""What ``ff-proxy sandbox`` prints when it is ready: addresses, keys, lines to copy."""

from collections.abc import Iterator, Sequence
from typing import Final

from ff_proxy.sandbox.keys import KeyType
from ff_proxy.sandbox.running import RunningSandbox

_SDK_LINES: Final = (
    ("Python", "CfClient('{server}', with_base_url('{url}'), with_events_url('{url}'))"),
    ("Node.js", "new Client('{server}', {{ baseUrl: '{url}', eventsUrl: '{url}' }})"),
    ("Go", 'harness.NewCfClient("{server}", harness.WithURL("{url}"), harness.WithEventsURL("{url}"))'),
    ("Java", 'HarnessConfig.builder().configUrl("{url}").eventUrl("{url}").build()'),
    (".NET", 'Config.Builder().ConfigUrl("{url}").EventUrl("{url}").Build()'),
    ("Ruby", 'ConfigBuilder.new.config_url("{url}").event_url("{url}").build'),
    ("PHP", "new Client('{server}', $target, ['base_url' => '{url}', 'events_url' => '{url}'])"),
    ("Erlang", '{{config, [{{config_url, "{url}"}}, {{events_url, "{url}"}}]}}'),
    ("Elixir", 'config: [config_url: "{url}", events_url: "{url}"]'),
    ("JavaScript", "initialize('{client}', target, {{ baseUrl: '{url}', eventUrl: '{url}' }})"),
    (
        "React",
        "<FFContextProvider apiKey=\"{client}\" options={{{{ baseUrl: '{url}', eventUrl: '{url}' }}}} …>",
    ),
    ("Android", 'CfConfiguration.builder().baseUrl("{url}").eventUrl("{url}").build()'),
    (
        "iOS",
        'CfConfiguration.builder().setConfigUrl("{url}").setEventUrl("{url}").setStreamUrl("{url}/stream").build()',
    ),
    (
        "Flutter",
        'CfConfigurationBuilder().setConfigUri("{url}").setEventUrl("{url}").setStreamUrl("{url}/stream").build()',
    ),
)
"""Each SDK, and how to configure it. The pages in docs/sdks have whole programs."""

_DEVICES: Final = (
    "Mobile SDKs on an emulator or a device need an address of this machine instead of 127.0.0.1 "
    "(Android emulator: 10.0.2.2)."
)


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
    """A server key of each environment, if it has one whose text is known."""
    found = []
    for environment in sandbox.state.environments.values():
        texts = [key.text for key in environment.keys if key.type == "Server" and key.text]
        found.extend(texts[:1])
    return found


def _first_key(sandbox: RunningSandbox, kind: KeyType) -> str:
    """A key to show: the first of ``kind`` whose text is known, or else of any kind."""
    known = [
        key for environment in sandbox.state.environments.values() for key in environment.keys if key.text
    ]
    return next((key.text for key in known if key.type == kind), known[0].text if known else "<a key>")


def as_record(sandbox: RunningSandbox, proxy_url: str = "") -> dict[str, object]:
    """The message for programs; ``proxyUrl`` only if a proxy runs in front."""
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


def greeting(sandbox: RunningSandbox, proxy_url: str = "") -> str:
    """The message for people, with lines to copy."""
    options = proxy_options(sandbox, server_keys(sandbox) or ["<a server key of each environment>"])
    command = " \\\n".join(["  ff-proxy", *(f"    -{name} {value}" for name, value in options)])
    sdk_parts = [
        f"An SDK straight at it: base URL and events URL are both\n  {sandbox.client_url}",
        f"ff-proxy in front of it, for SDKs with base URL and events URL http://127.0.0.1:7000:\n{command}",
    ]
    if proxy_url:
        lines = sdk_lines(proxy_url, _first_key(sandbox, "Server"), _first_key(sandbox, "Client"))
        pasted = "\n".join(f"  {line}" for line in lines)
        sdk_parts = [f"ff-proxy in front of it, on {proxy_url}. Paste into your SDK:\n{pasted}"]
    return "\n\n".join(
        [
            f"A Harness of your own, on {sandbox.url} (Ctrl-C ends it): a page with switches",
            _environments(sandbox),
            *sdk_parts,
            f"Change a flag and watch:\n{_flips(sandbox)}",
            f"More: {sandbox.url}/sandbox lists everything else",
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


def sdk_lines(url: str, server_key: str, client_key: str) -> Iterator[str]:
    """A line for each SDK, with the proxy's ``url`` and the keys in it."""
    width = max(len(name) for name, _ in _SDK_LINES)
    for name, line in _SDK_LINES:
        yield f"{name:{width}}  {line.format(url=url, server=server_key, client=client_key)}"
    yield _DEVICES
