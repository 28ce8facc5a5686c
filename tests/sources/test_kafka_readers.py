"""An answer counts only for the epoch that it was asked under: what is read again must be checked again."""

from __future__ import annotations

from landfast.model import Assignment, Stream
from landfast.sources.kafka_readers import Reader, State, current, standings

STREAM = Stream("t", "id", 0)


def reading(position: int, epoch: int) -> Reader:
    """A reader that was started here and has read ten records."""
    reader = Reader(STREAM)
    reader.ask(Assignment(position, epoch))
    reader.start(position)
    reader.position += 10
    return reader


def test_an_answer_of_an_older_epoch_confirms_nothing() -> None:
    """A check that was asked before a rewind began before what is read after it, so it says nothing about that."""
    reader = reading(0, 1)
    (standing,) = standings([reader])
    assert current(standing, {reader.key: reader}) is reader
    reader.ask(Assignment(0, 2))
    assert current(standing, {reader.key: reader}) is None
    reader.start(0)
    assert current(standing, {reader.key: reader}) is None
    assert reader.confirmed < 0


def test_an_answer_about_another_incarnation_confirms_nothing() -> None:
    """The same name and partition under another topic id is another stream."""
    reader = reading(0, 1)
    (standing,) = standings([reader])
    other = Reader(Stream("t", "another", 0), State.READING, None, 1, 5)
    assert current(standing, {other.key: other}) is None
    assert current(standing, {}) is None


def test_starting_again_under_the_same_epoch_keeps_what_was_confirmed_and_no_more() -> None:
    """A stream that the driver had to be given anew goes on where it stood; what was unconfirmed stays so."""
    reader = reading(0, 1)
    reader.confirmed = 4
    reader.ask(Assignment(reader.position, reader.epoch))
    reader.start(reader.position)
    assert (reader.position, reader.confirmed, reader.epoch) == (10, 4, 1)
