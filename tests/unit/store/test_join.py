"""Two views of an environment: the newer of each item, and nothing more to do once both are joined."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.model.environment import EnvironmentConfig, Revision
from ff_proxy.store.join import joined
from tests.support.configs import config, flag, segment

NAMES = ("a", "b")
_items = st.one_of(
    st.builds(flag, st.sampled_from(NAMES), on=st.booleans(), version=st.integers(1, 4)),
    st.builds(segment, st.sampled_from(NAMES), version=st.integers(1, 4)),
)


def _view(items: list[object], retired: dict[str, int], keys: tuple[str, ...], at: int) -> EnvironmentConfig:
    found = config(*items, keys=keys)  # type: ignore[arg-type]  # the strategy makes items
    alive = {f"flag:{name}" for name in found.flags} | {f"target-segment:{name}" for name in found.segments}
    gone = {name: version for name, version in retired.items() if name not in alive}
    return msgspec.structs.replace(found, retired=gone, revision=Revision("e", at))


views = st.builds(
    _view,
    st.lists(_items, max_size=4),
    st.dictionaries(
        st.sampled_from([f"{kind}:{name}" for kind in ("flag", "target-segment") for name in NAMES]),
        st.integers(1, 4),
    ),
    st.sampled_from([(), ("one",), ("one", "two")]),
    st.integers(1, 9),
)


def versions(view: EnvironmentConfig) -> dict[str, tuple[int, bool, str]]:
    """What is known of every identifier: version, whether it is gone, content."""
    known = {name: (version, True, "") for name, version in view.retired.items()}
    known |= {f"flag:{name}": (item.version, False, item.digest) for name, item in view.flags.items()}
    known |= {
        f"target-segment:{name}": (item.version, False, item.digest) for name, item in view.segments.items()
    }
    return known


@given(one=views, other=views, older=st.booleans())
def test_no_item_is_older_than_in_either_view(
    one: EnvironmentConfig, other: EnvironmentConfig, *, older: bool
) -> None:
    """Nor does what is gone come back, nor one version name two contents."""
    result = versions(joined(one, other, older=older))
    for view in (one, other):
        for name, (version, gone, digest) in versions(view).items():
            assert result[name][:2] >= (version, gone)
            if result[name][:2] == (version, gone):
                assert result[name][2] == digest


@given(one=views, other=views, older=st.booleans())
def test_what_was_joined_once_stays(one: EnvironmentConfig, other: EnvironmentConfig, *, older: bool) -> None:
    """Joining again finds nothing to do, and says so by giving the same object back."""
    result = joined(one, other, older=older)
    assert joined(one, result, older=False) is result
    assert joined(other, result, older=False) is result
    assert result.keys == (one if older else other).keys
