"""The museum and the page on security name tests that exist, and every row has some or says why not."""

from __future__ import annotations

import tomllib
from typing import Any

from docs import generate
from tests.house.tree import ROOT

MUSEUM: dict[str, dict[str, Any]] = tomllib.loads(generate.MUSEUM.read_text(encoding="utf-8"))
SECURITY: dict[str, dict[str, Any]] = tomllib.loads(generate.SECURITY.read_text(encoding="utf-8"))
AREAS = [*range(1, 8), *range(10, 14), *range(15, 18), *range(19, 23)]


def test_every_bug_and_every_area_has_its_row() -> None:
    """Numbers count up without a gap, in the order of the page."""
    assert list(MUSEUM) == [f"{number:02}" for number in range(1, 26)]
    assert list(SECURITY) == [str(number) for number in AREAS]


NOT_BUILT = {"23": "outbox", "24": "source"}
"""The bugs that no test can show absent, and what they would need."""


def test_a_bug_has_tests_that_carry_its_number_or_is_of_what_does_not_exist() -> None:
    """Never both, never neither. A marker with a number that the museum does not have claims nothing."""
    claimed = generate.museum_tests()
    assert set(claimed) == set(MUSEUM) - set(NOT_BUILT)
    assert {number for number, row in MUSEUM.items() if "untested" in row} == set(NOT_BUILT)
    for number, lacking in NOT_BUILT.items():
        assert MUSEUM[number]["untested"].startswith("not built yet: ")
        assert lacking in MUSEUM[number]["untested"]
    sources = {path.stem for path in (ROOT / "src/landfast/sources").glob("*.py")} - {"__init__"}
    assert all(name.startswith("kafka") for name in sources), "There is another source: do bugs 23 and 24 concern it?"


def test_an_area_names_tests_that_exist_or_says_why_there_is_none() -> None:
    """Never both, never neither."""
    places = generate.test_places()
    for number, row in SECURITY.items():
        named = row.get("tests", [])
        assert not [name for name in named if name not in places], number
        assert ("untested" in row) != bool(named), number


def test_every_bug_tells_where_it_was_reported() -> None:
    """A shape without its source is hearsay."""
    for number, row in MUSEUM.items():
        assert {"system", "links", "shape"} <= set(row) <= {"system", "links", "shape", "remark", "untested"}, number
        assert row["links"], number
        assert all(link.startswith("https://") for link in row["links"]), number


def test_every_area_says_what_is_done() -> None:
    """A field that nothing reads is a misspelt one."""
    for number, row in SECURITY.items():
        assert {"area", "done"} <= set(row) <= {"area", "done", "tests", "figure", "untested"}, number
