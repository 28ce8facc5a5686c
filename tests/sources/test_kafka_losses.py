"""Which losses are accepted, and which lines of the settings have no effect."""

from __future__ import annotations

import pytest

from landfast.model import Bounds, Position, Stream
from landfast.sources.kafka_losses import AcceptedLosses, line_of

STREAM = Stream("t", "id", 0)
BY_NAME = Stream("t", "", 0)
FORMER = Stream("t", "former", 0)


@pytest.mark.parametrize("line", [STREAM, BY_NAME])
@pytest.mark.parametrize(("below", "accepted"), [(4, False), (5, True), (9, True), (10, False)])
def test_a_line_accepts_what_is_gone_and_nothing_that_nobody_has_seen(line: Stream, below: Position, accepted: bool) -> None:
    """With or without the topic's id: from where the log begins up to where it ends; beyond its end it accepts nothing, and is named."""
    losses = AcceptedLosses({line: below})
    assert losses.accepts(STREAM, Bounds(5, 9)) == accepted
    assert bool(list(losses.idle({STREAM: Bounds(5, 9)}))) == (below == 10)


def test_an_end_that_a_transaction_holds_back_hides_no_loss() -> None:
    """What is gone below an open transaction that began before it can be accepted."""
    losses = AcceptedLosses({STREAM: 5})
    assert losses.accepts(STREAM, Bounds(5, 3))
    assert not list(losses.idle({STREAM: Bounds(5, 3)}))


def test_without_a_line_nothing_is_accepted() -> None:
    """Another partition's line is none, and an offset of zero is a line like any other."""
    assert not AcceptedLosses({Stream("t", "id", 1): 5}).accepts(STREAM, Bounds(5, 9))
    assert AcceptedLosses({STREAM: 0}).accepts(STREAM, Bounds(0, 9))


@pytest.mark.parametrize(
    ("line", "renewed", "words"),
    [
        (FORMER, (), '"t[0]@former" = 7: the topic\'s id is id now, it was deleted and created again'),
        (FORMER, ("id",), '"t[0]@former" = 7: the topic\'s id is id now'),
        (BY_NAME, ("id",), '"t[0]" = 7: the topic was created again, so that only "t[0]@id" says which one is meant'),
        (Stream("t", "", 1), (), '"t[1]" = 7: there is no such partition'),
        (Stream("t", "id", 1), (), '"t[1]@id" = 7: there is no such partition'),
        (STREAM, ("id",), ""),
        (BY_NAME, ("former",), ""),
    ],
)
def test_a_line_that_was_written_for_a_former_topic_accepts_nothing(line: Stream, renewed: tuple[str, ...], words: str) -> None:
    """A loss in a topic that was made anew is not accepted by what was written before, and the line that lies about is named with why."""
    losses = AcceptedLosses({line: 7}, frozenset(renewed))
    assert losses.accepts(STREAM, Bounds(5, 9)) == (not words)
    told = list(losses.idle({STREAM: Bounds(5, 9)}))
    assert [one.startswith(words) for one in told] == ([True] if words else [])


def test_of_two_lines_the_one_that_holds_counts() -> None:
    """A line without an id that lies about takes nothing from the one that names the id."""
    assert AcceptedLosses({BY_NAME: 10, STREAM: 6}).accepts(STREAM, Bounds(5, 9))
    assert AcceptedLosses({BY_NAME: 6, STREAM: 4}).accepts(STREAM, Bounds(5, 9))


def test_a_line_is_written_with_the_id() -> None:
    """What an operator is told to write holds for this topic and for none that takes its place."""
    assert (line_of(STREAM), line_of(BY_NAME)) == ("t[0]@id", "t[0]")
