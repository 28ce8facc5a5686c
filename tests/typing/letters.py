"""How a program deals with dead letters, as types: checked by mypy, never run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_type

from landfast import DeadLetter, DiscardReport, LetterFilter, Redrive, ReplayReport, StillOpen


def requoted(letter: DeadLetter) -> bytes | None:
    """Mends one kind of letter, and leaves the others."""
    return None if letter.value is None else letter.value.replace(b"'", b'"')


def replay_what_can_be_mended() -> int:
    """Letters of one reason, mended and landed; what stays open is told."""
    redrive = Redrive.from_file("pipeline.toml", route="orders")
    report = redrive.replay(where=LetterFilter(reason="not_json"), fix=requoted)
    assert_type(report, ReplayReport)
    assert_type(report.outcomes, Mapping[str, int])
    assert_type(report.still_open, tuple[StillOpen, ...])
    for letter in redrive.letters(LetterFilter(topic="orders")):
        assert_type(letter, DeadLetter)
        redrive.edit(letter.id, b"{}", why="nothing else is left of it")
    assert_type(redrive.discard(["orders-3-1042"], why="a test record"), DiscardReport)
    return report.landed
