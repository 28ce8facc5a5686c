"""Rounds of attempts beside landings: what fails in them, who waits for whom, and what is read again."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from itertools import pairwise
from typing import TypeVar

import pytest

from landfast import events
from landfast.core.report import Outcome
from landfast.errors import Broken, Conflict, Unavailable
from landfast.model import Chunk, Decoded, Letter, Retried, Stream, Waiting
from landfast.ports import Retries
from landfast.testing.executor import SteppedExecutor
from landfast.testing.memory import (
    LineDecoder,
    MemoryRetries,
    MemoryRetriesSettings,
    MemorySink,
)
from tests.core.shop import DELAYS, Shop, self_ended

T = TypeVar("T")


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


def test_rounds_that_free_keys_all_the_time_do_not_keep_batches_from_landing() -> None:
    """Each freed key has what is in hand read again: before the next round may do so, something has to land."""
    shop = Shop()
    for number in range(60):
        failed_at = shop.rig.clock.now() + number / 10
        letter = Letter(shop.stream, number, 0, b"%d" % number, b"bad", (), "decode", "bad_line", "", 1, failed_at, later=True)
        shop.write((b"%d" % number, b"bad"))
        shop.rig.store.take([shop.stream], "before")
        shop.rig.store.append([letter], "before", f"{number}")
    shop.run(3.0)
    assert shop.rig.table.positions[shop.stream] == 60
    shop.decoder.mend()
    seen: list[int] = []

    def go_on() -> None:
        shop.write((b"other", b"line"))
        seen.append(sum(1 for commit in shop.rig.table.commits if commit.spans))

    shop.run(16.0, *[(8.0 + number / 10, go_on) for number in range(60)])
    assert len(shop.landed) == 120
    assert all(later > earlier for earlier, later in zip(seen[::20], seen[20::20], strict=False))


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


def test_what_was_cut_before_a_failure_lands_and_the_rest_is_read_again_once() -> None:
    """Batches in flight teach which keys wait all at once: what is before the first of them is good as it is."""
    shop = Shop(batch_records=2, flight_batches_max=4)
    executors: list[SteppedExecutor] = []

    def stepped() -> SteppedExecutor:
        executors.append(SteppedExecutor(ahead=1))
        return executors[-1]

    def go_on() -> None:
        for executor in executors:
            executor.step()
            executor.step()
        if shop.rig.clock.monotonic() > 8:
            runner.stop()

    shop.rig.executor = stepped
    shop.write(*[(b"%d" % number, b"bad" if number in {2, 4} else b"line") for number in range(8)])
    letters = shop.retries()
    runner = shop.rig.runner(shop.rig.route(letters=letters, decoder=shop.decoder, retries=letters))
    shop.rig.clock.during_sleep = go_on
    runner.run()
    assert [event.position for event in shop.observer.of(events.StreamGained)] == [None, 2]
    assert shop.landed == [0, 1, 3, 5, 6, 7]


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
