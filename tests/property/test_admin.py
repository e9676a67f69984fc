"""Whatever is asked at the admin address: an answer, and no failure."""

import asyncio
import json
from urllib.parse import quote, urlencode

from hypothesis import given
from hypothesis import strategies as st

from tests.support.admin import AdminWorld
from tests.support.configs import config, flag, segment

RULES = [
    {
        "ruleId": "r1",
        "priority": 1,
        "clauses": [{"id": "c", "attribute": "plan", "op": "equal", "values": ["gold"]}],
        "serve": {"variation": "false"},
    }
]
PATHS = st.sampled_from(
    [
        "/",
        "/logs",
        "/environments/production",
        "/environments/production/target",
        "/api/explain",
        "/api/logs",
        "/environments/production/flags/",
        "/api/environments/",
        "/environments/",
        "/login",
        "/nope/",
    ]
)


@given(
    path=PATHS,
    tail=st.text(max_size=20),
    query=st.dictionaries(
        st.sampled_from(
            ["identifier", "target", "attributes", "flag", "q", "level", "environment", "limit", "next"]
        ),
        st.one_of(
            st.text(max_size=40),
            st.recursive(
                st.none() | st.floats() | st.text(max_size=5), lambda one: st.lists(one, max_size=3)
            ).map(lambda one: json.dumps({"a": one})),
        ),
    ),
)
def test_no_question_ends_in_a_failure(path: str, tail: str, query: dict[str, str]) -> None:
    """No question ends in a failure."""

    async def ask() -> None:
        world = AdminWorld()
        await world.hold(config(flag("a<b>", rules=RULES), segment()))
        target = quote(tail.encode("utf-8", "replace"), safe="") if path.endswith("/") else ""
        fields = {name: text.encode("utf-8", "replace") for name, text in query.items()}
        async with world.client() as http:
            answer = await http.get(f"{path}{target}?{urlencode(fields)}")
        assert answer.status_code < 500, answer.text
        assert world.failures == []

    asyncio.run(ask())
