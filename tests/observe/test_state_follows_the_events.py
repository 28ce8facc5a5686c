"""The state of a run is what its events say, no more and no less."""

from __future__ import annotations

from functools import reduce as fold

from hypothesis import given
from hypothesis import strategies as st

from landfast import events
from landfast.model import Receipt, Span, Totals
from landfast.observe.fanout import Watch
from landfast.observe.state import SECONDS_BOUNDS, Distribution, State, reduce
from landfast.testing.clock import ManualClock
from tests.observe.event_strategies import ONE_OF_EACH, STREAMS, histories

AT = 1_700_000_000.0


def after(*history: events.Event) -> State:
    """The state after these events."""
    return fold(lambda state, event: reduce(state, event, AT), history, State())


def test_every_event_there_is_has_a_strategy_here() -> None:
    """A new event cannot be forgotten: the tests below would not meet it."""
    kinds = {item for item in vars(events).values() if isinstance(item, type) and issubclass(item, events.Event)}
    assert kinds - {events.Event} == set(ONE_OF_EACH)


@given(data=st.data())
def test_every_event_can_change_the_state(data: st.DataObject) -> None:
    """No event is lost on the state: each kind leaves a trace in a state that has not met it."""
    kind = data.draw(st.sampled_from(sorted(ONE_OF_EACH, key=lambda one: one.__name__)))
    event = data.draw(ONE_OF_EACH[kind].filter(lambda one: one != events.LettersBuried(one.flow, getattr(one, "letters", 0), ())))
    blank = events.MemoryHeld(event.flow, 0, 0, 0, 0), events.LettersBuried(event.flow, 0, ())
    if event in blank or (isinstance(event, events.LaneProgress) and (event.landed, event.end, event.held) == (None, None, False)):
        return
    assert reduce(State(), event, AT) != State()


@given(histories)
def test_totals_are_the_sum_of_what_landed(history: list[events.Event]) -> None:
    """The equation shown is made of the spans of durable commits and of nothing else."""
    landed = Totals()
    for event in history:
        if isinstance(event, events.BatchLanded):
            for span in event.receipt.spans:
                landed = landed.plus(span)
    state = after(*history)
    assert landed == state.totals
    assert state.totals.holds


@given(histories, histories)
def test_counters_never_go_down(earlier: list[events.Event], later: list[events.Event]) -> None:
    """Whatever happens, also losing a stream: what was counted stays counted."""
    before, now = after(*earlier), after(*earlier, *later)
    for name, flow in before.flows.items():
        grown = now.flows[name]
        assert flow.gained <= grown.gained
        assert flow.batches_cut <= grown.batches_cut
        assert sum(flow.flush.counts) <= sum(grown.flush.counts)
        for stream, lane in flow.lanes.items():
            assert lane.read <= grown.lanes[stream].read
            assert lane.totals.read <= grown.lanes[stream].totals.read


@given(histories)
def test_reducing_changes_no_earlier_state(history: list[events.Event]) -> None:
    """States may be read from any thread for as long as wanted: a later event leaves them as they are."""
    state, seen = State(), []
    for event in history:
        seen.append((state, repr(state)))
        state = reduce(state, event, AT)
    for earlier, shown in seen:
        assert shown == repr(earlier)


@given(st.lists(st.floats(0, 1_000, allow_nan=False), max_size=20))
def test_a_distribution_counts_each_duration_in_the_bucket_that_holds_it(durations: list[float]) -> None:
    """A bucket with the upper bound b holds what is at most b and more than the bound before it, as Prometheus wants it."""
    distribution = fold(Distribution.plus, durations, Distribution())
    for index, bound in enumerate(SECONDS_BOUNDS):
        assert sum(one <= bound for one in durations) == sum(distribution.counts[: index + 1])
    assert len(durations) == sum(distribution.counts)


def test_a_landing_moves_the_position_and_closes_the_retry() -> None:
    """What shows that a problem is over closes it: a commit that landed ends the retrying of its flow, and only of its flow."""
    stream = STREAMS[0]
    span = Span(stream, 10, 20, 9, 8, 1, {}, "d")
    failing = after(
        events.RetryScheduled("sensors", "SINK_DOWN", "transient", 1, 0.1, "no answer"),
        events.RetryScheduled("orders", "SINK_DOWN", "transient", 1, 0.1, "no answer"),
    )
    assert {("sensors", "SINK_DOWN"), ("orders", "SINK_DOWN")} == set(failing.problems)
    state = reduce(failing, events.BatchLanded("sensors", Receipt((span,), 8, 1, 100, 3, 1, already=False, seconds=0.01), 1), AT)
    assert {("orders", "SINK_DOWN")} == set(state.problems)
    assert state.flows["sensors"].lanes[stream].landed == 20


def test_records_that_arrive_close_the_problems_of_the_source() -> None:
    """A source that delivers is not down any more, and an attempt to open it that failed is over."""
    state = after(
        events.Notice("", "SOURCE_DOWN", "no broker answers"),
        events.RetryScheduled("", "SOURCE_DOWN", "transient", 1, 0.1, "no broker answers"),
        events.RecordsRead("sensors", STREAMS[0], 1, 10, 1),
    )
    assert dict(state.problems) == {}


def test_an_answer_closes_what_was_said_of_brokers_that_do_not_answer() -> None:
    """A quiet topic brings no record that could end the alarm: that a broker says where its log ends is enough; a refused right stays."""
    codes = ("BROKER_UNREACHABLE", "KAFKA_CLIENT", "SOURCE_DOWN", "SOURCE_AUTH")
    told = after(*(events.Notice("", code, "words") for code in codes))
    unknown = reduce(told, events.LaneProgress("sensors", STREAMS[0], 5, None, held=False), AT)
    assert set(unknown.problems) == {("", code) for code in codes}
    known = reduce(told, events.LaneProgress("sensors", STREAMS[0], 5, 5, held=False), AT)
    assert set(known.problems) == {("", "SOURCE_AUTH")}


def test_what_upkeep_met_is_over_with_the_next_landing_or_upkeep() -> None:
    """A store that took a commit answers again, and upkeep that did something works again; those of another route stay."""
    told = [events.Notice(flow, code, "words") for flow in ("sensors", "other") for code in ("SINK_DOWN", "MAINTENANCE_FAILED")]
    landed = reduce(after(*told), events.BatchLanded("sensors", Receipt((), 8, 1, 100, 3, 1, already=False, seconds=0.01), 1), AT)
    assert set(landed.problems) == {("sensors", "MAINTENANCE_FAILED"), ("other", "SINK_DOWN"), ("other", "MAINTENANCE_FAILED")}
    tidied = reduce(landed, events.Maintained("sensors", "checkpoint", 1, 10, 0.1), AT)
    assert set(tidied.problems) == {("other", "SINK_DOWN"), ("other", "MAINTENANCE_FAILED")}


def test_a_notice_says_that_a_problem_is_over() -> None:
    """The severity `cleared` closes the problem of its code; an info opens none."""
    opened = after(events.Notice("sensors", "DISK_FULL", "no space"), events.Notice("sensors", "TAIL_EMPTY", "version 7", "info"))
    assert {("sensors", "DISK_FULL")} == set(opened.problems)
    assert dict(reduce(opened, events.Notice("sensors", "DISK_FULL", "there is space", "cleared"), AT).problems) == {}


def test_lag_is_known_only_where_both_ends_are() -> None:
    """No figure is invented: without the log's end or a position there is no lag."""
    stream = STREAMS[0]
    gained = after(events.StreamGained("sensors", stream, 5, 1))
    assert gained.flows["sensors"].lanes[stream].lag is None
    known = reduce(gained, events.LaneProgress("sensors", stream, 5, 12, held=False), AT)
    assert known.flows["sensors"].lanes[stream].lag == 7


@given(histories)
def test_a_watch_knows_what_the_events_say(history: list[events.Event]) -> None:
    """Summing up the events of reading changes nothing: the state is that of the plain fold, whenever it is looked at."""
    clock = ManualClock()
    watch, looked_at_often = Watch(clock), Watch(clock)
    for event in history:
        watch.notice(event)
        looked_at_often.notice(event)
        assert looked_at_often.state.dropped == 0
    expected = fold(lambda state, event: reduce(state, event, clock.now()), history, State())
    assert watch.state == expected
    assert looked_at_often.state == expected
