"""The museum and the page on security name tests that exist, and every row has some or says why not."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest

from docs import generate

MUSEUM: dict[str, dict[str, Any]] = tomllib.loads(generate.MUSEUM.read_text(encoding="utf-8"))
SECURITY: dict[str, dict[str, Any]] = tomllib.loads(generate.SECURITY.read_text(encoding="utf-8"))
AREAS = [*range(1, 8), *range(10, 14), *range(15, 18), *range(19, 23)]


def test_every_bug_and_every_area_has_its_row() -> None:
    """Numbers count up without a gap, in the order of the page."""
    assert list(MUSEUM) == [f"{number:02}" for number in range(1, 26)]
    assert list(SECURITY) == [str(number) for number in AREAS]


@pytest.mark.parametrize("page", [MUSEUM, SECURITY], ids=["museum", "security"])
def test_a_row_names_tests_that_exist_or_says_why_there_is_none(page: dict[str, dict[str, Any]]) -> None:
    """Never both, never neither."""
    places = generate.test_places()
    own = {match[1] for name in places if (match := re.match(r"test_museum_(\d+)_", name))}
    for number, row in page.items():
        named = row.get("tests", [])
        assert not [name for name in named if name not in places], number
        assert ("untested" in row) != bool(named or (page is MUSEUM and number in own)), number
    assert own <= set(MUSEUM)


def test_every_bug_tells_where_it_was_reported() -> None:
    """A shape without its source is hearsay."""
    for number, row in MUSEUM.items():
        assert {"system", "links", "shape"} <= set(row) <= {"system", "links", "shape", "tests", "remark", "untested"}, number
        assert row["links"], number
        assert all(link.startswith("https://") for link in row["links"]), number


def test_every_area_says_what_is_done() -> None:
    """A field that nothing reads is a misspelt one."""
    for number, row in SECURITY.items():
        assert {"area", "done"} <= set(row) <= {"area", "done", "tests", "figure", "untested"}, number
