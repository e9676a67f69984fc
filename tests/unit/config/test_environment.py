"""The environment: what is ours, what is nearly ours, what Kubernetes adds, and secrets in files."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ff_proxy.config import records
from ff_proxy.config.load import load, reload
from ff_proxy.config.settings import read_settings
from ff_proxy.config.spelling import near_miss
from ff_proxy.errors import ConfigError
from ff_proxy.model.keys import SdkKey, Secret
from tests.support.config_ways import ONLINE, UNGUESSABLE, reader

OFFLINE: Mapping[str, str] = {"OFFLINE": "true", "AUTH_SECRET": UNGUESSABLE}
NAMES = [option.env for option in records.ALL]


def warnings(**environ: str) -> tuple[str, ...]:
    """What a start in this environment warns of."""
    return load([], {**OFFLINE, **environ}).warnings


@pytest.mark.parametrize("scheme", ["tcp", "udp", "sctp"])
@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("PORT")])
def test_what_kubernetes_says_of_a_service_is_nobodys_wish(name: str, scheme: str) -> None:
    """A Service called prometheus makes ``PROMETHEUS_PORT=tcp://…`` in every container of the namespace."""
    environ = {name: f"{scheme}://10.0.0.1:9090", "PROMETHEUS_SERVICE_HOST": "10.0.0.1"}
    (warning,) = warnings(**environ)
    assert warning.startswith(f"environment variable {name} is ignored: Kubernetes")
    assert not read_settings([], environ).given(name.lower().replace("_", "-"))
    with pytest.raises(ConfigError, match="port: must be a whole number"):
        load(["-offline", f"-port={environ[name]}"], {})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("METRICS_SERVICE", "METRIC_SERVICE"),
        ("API_KEY", "API_KEYS"),
        ("AUTH_SECERT", "AUTH_SECRET"),
        ("ACCOUNT_IDENTIFER", "ACCOUNT_IDENTIFIER"),
        ("auth_secret_file", "AUTH_SECRET_FILE"),
        ("WORKER", "WORKERS"),
        ("PORTS", "PORT"),
        ("Port", "PORT"),
    ],
)
def test_a_near_miss_is_named(name: str, meant: str) -> None:
    """Once, with the nearest name, and without its value."""
    assert warnings(**{name: "hunter2"}) == (
        f"environment variable {name} is not an option; did you mean {meant}?",
    )


@pytest.mark.parametrize(
    "name",
    [
        *("HOME", "PATH", "HOSTNAME", "TERM", "LANG", "SHLVL", "USER", "PWD", "TZ", "SHELL", "_", "LOGNAME"),
        *("HTTPS_PROXY", "NO_PROXY", "https_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "PYTHON_VERSION"),
        *("METRIC_SERVICE_HOST", "METRIC_SERVICE_PORT", "ADMIN_PORT", "REDIS_PORT_6379_TCP_ADDR", "GPG_KEY"),
        *("KUBERNETES_SERVICE_PORT_HTTPS", "KUBERNETES_PORT", "HOSTS_PORT", "REDIS_PORT_6379_TCP"),
    ],
)
def test_what_containers_have_is_no_near_miss(name: str) -> None:
    """Nobody reads warnings that come every time."""
    assert warnings(**{name: "tcp://10.0.0.1:80"}) == ()


def has_unknown_flags(name: str, at: int) -> tuple[str, ...]:
    """``name`` with a letter left out, doubled or replaced, or swapped with the next."""
    before, letter, after = name[:at], name[at], name[at + 1 :]
    return (
        before + after,
        before + letter * 2 + after,
        f"{before}Q{after}",
        before + after[:1] + letter + after[1:],
    )


@settings(deadline=None)
@given(st.sampled_from([name for name in NAMES if len(name) > 5]), st.data())
def test_one_or_two_letters_off_is_near(name: str, data: st.DataObject) -> None:
    """Anywhere; three are another name."""
    half = len(name) // 2
    one, two = data.draw(st.integers(0, half - 2)), data.draw(st.integers(half, len(name) - 2))
    first = data.draw(st.sampled_from(has_unknown_flags(name[:half], one)))
    second = data.draw(st.sampled_from([name[half:], *has_unknown_flags(name[half:], two - half)]))
    if first + second not in NAMES:
        assert near_miss(first + second, NAMES) is not None
    assert near_miss(f"{name}_QQ", [name]) is None


def test_a_near_miss_in_a_file_is_named_with_its_line() -> None:
    """The other variables of a shared file are left alone."""
    files = {"e": "OTHER=1\n\nMETRICS_SERVICE=hunter2\n"}
    assert read_settings(["-env-file=e"], {}, reader(files)).warnings == (
        "e line 3: METRICS_SERVICE is not an option; did you mean METRIC_SERVICE?",
    )


def test_the_secret_is_kept_with_the_space_around_it_as_well() -> None:
    """Docker passes it, and the Go proxy signed with it."""
    files = {"/s": "s3cret\n"}
    for environ, untrimmed in (
        ({"AUTH_SECRET": "s3cret  "}, Secret("s3cret  ")),
        ({"AUTH_SECRET": "s3cret"}, None),
        ({"AUTH_SECRET_FILE": "/s"}, Secret("s3cret\n")),
        ({}, None),
    ):
        options = load(["-offline"], environ, reader(files)).options
        assert isinstance(options, records.OfflineOptions)
        tokens = options.serving.tokens
        assert (tokens.secret, tokens.untrimmed_secret) == (Secret("s3cret") if environ else None, untrimmed)


@pytest.mark.parametrize(
    ("flag", "url", "usual"),
    [
        ("sdk-base-url", "https://config.ff.harness.io", "/api/1.0"),
        ("client-service", "https://config.ff.harness.io/api", "/api/1.0"),
        ("admin-service", "https://app.harness.io", "/gateway/cf"),
    ],
)
def test_an_address_of_harness_with_another_path_is_shown_with_the_usual_one(
    flag: str, url: str, usual: str
) -> None:
    """Otherwise it is a 404 that says nothing of the path."""
    argv = [f"-{name}={value}" for name, value in ONLINE.items()]
    (warning,) = load([*argv, f"-{flag}={url}"], {}).warnings
    assert url in warning
    assert usual in warning
    assert load([*argv, f"-{flag}={url.partition('.io')[0]}.io{usual}"], {}).warnings == ()
    assert load([*argv, f"-{flag}=http://127.0.0.1:7100"], {}).warnings == ()


class TestSecretsInFiles:
    """Docker and Kubernetes mount secrets as files; ``NAME_FILE`` names one."""

    def test_every_secret_can_stand_in_a_file(self) -> None:
        """Trimmed; keys may have a line each, and are joined with those of other sources."""
        files = {"/s/keys": "k1\nk2,k3\n\n", "/s/token": "pat.x\r\n", "/s/auth": "\ufeffs3cret\n"}
        settings = read_settings(
            ["-api-keys=k0"],
            {
                "API_KEYS_FILE": "/s/keys",
                "ADMIN_SERVICE_TOKEN_FILE": " /s/token ",
                "AUTH_SECRET_FILE": "/s/auth",
            },
            reader(files),
        )
        assert settings.problems == ()
        assert settings["api-keys"] == tuple(SdkKey(key) for key in ("k0", "k1", "k2", "k3"))
        assert settings["admin-service-token"] == Secret("pat.x")
        assert settings["auth-secret"] == Secret("s3cret")
        assert settings.files == (Path("/s/token"), Path("/s/keys"), Path("/s/auth"))
        places = {setting.option.flag: setting.place for setting in settings}
        assert places["auth-secret"] == "file /s/auth, environment variable AUTH_SECRET_FILE"

    @pytest.mark.parametrize(
        ("files", "problem"),
        [
            ({}, "auth-secret: /s/auth: cannot be read: No such file or directory"),
            ({"/s/auth": " \n"}, "auth-secret: /s/auth: the file is empty (environment variable"),
            ({"/s/auth": "a\nb"}, "auth-secret: must consist of printable characters"),
        ],
    )
    def test_a_file_that_cannot_be_used_is_named(self, files: Mapping[str, str], problem: str) -> None:
        """With the option and the variable that leads to it."""
        found = read_settings([], {"AUTH_SECRET_FILE": "/s/auth"}, reader(files)).problems
        assert [text[: len(problem)] for text in found] == [problem]

    def test_a_value_and_a_file_in_one_source_are_a_problem(self) -> None:
        """Which of them is meant is for people to say; a stronger source decides without asking."""
        files = {"/s/auth": "a", "e": "AUTH_SECRET=b\nAUTH_SECRET_FILE=/s/auth\n", "f": "AUTH_SECRET=c\n"}
        both = {"AUTH_SECRET": "b", "AUTH_SECRET_FILE": "/s/auth"}
        expected = ("auth-secret: AUTH_SECRET and AUTH_SECRET_FILE are both set; remove one of them",)
        assert read_settings([], both, reader(files)).problems == expected
        assert read_settings(["-env-file=e"], {}, reader(files)).problems == expected
        stronger = read_settings(["-env-file=f"], {"AUTH_SECRET_FILE": "/s/auth"}, reader(files))
        assert stronger.problems == ()
        assert stronger["auth-secret"] == Secret("a")

    def test_only_secrets_have_such_a_variable(self) -> None:
        """``CONFIG_FILE`` and ``ENV_FILE`` are options of their own."""
        assert {option.env_file for option in records.ALL if option.env_file} == {
            "ADMIN_SERVICE_TOKEN_FILE",
            "ADMIN_TOKEN_FILE",
            "API_KEYS_FILE",
            "AUTH_SECRET_FILE",
            "PROXY_KEY_FILE",
            "REDIS_ADDRESS_FILE",
            "REDIS_PASSWORD_FILE",
        }


class TestReload:
    """The sources can be read again while the process runs."""

    def test_changes_are_found_in_every_source(self) -> None:
        """Secrets from files, ``.env`` and TOML alike."""
        files = {"/keys": "k1", "e": "LOG_LEVEL=INFO\n", "c": "workers = 2\n"}
        environ = {"API_KEYS_FILE": "/keys", "ENV_FILE": "e", "CONFIG_FILE": "c"}
        argv = ["-account-identifier=a", "-org-identifier=o", "-admin-service-token=t"]
        loaded = load(argv, environ, reader(files))
        assert loaded.files == (Path("/keys"), Path("e"), Path("c"))
        assert reload(loaded)[1] == frozenset()
        files.update({"/keys": "k1\nk2\n", "e": "LOG_LEVEL=DEBUG\n", "c": "workers = 3\nport = 1\n"})
        again, changed = reload(loaded)
        assert changed == {"api-keys", "log-level", "port", "workers"}
        assert isinstance(again.options, records.OnlineOptions)
        assert again.options.upstream.api_keys == (SdkKey("k1"), SdkKey("k2"))

    def test_a_bad_new_configuration_changes_nothing(self) -> None:
        """It says what is wrong, all of it."""
        files = {"e": "OFFLINE=1\nAUTH_SECRET=s\n"}
        loaded = load(["-env-file=e"], {}, reader(files))
        files["e"] = "OFFLINE=1\nPORT=x\nWORKERS=y\n"
        with pytest.raises(ConfigError) as caught:
            reload(loaded)
        assert [problem.split(":")[0] for problem in caught.value.problems] == ["port", "workers"]
        del files["e"]
        with pytest.raises(ConfigError, match="cannot be read"):
            reload(loaded)
