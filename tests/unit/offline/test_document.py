"""Reading one file, and saying where it is broken."""

from pathlib import Path

import pytest

from ff_proxy.errors import OfflineDataError
from ff_proxy.offline.document import read_document


def read(tmp_path: Path, content: str | bytes, name: str = "flags.json") -> tuple[object, list[str]]:
    """The value of a file of this content, and its warnings."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    value, problems = read_document(path, path.read_bytes())
    return value, [str(problem).removeprefix(f"{path}: ") for problem in problems]


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("null", None),
        ("[]", []),
        (' [1, {"a": "é"}] \n', [1, {"a": "é"}]),
        (b"\xef\xbb\xbf[1]", [1]),
        ('["\\ud800"]', ["\ud800"]),
    ],
)
def test_json_is_read(tmp_path: Path, content: str | bytes, value: object) -> None:
    """Also with a byte order mark, and with half a surrogate pair as JavaScript may write it."""
    assert read(tmp_path, content) == (value, [])


def test_only_the_first_value_is_read_and_the_rest_is_told(tmp_path: Path) -> None:
    """As the Go proxy reads a file."""
    value, warnings = read(tmp_path, '[1]\n  {"x": 2}')
    assert value == [1]
    assert warnings == ["line 2 column 3: only the first value is read, but there is more"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "it is empty; an empty list is written []"),
        (" \n", "it is empty; an empty list is written []"),
        ("[1,\n 2,,]", "line 2 column 4: it is not JSON: Expecting value"),
        ('[\n{"a": 1\n', "line 3 column 1: it is not JSON: Expecting ',' delimiter"),
        ("[NaN]", "it is not JSON: NaN is not a JSON value"),
        (b'[\n"\xff"]', "line 2 column 2: it is not UTF-8"),
        ("[" * 100_000, "it is nested too deeply"),
    ],
)
def test_broken_json_is_told_with_its_place(tmp_path: Path, content: str | bytes, told: str) -> None:
    """File, line and column."""
    with pytest.raises(OfflineDataError) as broken:
        read(tmp_path, content)
    assert str(broken.value) == f"{tmp_path}/flags.json: {told}"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("- a: 1\n- b: [1,\n", "line 3 column 1: it is not YAML: did not find expected node content"),
        ("a: \x01", "it is not YAML: "),
        ("&a [*a]", "it is nested too deeply"),
        ("[" * 100_000, "it is nested too deeply"),
        (b"a: \xff", "line 1 column 4: it is not UTF-8"),
    ],
)
def test_broken_yaml_is_told_with_its_place(tmp_path: Path, content: str | bytes, told: str) -> None:
    """A file that would overflow the parser is refused before it can."""
    with pytest.raises(OfflineDataError) as broken:
        read(tmp_path, content, "flags.yaml")
    assert str(broken.value).startswith(f"{tmp_path}/flags.yaml: {told}")


@pytest.mark.parametrize("name", ["flags.yaml", "flags.yml"])
def test_yaml_is_read(tmp_path: Path, name: str) -> None:
    """Both suffixes; what holds nothing but comments is as good as null."""
    assert read(tmp_path, "- a: 1", name) == ([{"a": 1}], [])
    assert read(tmp_path, "# nothing yet", name) == (None, [])


def test_only_the_first_yaml_document_is_read(tmp_path: Path) -> None:
    """The rest is told."""
    value, warnings = read(tmp_path, "- {a: 1}\n---\n- 2\n", "flags.yaml")
    assert value == [{"a": 1}]
    assert warnings == ["only the first document is read, but there are more"]


@pytest.mark.parametrize("content", ["", " \n\n", "\n"])
def test_an_empty_yaml_file_is_refused(tmp_path: Path, content: str) -> None:
    """A file that is being written anew is empty for a moment, which must not empty the environment."""
    with pytest.raises(OfflineDataError, match="it is empty"):
        read(tmp_path, content, "flags.yaml")


@pytest.mark.parametrize("padding", [0, 2**20])
@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("[]", []),
        (" [ ] ", []),
        ('[1, {"a": [2]},\n"x"]\n', [1, {"a": [2]}, "x"]),
        ('{"a": 1}', {"a": 1}),
    ],
)
def test_size_makes_no_difference(tmp_path: Path, padding: int, content: str, value: object) -> None:
    """Large files are read entry by entry."""
    assert read(tmp_path, content + " " * padding) == (value, [])


@pytest.mark.parametrize("content", ["[1,]", "[1 2]", "[,1]", "[", "[1", "[1,", '[1, {"a": }]'])
def test_large_broken_files_are_told_with_their_place(tmp_path: Path, content: str) -> None:
    """As small ones are."""
    with pytest.raises(OfflineDataError) as small:
        read(tmp_path, content)
    with pytest.raises(OfflineDataError) as large:
        read(tmp_path, "\n" * 2**20 + content)
    assert str(large.value).split("column")[1] == str(small.value).split("column")[1]
