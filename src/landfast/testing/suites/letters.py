"""What every `ports.DeadLetters` must promise, as checks that any implementer can run: see `landfast.testing.suites` for how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from landfast.errors import Conflict
from landfast.model import TIMESTAMP_ABSENT, Letter, Stream
from landfast.ports import DeadLetters
from landfast.testing.suites.promises import demand, demand_equal, demand_raises

A = Stream("suite", "aaaaaaaaaaaaaaaaaaaaaa", 0)
B = Stream("suite", "aaaaaaaaaaaaaaaaaaaaaa", 1)

SECONDS_APART_MAX = 0.001
"""A store may keep times in milliseconds."""


class LettersHarness(Protocol):
    """Stands between the checks and one store. What `open_letters` returns is another process over the same store each time."""

    def open_letters(self) -> DeadLetters:
        """Dead letters with a memory of their own, over the store."""

    def buried(self) -> Sequence[Letter]:
        """Every letter that an independent reader finds now, in any order."""


def a_buried_letter_is_there(harness: LettersHarness) -> None:
    """When `put` returns, a reader finds the letter, and a new process knows that it is buried."""
    letters = _claimed(harness, A)
    letters.put([_letter(A, 3)])
    _demand_buried(harness, [_letter(A, 3)])
    demand_equal(set(letters.buried(A, 0)), {3}, "buried offsets")
    demand_equal(set(harness.open_letters().buried(A, 0)), {3}, "buried offsets in a new process")


def a_letter_is_of_one_topic(harness: LettersHarness) -> None:
    """Streams that differ in their topic only, as where topics have no ids, share no letter: what is dead in one is not in the other."""
    other = A._replace(topic="suite-too")
    letters = _claimed(harness, A, other)
    letters.put([_letter(A, 3)])
    demand_equal(set(letters.buried(other, 0)), set(), "buried offsets of another topic")
    letters.put([_letter(other, 3)])
    _demand_buried(harness, [_letter(A, 3), _letter(other, 3)])


def nothing_is_buried_at_first(harness: LettersHarness) -> None:
    """A stream without letters has none, whatever is asked."""
    demand_equal(set(harness.open_letters().buried(A, 0)), set(), "buried offsets of a fresh store")
    _demand_buried(harness, [])


def the_record_is_kept_whole(harness: LettersHarness) -> None:
    """Value, key and headers are kept byte for byte: nulls, empty bytes, zero bytes, bytes that are no text, order, repeats."""
    letters = _claimed(harness, A)
    headers = (("b", b"1"), ("a", None), ("b", b""), ("", b"\x00\xff"), ("Kopf-ä", "世界".encode()), ("b", b"1"))
    kept = [
        replace(_letter(A, 0), value=None, key=None, headers=()),
        replace(_letter(A, 1), value=b"", key=b"", headers=headers),
        replace(_letter(A, 2), value=b"\x00\xff\xfe{", key="ключ".encode()),
        replace(_letter(A, 3), value=b"x" * 300_000),
    ]
    letters.put(kept)
    _demand_buried(harness, kept)


def what_is_known_of_the_refusal_is_kept(harness: LettersHarness) -> None:
    """Phase, reason, message, attempts and times are kept, also where the record had no time."""
    letters = _claimed(harness, A)
    kept = [
        replace(_letter(A, 0), timestamp=TIMESTAMP_ABSENT),
        replace(_letter(A, 1), phase="write", reason="value_too_large", message="column n: 世界", attempts=7, failed_at=1_700_000_000.25),
        replace(_letter(A, 2), timestamp=0),
    ]
    letters.put(kept)
    _demand_buried(harness, kept)


def several_letters_of_several_streams_are_buried_together(harness: LettersHarness) -> None:
    """One put may hold letters of many streams."""
    letters = _claimed(harness, A, B)
    kept = [_letter(A, 1), _letter(B, 1), _letter(A, 2)]
    letters.put(kept)
    _demand_buried(harness, kept)
    demand_equal(set(letters.buried(A, 0)), {1, 2}, "buried offsets of one stream")
    demand_equal(set(letters.buried(B, 0)), {1}, "buried offsets of the other")


def later_letters_join_the_earlier(harness: LettersHarness) -> None:
    """Letters that are put one after the other are all there, each once."""
    letters = _claimed(harness, A)
    for offset in range(4):
        letters.put([_letter(A, offset)])
    _demand_buried(harness, [_letter(A, offset) for offset in range(4)])


def burying_nothing_is_allowed(harness: LettersHarness) -> None:
    """An empty put does nothing."""
    letters = _claimed(harness, A)
    letters.put([])
    _demand_buried(harness, [])


def buried_answers_from_the_start_on(harness: LettersHarness) -> None:
    """Offsets below `start` are not answered; the one at `start` is."""
    letters = _claimed(harness, A)
    letters.put([_letter(A, offset) for offset in (2, 5, 9, 2**40)])
    demand_equal(set(letters.buried(A, 5)), {5, 9, 2**40}, "buried offsets from 5 on")
    demand_equal(set(letters.buried(A, 2**40 + 1)), set(), "buried offsets behind the last")


def an_incarnation_is_another_stream(harness: LettersHarness) -> None:
    """Letters of a topic that was created again are not those of the one before."""
    letters = _claimed(harness, A)
    letters.put([_letter(A, 1)])
    replaced = Stream(A.topic, "bbbbbbbbbbbbbbbbbbbbbb", A.partition)
    demand_equal(set(letters.buried(replaced, 0)), set(), "buried offsets of another incarnation")


def a_stream_that_was_never_claimed_cannot_be_buried(harness: LettersHarness) -> None:
    """Whoever has not claimed a stream is refused."""
    letters = harness.open_letters()
    demand_raises(Conflict, lambda: letters.put([_letter(A, 1)]), "a put without a claim")
    _demand_buried(harness, [])


def a_former_owner_cannot_bury(harness: LettersHarness) -> None:
    """After another process has claimed the stream, a put by the former owner is a conflict and buries nothing."""
    former = _claimed(harness, A)
    former.put([_letter(A, 1)])
    owner = _claimed(harness, A)
    demand_raises(Conflict, lambda: former.put([_letter(A, 2)]), "a put by a former owner")
    owner.put([_letter(A, 3)])
    _demand_buried(harness, [_letter(A, 1), _letter(A, 3)])


def a_former_owner_who_never_buried_cannot_either(harness: LettersHarness) -> None:
    """The fence does not depend on an earlier put."""
    former = _claimed(harness, A)
    _claimed(harness, A)
    demand_raises(Conflict, lambda: former.put([_letter(A, 2)]), "a first put by a former owner")
    _demand_buried(harness, [])


def one_foreign_stream_refuses_all(harness: LettersHarness) -> None:
    """All or none: a put that holds a letter of a stream that is no longer ours buries none of its letters."""
    former = _claimed(harness, A, B)
    _claimed(harness, B)
    demand_raises(Conflict, lambda: former.put([_letter(A, 1), _letter(B, 1)]), "a put with one foreign stream")
    _demand_buried(harness, [])
    former.put([_letter(A, 1)])
    _demand_buried(harness, [_letter(A, 1)])


def claims_of_other_streams_do_not_disturb(harness: LettersHarness) -> None:
    """Owners of different streams bury in turns."""
    one, two = _claimed(harness, A), _claimed(harness, B)
    for offset in range(3):
        one.put([_letter(A, offset)])
        two.put([_letter(B, offset)])
    _demand_buried(harness, [_letter(stream, offset) for stream in (A, B) for offset in range(3)])


def a_stream_can_be_claimed_back(harness: LettersHarness) -> None:
    """A process that claims a stream again owns it again, and whoever had it in between is refused."""
    one = _claimed(harness, A)
    two = _claimed(harness, A)
    one.claim([A])
    demand_raises(Conflict, lambda: two.put([_letter(A, 1)]), "a put by the owner in between")
    one.put([_letter(A, 2)])
    _demand_buried(harness, [_letter(A, 2)])


def claiming_twice_is_claiming_once(harness: LettersHarness) -> None:
    """A claim may be repeated by its owner, and claiming nothing is allowed."""
    letters = _claimed(harness, A)
    letters.claim([A])
    letters.claim([])
    letters.put([_letter(A, 1)])
    _demand_buried(harness, [_letter(A, 1)])


def many_letters_are_buried_at_once(harness: LettersHarness) -> None:
    """A thousand letters in one put are all there."""
    letters = _claimed(harness, A)
    kept = [_letter(A, offset) for offset in range(1_000)]
    letters.put(kept)
    _demand_buried(harness, kept)


def closing_letters_twice_is_closing_once(harness: LettersHarness) -> None:
    """Dead letters may be closed again, and what is buried stays."""
    letters = _claimed(harness, A)
    letters.put([_letter(A, 1)])
    letters.close()
    letters.close()
    _demand_buried(harness, [_letter(A, 1)])


DEAD_LETTERS_CHECKS: tuple[Callable[[LettersHarness], None], ...] = (
    a_buried_letter_is_there,
    nothing_is_buried_at_first,
    the_record_is_kept_whole,
    what_is_known_of_the_refusal_is_kept,
    several_letters_of_several_streams_are_buried_together,
    later_letters_join_the_earlier,
    burying_nothing_is_allowed,
    buried_answers_from_the_start_on,
    an_incarnation_is_another_stream,
    a_stream_that_was_never_claimed_cannot_be_buried,
    a_letter_is_of_one_topic,
    a_former_owner_cannot_bury,
    a_former_owner_who_never_buried_cannot_either,
    one_foreign_stream_refuses_all,
    claims_of_other_streams_do_not_disturb,
    a_stream_can_be_claimed_back,
    claiming_twice_is_claiming_once,
    many_letters_are_buried_at_once,
    closing_letters_twice_is_closing_once,
)
"""Every promise of dead letters."""


def _claimed(harness: LettersHarness, *streams: Stream) -> DeadLetters:
    letters = harness.open_letters()
    letters.claim(streams)
    return letters


def _letter(stream: Stream, offset: int) -> Letter:
    return Letter(
        stream=stream,
        offset=offset,
        timestamp=1_700_000_000_123,
        key=b"key",
        value=b"value",
        headers=(("name", b"header"),),
        phase="decode",
        reason="bad_line",
        message="the line begins with bad",
        attempts=1,
        failed_at=1_700_000_001.5,
    )


def _demand_buried(harness: LettersHarness, expected: Sequence[Letter]) -> None:
    found = sorted(harness.buried(), key=lambda letter: (letter.stream, letter.offset))
    wanted = sorted(expected, key=lambda letter: (letter.stream, letter.offset))
    demand_equal(
        [(str(letter.stream), letter.offset) for letter in found], [(str(letter.stream), letter.offset) for letter in wanted], "letters"
    )
    for one, other in zip(found, wanted, strict=True):
        demand(abs(one.failed_at - other.failed_at) <= SECONDS_APART_MAX, f"time of failure {one.failed_at}, expected {other.failed_at}")
        same = replace(one, failed_at=other.failed_at, headers=tuple((name, value) for name, value in one.headers))
        demand_equal(same, replace(other, headers=tuple(other.headers)), "a letter")
