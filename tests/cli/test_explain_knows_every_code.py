"""Every code that a message shows can be explained."""

from __future__ import annotations

import pytest

from landfast.codes import CODES, nearest
from tests.cli.table import ask


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_explained(code: str) -> None:
    """Meaning, what is safe, and the next step; also in lower case and with dashes, as people type."""
    said = ask("explain", code.lower().replace("_", "-"))
    assert said.code == 0
    for text in (CODES[code].meaning, CODES[code].safe, CODES[code].next_step):
        assert text in said.out
    assert ask("explain", code, "--json").data == {
        "code": code,
        "meaning": CODES[code].meaning,
        "safe": CODES[code].safe,
        "next": CODES[code].next_step,
    }


def test_a_misspelt_code_is_answered_with_the_nearest_one() -> None:
    """A typing error costs no search; something far away gets no wild guess."""
    said = ask("explain", "DATA_EXPIRD")
    assert said.code == 2
    assert "Did you mean DATA_EXPIRED?" in said.err
    assert nearest("zzzz") is None
    assert "Did you mean" not in ask("explain", "zzzz").err


def test_without_a_code_all_are_listed() -> None:
    """The whole table, sorted."""
    lines = ask("explain").out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(CODES)
    assert ask("explain", "--json").data.keys() == CODES.keys()
