"""One environment of the sandbox: wire documents, keys and targets, and the changes made to them."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from ff_proxy.errors import RequestError
from ff_proxy.model.environment import Action, Change, Domain, EnvironmentInfo
from ff_proxy.sandbox.keys import Key

Document = dict[str, Any]
"""A flag, segment or target as JSON."""

IDENTIFIER_FIELD: Final = {Domain.FLAG: "feature", Domain.SEGMENT: "identifier"}
"""The field with the identifier."""

_DECIDES_FIRST: Final[tuple[str, ...]] = ("rules", "variationToTargetMap", "prerequisites")
"""The parts of a flag that take precedence over its default."""


def home(info: EnvironmentInfo) -> Document:
    """The fields of documents that name their environment."""
    return {
        "account": info.account,
        "org": info.organization_identifier,
        "project": info.project_identifier,
        "environment": info.identifier,
    }


def variations_of(flag: Mapping[str, Any]) -> list[str]:
    """The identifiers of a flag's variations, as far as they have a known form: documents may be anything."""
    listed = flag.get("variations")
    found = (one.get("identifier") if isinstance(one, dict) else one for one in _entries(listed))
    return [identifier for identifier in found if isinstance(identifier, str)]


def default_variation(flag: Mapping[str, Any]) -> str:
    """The variation that a flag serves by default; empty for a percentage, or an unknown form."""
    served = flag.get("defaultServe")
    found = served.get("variation") if isinstance(served, dict) else served
    return found if isinstance(found, str) else ""


def is_on(flag: Mapping[str, Any]) -> bool:
    """Whether a flag is on; ``true`` is accepted in directories, too."""
    return str(flag.get("state")).lower() in {"on", "true"}


def _entries(listed: object) -> list[Any]:
    return listed if isinstance(listed, list) else []


class Environment:
    """Flags, segments, targets and keys of one environment.

    Every change increments the version of its document, also across deletions, and is returned as the
    ``Change`` to announce. Returned documents must not be modified: put a new one.

    Args:
        info: identity, as the tokens of this environment carry it.
        flags: documents with ``feature``; ``version`` defaults to 1.
        segments: documents with ``identifier``; they may carry ``rules``, ``servingRules`` or both.
        targets: documents with ``identifier``.
        keys: its SDK keys.
    """

    def __init__(
        self,
        info: EnvironmentInfo,
        *,
        flags: Iterable[Mapping[str, Any]] = (),
        segments: Iterable[Mapping[str, Any]] = (),
        targets: Iterable[Mapping[str, Any]] = (),
        keys: Iterable[Key] = (),
    ) -> None:
        self.info: Final = info
        self._items: Final[dict[Domain, dict[str, Document]]] = {Domain.FLAG: {}, Domain.SEGMENT: {}}
        self._retired: dict[tuple[Domain, str], int] = {}
        self._set_aside: dict[str, Document] = {}
        self.targets: Final[dict[str, Document]] = {}
        self.keys: Final[list[Key]] = list(keys)
        self.revision = 0
        for document in flags:
            self.put(Domain.FLAG, document)
        for document in segments:
            self.put(Domain.SEGMENT, document)
        for document in targets:
            self.put_target(document)

    @property
    def flags(self) -> Mapping[str, Document]:
        """Flag documents by identifier."""
        return self._items[Domain.FLAG]

    @property
    def segments(self) -> Mapping[str, Document]:
        """Segment documents by identifier."""
        return self._items[Domain.SEGMENT]

    def items(self, domain: Domain) -> Mapping[str, Document]:
        """The documents of one kind by identifier."""
        return self._items[domain]

    def item(self, domain: Domain, identifier: str) -> Document:
        """One document; ``RequestError`` 404 if there is none."""
        try:
            return self._items[domain][identifier]
        except KeyError:
            raise RequestError(404, f"{domain.value} {identifier!r} does not exist") from None

    def put(self, domain: Domain, document: Mapping[str, Any]) -> Change:
        """Create or replace a document; its version becomes the next one, or its own if that is higher."""
        change = self._put(domain, document)
        if domain is Domain.FLAG:
            self._set_aside.pop(change.identifier, None)
        return change

    def _put(self, domain: Domain, document: Mapping[str, Any]) -> Change:
        field = IDENTIFIER_FIELD[domain]
        identifier = document.get(field)
        if not isinstance(identifier, str) or not identifier:
            raise RequestError(400, f"a {domain.value} needs {field!r}")
        asked = document.get("version")
        last = self._last_version(domain, identifier)
        version = max(asked if isinstance(asked, int) else 0, last + 1)
        action = Action.PATCH if identifier in self._items[domain] else Action.CREATE
        self._items[domain][identifier] = {**document, "version": version}
        self.revision += 1
        return Change(action, domain, identifier, version)

    def drop(self, domain: Domain, identifier: str) -> Change:
        """Delete a document; ``RequestError`` 404 if there is none."""
        version = int(self.item(domain, identifier)["version"]) + 1
        del self._items[domain][identifier]
        self._retired[domain, identifier] = version
        self.revision += 1
        return Change(Action.DELETE, domain, identifier, version)

    def flip(self, flag: str, *, state: Literal["on", "off"] | None = None, serve: str = "") -> Change:
        """Turn a flag on or off, or let it serve a variation by default.

        With neither, the state is toggled. ``serve`` replaces ``defaultServe`` and turns the flag on
        unless ``state`` says otherwise; rules and target maps keep deciding before it. ``RequestError``
        400 for a variation that the flag does not have, 404 for an unknown flag.
        """
        document = dict(self.item(Domain.FLAG, flag))
        if serve:
            variations = variations_of(document)
            if serve not in variations:
                known = ", ".join(variations)
                raise RequestError(400, f"flag {flag!r} has no variation {serve!r}, only {known}")
            document["defaultServe"] = {"variation": serve}
            document["state"] = state or "on"
        else:
            document["state"] = state or ("off" if is_on(document) else "on")
        return self._put(Domain.FLAG, document)

    def set(self, flag: str, value: str) -> Change:
        """Set a flag to ``value``: a variation for everyone, or ``on``, ``off``, ``rules``.

        A variation puts rules, target map and prerequisites aside; ``rules`` restores them. A variation of
        such a name takes precedence. ``RequestError`` 400 for any other value.
        """
        document = self.item(Domain.FLAG, flag)
        variations = variations_of(document)
        if value in variations:
            kept = {name: document[name] for name in (*_DECIDES_FIRST, "defaultServe") if name in document}
            self._set_aside.setdefault(flag, kept)
            served = {"state": "on", "defaultServe": {"variation": value}}
            return self._put(Domain.FLAG, {**document, **{name: [] for name in _DECIDES_FIRST}, **served})
        if value == "rules":
            return self._put(Domain.FLAG, {**document, **self._set_aside.pop(flag, {}), "state": "on"})
        if value == "on":
            return self.flip(flag, state="on")
        if value == "off":
            return self.flip(flag, state="off")
        known = ", ".join(variations)
        raise RequestError(400, f"flag {flag!r} cannot be {value!r}: on, off, rules, or a variation: {known}")

    def everyone_gets(self, flag: str) -> str:
        """The variation that ``set`` gave to everyone; empty if there is none."""
        served = self.item(Domain.FLAG, flag)["defaultServe"] if flag in self._set_aside else {}
        return str(served.get("variation", ""))

    def put_target(self, document: Mapping[str, Any]) -> None:
        """Register a target; its name defaults to its identifier, and other fields keep their values."""
        identifier = document.get("identifier")
        if not isinstance(identifier, str) or not identifier:
            raise RequestError(400, "a target needs 'identifier'")
        given = {name: value for name, value in document.items() if value is not None}
        known = self.targets.get(identifier, {"name": identifier, "attributes": {}, "segments": []})
        self.targets[identifier] = {**known, **given}

    def revoke(self, name: str) -> Key:
        """Remove the key of that name, text or hash; ``RequestError`` 404 if there is none."""
        for key in self.keys:
            # The text of some keys is unknown, and then empty.
            if name and name in {key.name, key.text, key.hash}:
                self.keys.remove(key)
                return key
        raise RequestError(404, "no such key")

    def _last_version(self, domain: Domain, identifier: str) -> int:
        document = self._items[domain].get(identifier)
        if document is not None:
            return int(document["version"])
        return self._retired.get((domain, identifier), 0)
