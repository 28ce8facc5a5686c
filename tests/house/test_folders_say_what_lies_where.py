"""A folder is a promise of what lies in it: its first lines name every module, so that a newcomer finds the way in."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.house.tree import SOURCE, parsed, relative

DELTA = SOURCE / "sinks" / "delta"
FOLDERS = [DELTA, *sorted(path.parent for path in DELTA.glob("*/__init__.py"))]


def _named(docstring: str) -> tuple[set[str], set[str]]:
    """What the lines of a docstring begin with, and what stands in backticks."""
    return set(re.findall(r"(?m)^(\w+)  ", docstring)), set(re.findall(r"`(\w+)`", docstring))


@pytest.mark.parametrize("folder", FOLDERS, ids=relative)
def test_each_folder_of_the_delta_sink_says_what_lies_in_it(folder: Path) -> None:
    """Every module and folder has its line or stands in one, and no line names what is not there."""
    there = {path.stem for path in folder.glob("*.py")} - {"__init__"} | {path.parent.name for path in folder.glob("*/__init__.py")}
    lines, mentioned = _named(ast.get_docstring(parsed(folder / "__init__.py")) or "")
    assert there - lines - mentioned == set()
    assert lines - there == set()
    assert lines
