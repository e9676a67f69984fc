"""Which resource a raw path names."""

import pytest

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.web.paths import Place, Resource, at_root, locate

ENV = EnvironmentId("e")


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (b"/client/auth", Place(Resource.AUTH)),
        (b"//client/auth", Place(Resource.AUTH)),
        (b"/client//auth/", Place(Resource.AUTH)),
        (b"/api/1.0/client/auth", Place(Resource.AUTH)),
        (b"/stream", Place(Resource.STREAM)),
        (b"/health", Place(Resource.HEALTH)),
        (b"/health/live", Place(Resource.LIVE)),
        (b"/health/ready", Place(Resource.READY)),
        (b"/metrics", Place(Resource.METRICS)),
        (b"/metrics/e", Place(Resource.USAGE, ENV)),
        (b"/client/env/e/feature-configs", Place(Resource.FLAGS, ENV)),
        (b"/client/env/e/feature-configs/", Place(Resource.FLAGS, ENV)),
        (b"/client/env/e/feature-configs/f", Place(Resource.FLAG, ENV, "f")),
        (b"/client/env/e/target-segments", Place(Resource.SEGMENTS, ENV)),
        (b"/client/env/e/target-segments/feature-configs", Place(Resource.SEGMENT, ENV, "feature-configs")),
        (
            b"/client/env/feature-configs/target-segments",
            Place(Resource.SEGMENTS, EnvironmentId("feature-configs")),
        ),
        (b"/client/env/a%20b/feature-configs/a%2Fb", Place(Resource.FLAG, EnvironmentId("a b"), "a/b")),
        (b"/client/env/e/target/t/evaluations", Place(Resource.EVALUATIONS, ENV, "", "t", "t")),
        (b"/client/env/e/target/t/evaluations/f", Place(Resource.EVALUATION, ENV, "f", "t", "t")),
        (b"/client/env/e/target/a%2fb/evaluations", Place(Resource.EVALUATIONS, ENV, "", "a/b", "a%2fb")),
        (b"/client/env/e/target//a//evaluations", Place(Resource.EVALUATIONS, ENV, "", "/a/", "/a/")),
        (b"/client/env/e/target//evaluations", Place(Resource.EVALUATIONS, ENV, "", "", "")),
        (
            b"/client/env/e/target/evaluations/evaluations/evaluations",
            Place(Resource.EVALUATIONS, ENV, "", "evaluations/evaluations", "evaluations/evaluations"),
        ),
        (b"/client/env/e/target/%FF/evaluations", Place(Resource.EVALUATIONS, ENV, "", "\ufffd", "%FF")),
        (b"/client/env/e/target/%2520/evaluations", Place(Resource.EVALUATIONS, ENV, "", "%20", "%2520")),
    ],
)
def test_places(path: bytes, place: Place) -> None:
    """At the root and below the prefix, slashes doubled or not, identifiers decoded once."""
    assert locate(path) == place


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"/",
        b"client/auth",
        b"/client",
        b"/client/env/e",
        b"/client/env//feature-configs",
        b"/client/env/e/feature-configs/a/b",
        b"/client/env/e/feature-configsx",
        b"/client/env/e/target/t",
        b"/client/env/e/target/t/evaluationsx",
        b"/client/env/e/target/t/evaluations/a/b",
        b"/client/env/e/targets/t/evaluations",
        b"/api/1.0",
        b"/api/1.0/api/1.0/stream",
        b"/api/1x0/stream",
        b"/streams",
        b"/metrics/e/f",
        b"/client%2Fauth",
        b"/CLIENT/AUTH",
    ],
)
def test_no_places(path: bytes) -> None:
    """What is not one of ours is nothing."""
    assert locate(path) is None


@pytest.mark.parametrize("part", [b"/", b"/evaluations", b"/evaluations/", b"%2F"])
def test_a_long_path_takes_no_time(part: bytes) -> None:
    """Looking for the last ``/evaluations`` among very many ends soon."""
    assert locate(b"/client/env/e/target/" + part * 20_000 + b"x/y/z") is None


@pytest.mark.parametrize(
    ("path", "root"),
    [
        (b"/a/b", b"/a/b"),
        (b"//a//b", b"/a//b"),
        (b"/api/1.0/a", b"/a"),
        (b"//api//1.0//a", b"/a"),
        (b"/api/1.0", b"/api/1.0"),
        (b"/api/1.0x/a", b"/api/1.0x/a"),
    ],
)
def test_what_other_routes_see(path: bytes, root: bytes) -> None:
    """No prefix, and one slash in front."""
    assert at_root(path) == root
