"""Letters are tried again by themselves while their stream goes on, and the records of a key land in order all the same."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from itertools import pairwise
from typing import TypeVar

import pytest

from landfast import events
from landfast.core.batching import BatchLimits
from landfast.core.breaker import BreakerLimits
from landfast.core.later import LOOK_SECONDS_MAX
from landfast.core.pieces import PieceLimits
from landfast.core.report import Outcome, RunReport
from landfast.core.retry import RetryPolicy
from landfast.core.route import FlowLimits, Later
from landfast.core.runner import RunnerLimits
from landfast.errors import Broken, Conflict, Unavailable
from landfast.model import Chunk, Decoded, Letter, Retried, Stream, Waiting
from landfast.ports import Retries
from landfast.testing.executor import SteppedExecutor
from landfast.testing.memory import (
    LandedRow,
    LineDecoder,
    MemoryRetries,
    MemoryRetriesSettings,
    MemorySink,
    MemorySinkSettings,
    MemorySource,
    RecordingObserver,
    resolve,
)
from tests.core.rig import Rig

DELAYS = (10.0, 20.0)
T = TypeVar("T")


class MendedDecoder(LineDecoder):
    """Takes what it refused, once it is mended."""

    def mend(self) -> None:
        """From now on nothing is refused."""
        self.rejected = ()


class Shop:
    """A rig with one stream, whose records have keys, and letters that are tried again."""

    def __init__(self, later: Later | None = None, batch_records: int = 100, **limits: object) -> None:
        flow = FlowLimits(
            batch=BatchLimits(records_max=batch_records, seconds_max=0.5),
            piece=PieceLimits(records_max=2),
            breaker=BreakerLimits(share_max=1.0),
            retry=RetryPolicy(wait_seconds_first=1.0, total_seconds_max=30.0),
            later=later or Later(),
            **limits,  # type: ignore[arg-type]
        )
        self.rig = Rig(partitions=1, limits=flow)
        self.stream = self.rig.streams[0]
        self.decoder = MendedDecoder()
        self.observer: RecordingObserver = self.rig.observer

    def write(self, *records: tuple[bytes | None, bytes | None]) -> None:
        """Append these keys and values."""
        for key, value in records:
            self.rig.log.append("t", 0, value, key=key)

    def retries(self) -> MemoryRetries:
        """What tries letters again in another process."""
        return MemoryRetries(self.rig.store, self.rig.table, self.decoder, self.rig.clock, MemoryRetriesSettings(DELAYS))

    def run(
        self,
        seconds: float,
        *deeds: tuple[float, Callable[[], object]],
        letters: MemoryRetries | None = None,
        retries: Retries | None = None,
        sink: MemorySink | None = None,
        source: MemorySource | None = None,
    ) -> RunReport:
        """Run a process for so many seconds, and let deeds happen in them, each after so many."""
        theirs = letters or self.retries()
        runner = self.rig.runner(self.rig.route(sink, theirs, self.decoder, retries=retries or theirs), source=source)
        clock, began, left = self.rig.clock, self.rig.clock.monotonic(), sorted(deeds, key=lambda deed: deed[0])

        def go_on() -> None:
            now = clock.monotonic() - began
            while left and left[0][0] <= now:
                left.pop(0)[1]()
            if now >= seconds:
                runner.stop()

        clock.during_sleep = go_on
        try:
            return runner.run()
        finally:
            clock.during_sleep = None

    @property
    def landed(self) -> list[int]:
        """Offsets of rows, in the order landed."""
        return self.rig.landed(self.stream)

    @property
    def letters(self) -> dict[int, Letter]:
        """All letters, by their offsets; each is there once."""
        letters = {letter.offset: letter for letter in self.rig.store.letters}
        assert len(letters) == len(self.rig.store.letters)
        return letters

    @property
    def open(self) -> list[int]:
        """The letters that nothing became of."""
        return sorted(self.letters.keys() - {offset for _, offset in self.rig.table.snapshot().resolved})


def test_a_record_that_fails_lands_when_it_does_not_fail_any_more() -> None:
    """Its stream goes on meanwhile, and its row joins the others."""
    shop = Shop()
    shop.write((b"a", b"line 0"), (b"b", b"bad 1"), (b"c", b"line 2"))
    report = shop.run(15.0, (5.0, shop.decoder.mend), (6.0, lambda: shop.write((b"c", b"line 3"))))
    assert report.outcome is Outcome.STOPPED
    assert shop.landed == [0, 2, 3, 1]
    assert shop.open == []
    assert shop.observer.of(events.LettersRetried) == (events.LettersRetried("route", 1, 0, 0),)
    assert report.totals.holds


def test_later_records_of_a_key_wait_behind_one_that_failed() -> None:
    """They become letters that wait, whenever they are read, and land behind it; those of other keys and of none do not wait."""
    shop = Shop()
    shop.write((b"a", b"bad 0"), (b"a", b"line 1"), (b"b", b"line 2"), (None, b"line 3"), (b"a", b"line 4"))
    shop.run(15.0, (2.0, lambda: shop.write((b"a", b"line 5"), (b"b", b"line 6"))), (5.0, shop.decoder.mend))
    assert shop.landed == [2, 3, 6, 0, 1, 4, 5]
    waited = [shop.letters[offset] for offset in (1, 4, 5)]
    assert {(letter.phase, letter.reason, letter.attempts, letter.later) for letter in waited} == {("wait", "behind_retry", 0, True)}
    assert "offset 0" in waited[0].message
    assert (shop.letters[0].phase, shop.letters[0].attempts, shop.letters[0].later) == ("decode", 1, True)
    assert shop.open == []


def test_a_key_is_free_again_when_its_letters_have_landed() -> None:
    """What comes after lands at once."""
    shop = Shop()
    shop.write((b"a", b"bad 0"))
    shop.run(30.0, (5.0, shop.decoder.mend), (20.0, lambda: shop.write((b"a", b"line 1"))))
    assert shop.landed == [0, 1]
    assert list(shop.letters) == [0]


def test_after_the_last_attempt_a_letter_stays_and_holds_nobody_up() -> None:
    """It is a plain dead letter, and those that waited behind it land."""
    shop = Shop()
    shop.write((b"a", b"bad 0"), (b"a", b"line 1"))
    report = shop.run(60.0, (50.0, lambda: shop.write((b"a", b"line 2"))))
    assert shop.landed == [1, 2]
    assert shop.open == [0]
    came = shop.observer.of(events.LettersRetried)
    assert (sum(each.landed for each in came), sum(each.refused for each in came), sum(each.given_up for each in came)) == (1, 1, 1)
    assert report.waiting == 0


def test_only_letters_of_the_chosen_reasons_are_tried_again() -> None:
    """Others are plain letters, and hold nobody up; what waits behind a chosen one is tried again whatever its reason is called."""
    shop = Shop(Later(reasons=frozenset({"poison"})))
    shop.write((b"a", b"bad 0"), (b"a", b"line 1"), (b"b", b"poison"), (b"b", b"line 3"))
    settings = MemorySinkSettings(refuse_at_commit=lambda row: "poison" if row.row == b"poison" else None)
    more = (2.0, lambda: shop.write((b"c", b"bad 4"), (b"c", b"line 5")))
    shop.run(15.0, more, (5.0, shop.decoder.mend), sink=MemorySink(shop.rig.table, "run", settings))
    assert shop.landed == [1, 5, 2, 3]
    assert {offset: letter.later for offset, letter in shop.letters.items()} == {0: False, 2: True, 3: True, 4: False}
    assert shop.open == [0, 4]


def test_a_route_without_retries_buries_plain_letters() -> None:
    """No letter is marked, none waits, and no round is ever begun."""
    shop = Shop()
    shop.write((b"a", b"bad 0"), (b"a", b"line 1"))
    shop.rig.land(shop.rig.route(decoder=shop.decoder))
    assert shop.landed == [1]
    assert not shop.letters[0].later
    assert not shop.observer.of(events.LettersWaiting)


def test_what_was_in_flight_when_a_key_was_found_to_wait_is_read_again() -> None:
    """Batches cut behind the one in which a record fails hold later records of its key: none of them lands before it."""
    shop = Shop(batch_records=1)
    shop.write(*[(b"a", b"line" if number else b"bad") for number in range(6)])
    shop.run(15.0, (5.0, shop.decoder.mend))
    assert shop.landed == list(range(6))


def test_a_crash_forgets_nothing_that_waits() -> None:
    """Another process reads from the store which keys wait, and goes on trying where the first one was."""
    shop = Shop()
    shop.write((b"a", b"bad 0"), (b"a", b"line 1"))
    shop.run(5.0)
    shop.write((b"a", b"line 2"))
    shop.decoder.mend()
    shop.run(15.0)
    assert shop.landed == [0, 1, 2]
    assert shop.letters[2].phase == "wait"


class Flickering(LineDecoder):
    """Refuses a value as often as it is told to, then takes it."""

    def __init__(self, value: bytes, times: int) -> None:
        self._value = value
        self._times = times

    def decode(self, chunk: Chunk) -> Decoded:
        """As told."""
        self.rejected = (b"bad", self._value) if self._times > 0 and self._value in chunk.values else (b"bad",)
        self._times -= self._value in chunk.values
        return super().decode(chunk)


def test_a_record_that_does_not_fail_when_it_is_read_again_frees_its_key() -> None:
    """It lands as a row; those behind it were taken for waiting, and land soon after it."""
    shop = Shop()
    shop.decoder = Flickering(b"once", 1)  # type: ignore[assignment]
    shop.write((b"a", b"once"), (b"a", b"line 1"))
    shop.run(3.0, (2.0, lambda: shop.write((b"a", b"line 2"))))
    assert shop.landed == [0, 1, 2]
    assert 2 not in shop.letters


def test_a_key_of_which_nothing_waits_after_all_is_found_out_at_once() -> None:
    """Where the only record of the key landed as a row nothing is in the store, and the next record lands at once."""
    shop = Shop()
    shop.decoder = Flickering(b"once", 1)  # type: ignore[assignment]
    shop.write((b"a", b"once"))
    shop.run(3.0, (2.0, lambda: shop.write((b"a", b"line 1"))))
    assert shop.landed == [0, 1]
    assert not shop.letters


def test_an_earlier_failure_of_a_key_moves_its_hold() -> None:
    """A batch that is prepared late may fail at an offset before the one from which the key is held already."""
    shop = Shop()
    shop.decoder = Flickering(b"then", 2)  # type: ignore[assignment]
    shop.write((b"a", b"line 0"), (b"b", b"line 1"), (b"a", b"then"), (b"a", b"line 3"))
    shop.run(15.0)
    assert shop.landed == [0, 1, 2, 3]


def test_what_people_resolve_by_hand_frees_its_key() -> None:
    """A discarded letter, and one that was replayed, are found out in time, and what waited behind them lands."""
    shop = Shop()
    shop.write((b"a", b"bad 0"), (b"a", b"line 1"), (b"b", b"bad 2"), (b"b", b"line 3"))

    def resolve_by_hand() -> None:
        resolve(shop.rig.table, {(shop.stream, 0): "discarded"}, [])
        resolve(shop.rig.table, {(shop.stream, 2): "landed"}, [LandedRow(shop.stream, 2, b"mended")])

    shop.run(15.0, (2.0, resolve_by_hand))
    assert shop.landed == [2, 1, 3]
    assert shop.open == []


def test_the_store_is_looked_at_now_and_then_while_something_waits() -> None:
    """What people did is found out long before the next attempt is due."""
    shop = Shop()
    shop.write((b"a", b"bad 0"))
    settings = MemoryRetriesSettings((10_000.0,))
    letters = MemoryRetries(shop.rig.store, shop.rig.table, shop.decoder, shop.rig.clock, settings)
    deeds = ((2.0, lambda: resolve(shop.rig.table, {(shop.stream, 0): "discarded"}, [])),)
    shop.run(LOOK_SECONDS_MAX + 10, *deeds, (LOOK_SECONDS_MAX + 5, lambda: shop.write((b"a", b"line 1"))), letters=letters)
    assert shop.landed == [1]


def test_while_too_many_wait_nothing_is_read() -> None:
    """It is told when it begins and when it ends, and nothing is evicted."""
    shop = Shop(Later(waiting_records_max=2), batch_records=2)
    shop.write((b"a", b"bad 0"), (b"b", b"bad 1"), (b"c", b"line 2"), (b"d", b"line 3"))
    shop.run(9.0, (5.0, lambda: shop.write((b"e", b"line 4"))))
    notices = [each for each in shop.observer.of(events.Notice) if each.code == "RETRY_BACKLOG"]
    assert [each.severity for each in notices] == ["warning"]
    assert "2 dead letters wait" in notices[0].message
    assert 4 not in shop.landed
    shop.decoder.mend()
    shop.run(30.0)
    assert sorted(shop.landed) == [0, 1, 2, 3, 4]
    notices = [each for each in shop.observer.of(events.Notice) if each.code == "RETRY_BACKLOG"]
    assert [each.severity for each in notices] == ["warning", "warning", "cleared"]
    assert shop.observer.of(events.LettersWaiting)[-1] == events.LettersWaiting("route", 0, 0, 2)


def test_reading_goes_on_when_a_tenth_fewer_wait() -> None:
    """Not as soon as one has gone: an alarm that begins and ends all the time is heard by nobody."""
    shop = Shop(Later(waiting_records_max=10))
    shop.write(*[(b"%d" % number, b"bad") for number in range(10)])
    letters = MemoryRetries(shop.rig.store, shop.rig.table, shop.decoder, shop.rig.clock, MemoryRetriesSettings((10.0,) * 9))
    seen: list[list[int]] = []

    def discard(offset: int) -> Callable[[], object]:
        return lambda: resolve(shop.rig.table, {(shop.stream, offset): "discarded"}, [])

    def look() -> None:
        seen.append(shop.landed)

    shop.run(
        26.0,
        (3.0, lambda: shop.write((b"other", b"line 10"))),
        (4.0, discard(0)),
        (13.0, look),
        (14.0, discard(1)),
        (24.0, look),
        letters=letters,
    )
    assert seen == [[], [10]]
    assert [each.severity for each in shop.observer.of(events.Notice)] == ["warning", "cleared"]


def test_letters_that_a_crash_left_ahead_are_read_past_however_many_wait() -> None:
    """Their batch never landed: only reading gets past them, and until then no attempt on them may be made."""
    shop = Shop(Later(waiting_records_max=1))
    shop.write((b"a", b"bad 0"), (b"b", b"bad 1"), (b"c", b"line 2"))

    class Dying(MemorySink):
        """Does not commit."""

        def commit(self, staged: Sequence[object]) -> object:  # type: ignore[override]
            raise Broken("INVARIANT_BROKEN", "the process ends here")

    assert shop.run(5.0, sink=Dying(shop.rig.table)).outcome is Outcome.BROKEN
    assert sorted(shop.letters) == [0, 1]
    shop.decoder.mend()
    shop.run(30.0)
    assert sorted(shop.landed) == [0, 1, 2]
    assert shop.open == []


def test_a_bounded_run_tries_what_is_due_and_waits_for_nothing_else() -> None:
    """Letters that are not due are left, and the report says how many."""
    shop = Shop()
    shop.write((b"a", b"bad 0"), (b"b", b"line 1"))
    first = self_ended(shop)
    assert (first.outcome, first.waiting) == (Outcome.FINISHED, 1)
    shop.decoder.mend()
    shop.rig.clock.advance(DELAYS[0])
    shop.write((b"b", b"line 2"))
    second = self_ended(shop)
    assert (second.outcome, second.waiting) == (Outcome.FINISHED, 0)
    assert sorted(shop.landed) == [0, 1, 2]


def self_ended(shop: Shop) -> RunReport:
    """A bounded run."""
    retries = shop.retries()
    return shop.rig.land(shop.rig.route(letters=retries, decoder=shop.decoder, retries=retries))


@pytest.mark.parametrize("waiting_max", [1, 1_000])
def test_a_stop_lands_what_it_finds_out_to_wait(waiting_max: int) -> None:
    """What a stop has to read again, since a key was found to wait, it reads and lands, also where no more letters may wait."""
    shop = Shop(Later(waiting_records_max=waiting_max))
    shop.write((b"b", b"bad 0"))
    shop.run(5.0)
    shop.write((b"a", b"bad 1"), (b"a", b"line 2"), (b"c", b"line 3"))
    if waiting_max == 1:
        resolve(shop.rig.table, {(shop.stream, 0): "discarded"}, [])
    report = shop.run(0.3)
    assert (report.outcome, report.abandoned) == (Outcome.STOPPED, 0)
    assert (shop.landed, sorted(shop.letters)) == ([3], [0, 1, 2])
    assert report.waiting == len(shop.open)


def test_those_that_wait_do_not_trip_the_breaker() -> None:
    """A thousand records that wait behind one say nothing of the producer; those that fail still count."""
    shop = Shop()
    shop.rig.limits = FlowLimits(breaker=BreakerLimits(share_max=0.0002))
    shop.write((b"a", b"bad 0"), *[(b"a", b"line")] * 50)
    assert self_ended(shop).outcome is Outcome.FINISHED
    shop.write((b"b", b"bad"), (b"c", b"bad"), (b"d", b"bad"))
    assert self_ended(shop).outcome is Outcome.HALTED


class Stubborn:
    """Retries that raise what they are told to, round by round, and otherwise do what others do."""

    def __init__(self, retries: Retries, *errors: Exception | None) -> None:
        self.rounds = 0
        self._retries = retries
        self._errors = list(errors)

    def waiting(self, streams: Collection[Stream]) -> Mapping[Stream, Waiting]:
        """See `ports.Retries`."""
        return self._retries.waiting(streams)

    def due_seconds(self) -> float | None:
        """See `ports.Retries`."""
        return self._retries.due_seconds()

    def retry(self, streams: Collection[Stream], budget_seconds: float) -> Retried:
        """Raise, or see `ports.Retries`."""
        self.rounds += 1
        error = self._errors.pop(0) if self._errors else None
        if error is not None:
            raise error
        return self._retries.retry(streams, budget_seconds)


def test_a_round_that_the_store_cannot_do_is_tried_again() -> None:
    """It is told with the wait, and nothing is lost by it."""
    shop = Shop()
    shop.write((b"a", b"bad 0"), (b"a", b"line 1"))
    letters = shop.retries()
    stubborn = Stubborn(letters, Unavailable("SINK_DOWN", "not now"), Unavailable("SINK_DOWN", "not now"))
    shop.run(20.0, (5.0, shop.decoder.mend), letters=letters, retries=stubborn)
    assert [event.attempt for event in shop.observer.of(events.RetryScheduled)] == [1, 2]
    assert shop.landed == [0, 1]


def test_a_store_that_never_answers_halts_the_lanes() -> None:
    """As every other act that fails for too long."""
    shop = Shop()
    shop.write((b"a", b"bad 0"))
    letters = shop.retries()
    report = shop.run(200.0, letters=letters, retries=Stubborn(letters, *[Unavailable("SINK_DOWN", "not now")] * 100))
    assert report.outcome is Outcome.HALTED
    assert [halt.code for halt in report.halts.values()] == ["SINK_DOWN"]


def test_a_bounded_run_does_not_wait_for_rounds_that_fail() -> None:
    """One failure is told; the letters stay for the next run."""
    shop = Shop()
    shop.write((b"a", b"bad 0"))
    self_ended(shop)
    shop.rig.clock.advance(DELAYS[0])
    shop.write((b"b", b"line 1"))
    letters = shop.retries()
    stubborn = Stubborn(letters, *[Unavailable("SINK_DOWN", "not now")] * 100)
    report = shop.rig.land(shop.rig.route(letters=letters, decoder=shop.decoder, retries=stubborn))
    assert (report.outcome, report.waiting) == (Outcome.FINISHED, 1)
    assert stubborn.rounds == 1


def test_a_conflict_takes_the_streams_over_anew() -> None:
    """Somebody else has claimed the letters: the lanes ask again where they stand and what waits, and go on."""
    shop = Shop()
    shop.write((b"a", b"bad 0"), (b"a", b"line 1"))
    letters = shop.retries()
    stubborn = Stubborn(letters, Conflict("PIPELINE_CONFLICT", "claimed by another"))
    shop.run(20.0, (5.0, shop.decoder.mend), letters=letters, retries=stubborn)
    assert len(shop.observer.of(events.ConflictMet)) == 1
    assert len(shop.observer.of(events.StreamGained)) > 1
    assert shop.landed == [0, 1]


def test_a_conflict_over_a_stream_that_went_meanwhile_takes_nothing_over() -> None:
    """Its new owner has claimed the letters, as it should: the round is over, and nobody is to be told."""
    shop = Shop()
    shop.write((b"a", b"bad 0"))
    letters = shop.retries()

    class Overtaken(Stubborn):
        """Loses its streams while it tries."""

        def retry(self, streams: Collection[Stream], budget_seconds: float) -> Retried:
            """Once."""
            if not self.rounds:
                shop.rig.group.revoke(streams)
            return super().retry(streams, budget_seconds)

    overtaken = Overtaken(letters, Conflict("PIPELINE_CONFLICT", "claimed by another"))
    shop.run(20.0, letters=letters, retries=overtaken)
    assert overtaken.rounds == 1
    assert len(shop.observer.of(events.StreamLost)) == 1
    assert not shop.observer.of(events.ConflictMet)


def test_damage_that_a_round_finds_breaks_the_flow() -> None:
    """As damage that a landing finds."""
    shop = Shop()
    shop.write((b"a", b"bad 0"))
    letters = shop.retries()
    report = shop.run(20.0, letters=letters, retries=Stubborn(letters, Broken("INVARIANT_BROKEN", "a hole")))
    assert report.outcome is Outcome.BROKEN


def test_a_round_that_tries_nothing_is_not_begun_again_at_once() -> None:
    """A letter that is due and that the position is not past would keep the loop busy for nothing."""
    shop = Shop()
    shop.write((b"a", b"bad 0"))

    class Never(Stubborn):
        """Says that something is due, and tries nothing."""

        def due_seconds(self) -> float | None:
            """Now."""
            return 0.0

        def retry(self, streams: Collection[Stream], budget_seconds: float) -> Retried:
            """Nothing."""
            self.rounds += 1
            return Retried({stream: Waiting() for stream in streams})

    letters = shop.retries()
    never = Never(letters)
    shop.run(10.0, letters=letters, retries=never)
    assert 5 <= never.rounds <= 12


@pytest.mark.parametrize("seed", range(30))
def test_no_landing_begins_while_letters_are_tried(seed: int) -> None:
    """Whatever runs when: a round and a commit are never under way at once, and a key lands in order."""
    shop = Shop(batch_records=2)
    executors: list[SteppedExecutor] = []
    told: list[str] = []

    class Told(SteppedExecutor):
        """Says what is asked of it."""

        def submit(self, call: Callable[[], T]) -> Future[T]:
            """Say it."""
            told.append(getattr(getattr(call, "func", call), "__name__", ""))
            return super().submit(call)

    def stepped() -> SteppedExecutor:
        executors.append(Told(seed + len(executors), ahead=1))
        return executors[-1]

    shop.rig.executor = stepped
    for number in range(8):
        shop.write((b"a", b"bad" if number % 3 == 0 else b"line"), (b"b", b"line"))
    settings = MemoryRetriesSettings((0.3,) * 100)
    letters = MemoryRetries(shop.rig.store, shop.rig.table, shop.decoder, shop.rig.clock, settings)
    runner = shop.rig.runner(shop.rig.route(letters=letters, decoder=shop.decoder, retries=letters))
    clock = shop.rig.clock

    def go_on() -> None:
        for executor in executors:
            executor.step()
        if clock.monotonic() > 20:
            shop.decoder.mend()
        if clock.monotonic() > 3 and shop.rig.log[shop.stream].end < 100:
            shop.write((b"a", b"line"), (b"b", b"line"))
        if clock.monotonic() > 60:
            runner.stop()

    notice, clock.during_sleep = shop.observer.notice, go_on

    def heard(event: events.Event) -> None:
        told.append("answer" if isinstance(event, events.LettersRetried) else "")
        notice(event)

    shop.observer.notice = heard  # type: ignore[method-assign]
    runner.run()
    acts = [act for act in told if act in {"retry", "land", "answer"}]
    assert not [pair for pair in pairwise(acts) if pair == ("retry", "land")]
    assert {"retry", "land", "answer"} == set(acts)
    rows = [offset for offset in shop.landed if offset % 2 == 0]
    assert rows == sorted(rows)
    assert sorted(shop.landed) == list(range(100))


def test_attempts_and_landings_take_turns() -> None:
    """Where records never stop coming and letters are always due, neither starves."""
    shop = Shop(batch_records=1)
    shop.write(*[(b"%d" % number, b"bad") for number in range(20)])
    shop.run(5.0)
    shop.decoder.mend()
    shop.rig.clock.advance(DELAYS[0])
    order: list[str] = []

    class Slow(Stubborn):
        """One letter in a round."""

        def retry(self, streams: Collection[Stream], budget_seconds: float) -> Retried:
            """Without time."""
            del budget_seconds
            order.append("attempt")
            return super().retry(streams, 0.0)

    class Told(MemorySink):
        """Says when it commits."""

        def commit(self, staged: Sequence[object]) -> object:  # type: ignore[override]
            order.append("landing")
            return super().commit(staged)  # type: ignore[arg-type]

    shop.write(*[(b"other", b"line")] * 20)
    letters = shop.retries()
    shop.run(5.0, letters=letters, retries=Slow(letters), sink=Told(shop.rig.table))
    first = order.index("attempt")
    assert "attempt attempt" not in " ".join(order[: order.index("landing")])
    assert first < len(order)
    assert sorted(shop.landed) == list(range(40))


def test_a_bounded_run_that_may_not_read_on_for_letters_halts_there() -> None:
    """It neither waits hours for their attempts nor calls itself finished; the next run goes on where it stands."""
    shop = Shop(Later(waiting_records_max=2), batch_records=2)
    shop.rig.runner_limits = RunnerLimits(poll_records=2)
    shop.write((b"a", b"bad 0"), (b"b", b"bad 1"), *((b"c%d" % number, b"line %d" % number) for number in range(2, 12)))
    letters, began = shop.retries(), shop.rig.clock.monotonic()
    report = shop.rig.land(shop.rig.route(letters=letters, decoder=shop.decoder, retries=letters))
    assert (report.outcome, report.waiting) == (Outcome.HALTED, 2)
    assert [halt.code for halt in report.halts.values()] == ["RETRY_BACKLOG"]
    assert shop.rig.clock.monotonic() - began < min(DELAYS)
    shop.decoder.mend()
    shop.rig.clock.advance(max(DELAYS))
    letters = shop.retries()
    assert shop.rig.land(shop.rig.route(letters=letters, decoder=shop.decoder, retries=letters)).outcome is Outcome.FINISHED
    assert sorted(shop.landed) == list(range(12))


def test_conflicts_between_rounds_that_succeed_are_not_conflicts_in_a_row() -> None:
    """Over days a quiet topic meets a rebalance in many a round: that is no second copy of the pipeline."""
    shop = Shop(conflicts_max=3)
    shop.write(*((b"k%d" % number, b"bad %d" % number) for number in range(3)))
    letters = MemoryRetries(shop.rig.store, shop.rig.table, shop.decoder, shop.rig.clock, MemoryRetriesSettings((5.0,) * 50))
    met = Conflict("PIPELINE_CONFLICT", "somebody else has claimed the stream")
    report = shop.run(400.0, letters=letters, retries=Stubborn(letters, *[met, None] * 8))
    assert len(shop.observer.of(events.ConflictMet)) > 3
    assert report.outcome is Outcome.STOPPED


def test_records_that_fail_by_chance_are_not_read_again_without_an_end() -> None:
    """Another one fails at each reading: batches get smaller until one lands, and larger again."""
    shop = Shop(batch_records=1000)
    chance = random.Random(7)

    class Moody(LineDecoder):
        def decode(self, chunk: Chunk) -> Decoded:
            failing = {index for index in range(len(chunk)) if chance.random() < 0.01}
            values = [b"bad" if index in failing else value for index, value in enumerate(chunk.values)]
            return replace(super().decode(replace(chunk, values=values)), chunk=chunk)

    shop.write(*((b"k%d" % number, b"line %d" % number) for number in range(1000)))
    letters = shop.retries()
    shop.rig.land(shop.rig.route(letters=letters, decoder=Moody(), retries=letters))
    read = sum(event.records for event in shop.observer.of(events.RecordsRead))
    assert read < 20 * 1000
    assert len(shop.landed) + len(shop.letters) == 1000
