"""Every code that a message shows can be explained."""

from __future__ import annotations

import pytest

from landfast.codes import CODES, nearest
from landfast.error_table import table
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


def test_what_every_exception_means_is_listed() -> None:
    """The whole table: who raises it, what kind of thing it is, why, what is done; as JSON, field by field."""
    out = ask("explain", "--errors").out
    for line in table():
        assert f"  {line.name}\n    {line.error_class}: {line.reason}" in out
    listed = ask("explain", "--errors", "--json").data
    assert len(listed) == len(table())
    assert listed[0] == {
        "driver": "landfast",
        "name": "Misconfigured",
        "error_class": "permanent",
        "code": "",
        "reason": "settings, or their surroundings, are wrong",
        "retried": False,
        "then": "refused before the first read",
    }


def test_the_exceptions_behind_a_code_are_listed() -> None:
    """Whoever meets a code sees what may have led there; of a code that no exception leads to, that is said."""
    listed = ask("explain", "disk-full", "--errors", "--json").data
    assert {line["code"] for line in listed} == {"DISK_FULL"}
    assert {"ENOSPC", "EDQUOT"} <= {line["name"] for line in listed}
    assert "No space left" in ask("explain", "DISK_FULL", "--errors").out
    assert "No exception of a driver leads to SHUTDOWN_CLEAN" in ask("explain", "SHUTDOWN_CLEAN", "--errors").out
    assert "Did you mean DISK_FULL?" in ask("explain", "DISK_FUL", "--errors").err
