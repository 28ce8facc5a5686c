"""A sink that cannot take some value and does not say in which row: the rows are found, buried, and everything else lands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landfast import events
from landfast.core import isolate
from landfast.core.batching import BatchLimits
from landfast.core.breaker import BreakerLimits
from landfast.core.pieces import PieceLimits
from landfast.core.report import Outcome
from landfast.core.retry import RetryPolicy
from landfast.core.route import FlowLimits
from landfast.errors import Unavailable
from landfast.model import Batch, Staged
from landfast.testing.memory import LandedRow, MemorySink
from landfast.testing.memory.rows import landed_rows
from tests.core.rig import Rig

Chokes = Callable[[Sequence[LandedRow]], Unavailable | None]


class ChokingSink(MemorySink):
    """A sink of which a library fails over some rows, and names none. `staged` are the sizes of what it was asked to take."""

    chokes: Chokes
    staged: list[int]

    def stage(self, batch: Batch) -> Staged:
        """Take the batch or fail as a whole."""
        rows = [row for decoded in batch.decoded for row in landed_rows(decoded)]
        self.staged.append(len(rows))
        error = self.chokes(rows)
        if error is not None:
            raise error
        return super().stage(batch)


def of_data() -> Unavailable:
    """What a library says that cannot take a value."""
    return Unavailable("BATCH_REFUSED", "a library cannot take a value", kind="data")


def choking(rig: Rig, chokes: Chokes) -> ChokingSink:
    """A sink over the table of the rig."""
    sink = ChokingSink(rig.table)
    sink.chokes, sink.staged = chokes, []
    return sink


def over(*offsets: int) -> Chokes:
    """Fails where one of these offsets of any stream is among the rows."""
    return lambda rows: of_data() if any(row.offset in offsets for row in rows) else None


def patient(attempts_max: int = 3, **breaker: int) -> FlowLimits:
    """Large batches, few attempts; a breaker of whole batches."""
    limits = BreakerLimits(share_max=1.0, **breaker)
    return FlowLimits(
        BatchLimits(records_max=1000, seconds_max=0.5), PieceLimits(records_max=7), limits, RetryPolicy(attempts_max=attempts_max)
    )


@given(bad=st.sets(st.integers(0, 59), max_size=5), bad_every=st.sampled_from([0, 4]))
def test_rows_that_nobody_names_are_found_and_the_rest_lands(bad: set[int], bad_every: int) -> None:
    """Whichever rows of whichever pieces and streams: they alone are letters, and everything else lands, in order, once."""
    rig = Rig(partitions=2, limits=patient())
    for partition in (0, 1):
        rig.produce(60, partition=partition, bad_every=bad_every)
    rejected = {offset for offset in range(60) if bad_every and offset % bad_every == bad_every - 1}
    report = rig.land(rig.route(sink=choking(rig, over(*bad))))
    assert report.outcome is Outcome.FINISHED
    for stream in rig.streams:
        assert sorted(rig.buried(stream)) == sorted(bad | rejected)
        assert rig.landed(stream) == sorted(set(range(60)) - bad - rejected)
    reasons = {letter.offset: letter.reason for letter in rig.store.letters}
    assert {offset for offset, reason in reasons.items() if reason == isolate.REASON} == bad - rejected
    told = [event.message for event in rig.observer.of(events.Notice) if event.code == "ROWS_ISOLATED"]
    assert bool(told) == bool(bad - rejected)


def test_the_search_costs_two_calls_for_each_halving() -> None:
    """One row of 512: nine halvings, and the message says what they have cost."""
    rig = Rig(partitions=1, limits=patient())
    rig.produce(512)
    sink = choking(rig, over(300))
    rig.land(rig.route(sink=sink))
    (told,) = [event.message for event in rig.observer.of(events.Notice) if event.code == "ROWS_ISOLATED"]
    assert told == "BATCH_REFUSED of 512 rows: 1 of them are refused alone, found in 19 calls of the sink"
    assert len(sink.staged) == 1 + 19 + 1
    assert sum(sink.staged) <= 4 * 512


def test_more_bad_rows_than_one_search_may_find_are_found_in_several() -> None:
    """The bound of a search costs no row: what it leaves is found when the rest is staged again."""
    rig = Rig(partitions=1, limits=patient(in_a_row_max=1000))
    rig.produce(400)
    bad = range(0, 400, 4)
    sink = choking(rig, over(*bad))
    report = rig.land(rig.route(sink=sink))
    assert report.outcome is Outcome.FINISHED
    assert rig.buried(rig.streams[0]) == list(bad)
    searches = [event.message for event in rig.observer.of(events.Notice) if event.code == "ROWS_ISOLATED"]
    assert len(searches) > 1
    assert all(int(message.split(" in ")[1].split()[0]) <= 1.5 * isolate.CALLS_MAX for message in searches)


@pytest.mark.parametrize("first", [0, 4000, 9850])
def test_a_run_of_bad_rows_is_found_wherever_it_lies(first: int) -> None:
    """A changed producer: many bad rows side by side, more than one search finds. The rest lands all the same."""
    limits = patient(in_a_row_max=1000)
    rig = Rig(partitions=1, limits=replace(limits, batch=BatchLimits(records_max=10_000, seconds_max=0.5)))
    rig.produce(10_000)
    bad = range(first, first + 150)
    report = rig.land(rig.route(sink=choking(rig, over(*bad))))
    assert report.outcome is Outcome.FINISHED
    assert rig.buried(rig.streams[0]) == list(bad)


@pytest.mark.parametrize(
    "chokes",
    [
        pytest.param(lambda _: of_data(), id="every row is refused"),
        pytest.param(lambda rows: of_data() if len(rows) > 10 else None, id="no row is refused alone"),
        pytest.param(lambda rows: of_data() if len(rows) == 20 else None, id="only the whole is refused"),
        pytest.param(lambda rows: Unavailable("SINK_DOWN", "silence") if rows else None, id="the store is down"),
    ],
)
def test_what_is_no_rows_fault_buries_none(chokes: Chokes) -> None:
    """The lane halts with everything intact."""
    rig = Rig(partitions=1, limits=patient())
    rig.produce(20)
    report = rig.land(rig.route(sink=choking(rig, chokes)))
    assert report.outcome is Outcome.HALTED
    assert (rig.buried(rig.streams[0]), rig.landed(rig.streams[0])) == ([], [])


def test_a_failure_that_passes_singles_out_no_row() -> None:
    """A sink that fails a few times, whatever it is asked to take, and then works: nothing is buried."""
    for failures in range(1, 12):
        rig = Rig(partitions=1, limits=patient(attempts_max=20))
        rig.produce(20)
        left = iter([of_data()] * failures)
        report = rig.land(rig.route(sink=choking(rig, lambda _, left=left: next(left, None))))  # type: ignore[misc]
        assert report.outcome is Outcome.FINISHED
        assert rig.buried(rig.streams[0]) == [], failures


def test_a_batch_of_one_row_that_is_refused_halts() -> None:
    """With nothing to compare it to, nobody knows whose fault it is."""
    rig = Rig(partitions=1, limits=patient())
    rig.produce(1)
    sink = choking(rig, over(0))
    assert rig.land(rig.route(sink=sink)).halts[rig.streams[0]].code == "BATCH_REFUSED"
    assert sink.staged == [1, 1, 1]


def test_a_store_that_falls_silent_during_the_search_is_waited_for() -> None:
    """The search ends with what the store says; the next attempt begins it anew, and finds the row."""
    rig = Rig(partitions=1, limits=patient())
    rig.produce(20)
    silences = iter([Unavailable("SINK_DOWN", "silence")])
    sink = choking(rig, lambda rows: (next(silences, None) if len(rows) == 5 else None) or over(13)(rows))
    report = rig.land(rig.route(sink=sink))
    assert report.outcome is Outcome.FINISHED
    assert rig.buried(rig.streams[0]) == [13]
    assert {event.code for event in rig.observer.of(events.RetryScheduled)} == {"SINK_DOWN"}
