"""Peers of the benchmarks: descriptions are read as the README says, and asked what they say."""

import json
import re
from pathlib import Path

import pytest

from bench.common.environments import Made
from bench.common.peer_flags import write_peer_flags
from bench.common.peers import DIRECTORY, Peer, RunningPeer, TokenSource, filled, read_peer, running_peer
from bench.common.plan import BenchError
from bench.common.processes import Server
from bench.common.site import Saas, Site
from bench.common.wrk import NUMBER, Request, base64_of

README = (DIRECTORY / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
MADE = Made("peers", 10)
OURS = Request("/client/env/e/feature-configs", {"Authorization": "Bearer ours", "X-Trace": NUMBER})
NOBODY = Server("nobody", 0, 0)


def running(work: Path, **words: object) -> RunningPeer:
    """A peer with this description, as if it ran."""
    return RunningPeer(Peer(name="peer", command=["peer"], **words), NOBODY, work, {MADE.name: "its-token"})  # type: ignore[arg-type]  # the test says what it describes


@pytest.mark.parametrize("path", sorted(DIRECTORY.glob("*.toml")), ids=lambda path: path.stem)
def test_the_descriptions_that_are_kept_can_be_read(path: Path) -> None:
    """And their templates are there."""
    peer = read_peer(path)
    assert peer.command
    assert all((path.parent / template).is_file() for template in peer.files.values())
    assert all(f"`{kind}`" in README for kind in (*peer.same, *peer.requests))


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_of_the_readme_can_be_read(example: str, tmp_path: Path) -> None:
    """As they stand."""
    path = tmp_path / "peer.toml"
    path.write_text(example)
    assert read_peer(path).requests


def test_the_readme_has_every_word() -> None:
    """Whatever may stand in a description is described."""
    assert len(EXAMPLES) == 2
    for word in Peer.__struct_fields__:
        assert f"`{word}" in README


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('name = "peer"\ncommand = ["peer"]\ncolour = "red"', "colour"),
        ('name = "peer"', "command"),
        ("name =", "Invalid value"),
    ],
)
def test_a_description_that_cannot_be_used_is_named(text: str, complaint: str, tmp_path: Path) -> None:
    """The file, and what is wrong with it."""
    path = tmp_path / "peer.toml"
    path.write_text(text)
    with pytest.raises(BenchError, match=complaint) as raised:
        read_peer(path)
    assert str(path) in str(raised.value)
    with pytest.raises(BenchError, match=r"absent\.toml"):
        read_peer(tmp_path / "absent.toml")


def test_a_peer_is_asked_the_same(tmp_path: Path) -> None:
    """With its own token if it gives any; what it does not offer is not asked."""
    assert running(tmp_path, same=["flags"]).request("flags", MADE, OURS) is OURS
    assert running(tmp_path, same=["flags"]).request("flag", MADE, OURS) is None
    source = TokenSource("/auth", "{}", "token")
    asked = running(tmp_path, same=["flags"], token=source).request("flags", MADE, OURS)
    assert asked is not None
    assert asked.headers == {"Authorization": "Bearer its-token", "X-Trace": NUMBER}


def test_a_peer_is_asked_what_its_description_says(tmp_path: Path) -> None:
    """Words in braces are filled in, and what makes requests differ stays; our token does not."""
    path = tmp_path / "peer.toml"
    path.write_text(
        'name = "peer"\ncommand = ["peer"]\n[requests.flags]\nmethod = "POST"\nbody = "{key} {other}"\n'
        'path = "/{environment}/{flags}"\nheaders = { Authorization = "{key}" }'
    )
    asked = RunningPeer(read_peer(path), NOBODY, tmp_path).request("flags", MADE, OURS)
    assert asked == Request(
        f"/{MADE.id}/10", {"Authorization": MADE.key, "X-Trace": NUMBER}, "POST", f"{MADE.key} {{other}}"
    )


def test_what_the_proxy_answered_is_recorded(tmp_path: Path) -> None:
    """For peers that serve files: an item's path may begin with its list's."""
    peer = running(tmp_path, recorded=True)
    for path in ("/flags", "/flags/one?cluster=1"):
        peer.record(Request(path), path.encode())
    assert (tmp_path / "recorded/flags/one").read_bytes() == b"/flags/one?cluster=1"
    running(tmp_path).record(Request("/never"), b"")
    assert not (tmp_path / "recorded/never").exists()


def test_a_peer_that_is_not_installed_is_named(tmp_path: Path) -> None:
    """Before anything is measured."""
    path = tmp_path / "peer.toml"
    path.write_text('name = "A peer"\ncommand = ["no-such-program"]')
    with (
        pytest.raises(BenchError, match="A peer: there is no no-such-program"),
        running_peer(path, Site(NOBODY, Saas(NOBODY, {}), tmp_path)),
    ):
        pass


def test_requests_differ_by_number() -> None:
    """In path, header fields and body; also within what is then written in base64."""
    request = Request(f"/{NUMBER}", {"Harness-Target": base64_of(f"<{NUMBER}>")}, "POST", f"{NUMBER}")
    assert request.varies
    assert request.numbered(7) == Request("/7", {"Harness-Target": "PDc+"}, "POST", "7")
    assert not Request("/").varies
    assert filled("{a} {b}", {"a": "1"}) == "1 {b}"


def test_flags_are_written_for_others(tmp_path: Path) -> None:
    """Each with its variations, of its kind, and nothing served that is none."""
    write_peer_flags(tmp_path, MADE)
    docs = {flag["feature"]: flag for flag in MADE.docs()["flags"]}
    flagd = json.loads((tmp_path / "flagd.json").read_text())["flags"]
    go = json.loads((tmp_path / "go-feature-flag.json").read_text())
    assert set(flagd) == set(go) == set(docs)
    for name, flag in docs.items():
        identifiers = {one["identifier"] for one in flag["variations"]}
        assert set(flagd[name]["variants"]) == set(go[name]["variations"]) == identifiers
        types = {type(value) for value in go[name]["variations"].values()}
        assert types == {{"boolean": bool, "string": str, "int": int, "json": dict}[flag["kind"]]}
        # Condition and what it serves by turns, and what is served otherwise.
        steps = flagd[name]["targeting"]["if"]
        assert len(steps) == 2 * (1 + len(flag["rules"])) + 1
        served = {one for one in [*steps[1::2], steps[-1]] if isinstance(one, str)}
        assert served <= identifiers
        assert {one.get("variation", "one") for one in go[name]["targeting"]} <= identifiers
        for rule in go[name]["targeting"]:
            assert rule["query"].count("(") == rule["query"].count(")")
