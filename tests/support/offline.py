"""Offline directories made for tests."""

import json
from pathlib import Path

from ff_proxy.model.keys import EnvironmentId, hash_key

ENV = "5b3ae4f2-46a4-4e0a-a2f6-24d8ff2f3a11"
OTHER = "b1dc1c9f-5a3f-41d7-8a4e-0c8e2f9e3b22"
ENV_ID = EnvironmentId(ENV)
OTHER_ID = EnvironmentId(OTHER)

Document = dict[str, object]


def flag_doc(feature: str, **fields: object) -> Document:
    """A boolean flag as a file has it; ``fields`` replace or add wire fields."""
    usual: Document = {
        "feature": feature,
        "project": "bakery",
        "environment": "kitchen",
        "kind": "boolean",
        "state": "on",
        "variations": [
            {"identifier": "true", "name": "Yes", "value": "true"},
            {"identifier": "false", "name": "No", "value": "false"},
        ],
        "defaultServe": {"variation": "true"},
        "offVariation": "false",
        "version": 3,
    }
    return usual | fields


def write_files(directory: Path, **parts: object) -> Path:
    """Make an environment's directory; each part is the content of the file of that name (JSON)."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in parts.items():
        (directory / f"{name}.json").write_text(json.dumps(content))
    return directory


def bakery(root: Path, environment: str = ENV, *, version: int = 3) -> Path:
    """A small but complete environment below ``root``."""
    return write_files(
        root / f"env-{environment}",
        auth_config=[hash_key("key-one"), hash_key("key-two")],
        feature_config=[
            flag_doc("glaze", version=version, futureField={"kept": True}),
            flag_doc("yeast", kind="string", state="off"),
        ],
        segments=[
            {
                "identifier": "night-shift",
                "name": "Night shift",
                "environment": "kitchen",
                "included": [{"identifier": "ada", "name": "Ada"}],
                "rules": [{"attribute": "shift", "op": "equal", "values": ["night"]}],
                "version": 5,
            }
        ],
        targets=[
            {
                "identifier": "ada",
                "name": "Ada",
                "attributes": {"shift": "night", "loaves": 12, "tags": ["a", None]},
                "org": "guild",
                "account": "acme",
            },
            {"identifier": "guest", "name": "guest", "anonymous": True},
        ],
    )
