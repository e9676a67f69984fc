"""What to paste into each SDK, so that it talks to a proxy on this machine."""

from collections.abc import Iterator
from typing import Final

_LINES: Final = (
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
"""Each SDK, and the line with its options. Pages in docs/sdks have whole programs."""

_DEVICES: Final = (
    "Mobile SDKs on an emulator or a device need an address of this machine instead of 127.0.0.1 "
    "(Android emulator: 10.0.2.2)."
)


def sdk_lines(url: str, server_key: str, client_key: str) -> Iterator[str]:
    """A line for each SDK, with the proxy's ``url`` and the keys in it."""
    width = max(len(name) for name, _ in _LINES)
    for name, line in _LINES:
        yield f"{name:{width}}  {line.format(url=url, server=server_key, client=client_key)}"
    yield _DEVICES
