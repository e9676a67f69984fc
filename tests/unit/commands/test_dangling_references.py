"""References that lead nowhere are told."""

from pathlib import Path

import pytest

from ff_proxy.commands.dangling_references import dangling
from ff_proxy.model.keys import hash_key
from ff_proxy.offline.directory import read_directory
from ff_proxy.offline.problems import Severity
from tests.support.offline import ENV, OTHER, bakery, flag_doc, write_files

FIXTURES = Path(__file__).parents[3].parent / "shared" / "fixtures"


def told(root: Path) -> list[str]:
    """What is said of the environments below ``root``, with short paths."""
    problems = dangling(read_directory(root).readings)
    assert all(problem.severity is Severity.WARNING for problem in problems)
    return [str(problem).replace(f"{root}/env-{ENV}", "…") for problem in problems]


def test_a_good_environment_is_not_mentioned(tmp_path: Path) -> None:
    """No warnings without a reason."""
    bakery(tmp_path)
    assert told(tmp_path) == []


def test_every_kind_of_reference_is_followed(tmp_path: Path) -> None:
    """Variations, target groups and prerequisites, wherever a flag or a group names them."""
    share = {"bucketBy": "identifier", "variations": [{"variation": "rolled", "weight": 100}]}
    write_files(
        tmp_path / f"env-{ENV}",
        auth_config=[hash_key("k")],
        feature_config=[
            flag_doc(
                "glaze",
                offVariation="off",
                defaultServe={"distribution": share},
                rules=[
                    {
                        "priority": 1,
                        "clauses": [
                            {"attribute": "", "op": "segmentMatch", "values": ["bakers"]},
                            {"attribute": "x", "op": "equal", "values": ["no group"]},
                        ],
                        "serve": {"variation": "ruled"},
                    }
                ],
                variationToTargetMap=[{"variation": "mapped", "targets": [], "targetSegments": ["mappers"]}],
                prerequisites=[
                    {"feature": "oven", "variations": ["true"]},
                    {"feature": "yeast", "variations": ["true", "maybe"]},
                ],
            ),
            flag_doc("yeast"),
        ],
        segments=[
            {"identifier": "a", "rules": [{"attribute": "", "op": "segmentMatch", "values": ["b"]}]},
            {
                "identifier": "c",
                "servingRules": [
                    {
                        "ruleId": "1",
                        "priority": 1,
                        "clauses": [{"attribute": "", "op": "segmentMatch", "values": ["a", "d"]}],
                    }
                ],
            },
        ],
    )
    assert told(tmp_path) == [
        "…/feature_config.json: glaze: it serves variation 'mapped', which it does not have",
        "…/feature_config.json: glaze: it serves variation 'off', which it does not have",
        "…/feature_config.json: glaze: it serves variation 'rolled', which it does not have",
        "…/feature_config.json: glaze: it serves variation 'ruled', which it does not have",
        "…/feature_config.json: glaze: it names target group 'bakers', which is not there",
        "…/feature_config.json: glaze: it names target group 'mappers', which is not there",
        "…/feature_config.json: glaze: it needs flag 'oven', which is not there",
        "…/feature_config.json: glaze: it needs variation 'maybe' of flag 'yeast', which that does not have",
        "…/segments.json: a: a rule names target group 'b', which is not there",
        "…/segments.json: c: a rule names target group 'd', which is not there",
    ]


def test_keys_and_ids_are_looked_at(tmp_path: Path) -> None:
    """An environment nobody can open, an id that is no UUID, a key of two environments."""
    write_files(tmp_path / "env-kitchen", feature_config=[])
    write_files(tmp_path / f"env-{ENV}", auth_config=[hash_key("shared"), hash_key("own")])
    write_files(tmp_path / f"env-{OTHER}", auth_config=[hash_key("shared")])
    unopened, odd, shared = sorted(told(tmp_path), key=len)
    assert unopened == f"{tmp_path}/env-kitchen: no SDK key opens this environment"
    assert odd.startswith(f"{tmp_path}/env-kitchen: the environment id 'kitchen' is no UUID: ")
    assert shared.startswith(
        f"{tmp_path}/env-{OTHER}/auth_config.json: {hash_key('shared')}: this key is also"
    )
    assert ENV in shared


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="the directories that the Go proxy wrote are not here")
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_what_the_go_proxy_wrote_has_no_loose_ends(version: str) -> None:
    """Apart from the one id that is no UUID."""
    assert [
        problem.text.split(":")[0] for problem in dangling(read_directory(FIXTURES / version).readings)
    ] == ["the environment id '1234' is no UUID"]
