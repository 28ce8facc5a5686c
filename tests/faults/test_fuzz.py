"""Hostile bytes for everything that reads bytes of others: answered in one of the documented ways, never with another exception."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.search import corpus_of, inputs
from tests.fuzz.targets import CORPUS, TARGETS

SEARCHED = {"dead-letter-id": 20, "records": 60}
"""Inputs that are drawn for a target beside the stored ones; 150 where nothing is said. `make fuzz` draws them by the million."""


STORED = [path for name in TARGETS for path in corpus_of(name)]


@pytest.mark.parametrize("path", STORED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_x2_x6_every_stored_input_is_answered(path: Path) -> None:
    """What was once found, and what the search begins with: settings, variables, records, types, log entries, ids and log lines."""
    assert isinstance(TARGETS[path.parent.name].run(path.read_bytes()), str)


@pytest.mark.parametrize("name", TARGETS)
def test_x2_x6_inputs_that_nobody_thought_of_are_answered(name: str) -> None:
    """A short search that draws the same inputs each time; every path of a decoder gives each record the same verdict."""
    count = SEARCHED.get(name, 150)
    assert sum(1 for _ in inputs(TARGETS[name], 0, count)) == count


def test_every_folder_of_the_corpus_belongs_to_a_target() -> None:
    """An input that nothing runs protects nobody."""
    assert {path.name for path in CORPUS.iterdir() if path.is_dir()} == set(TARGETS)
