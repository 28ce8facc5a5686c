"""A bounded run beside other members of its group: it waits for what they have to land, says so, and does not wait for ever."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from landfast import events
from landfast.core.outlook import Others, Outlook
from landfast.core.report import Outcome
from landfast.core.runner import RunnerLimits
from landfast.errors import Unavailable
from landfast.model import Bounds, Halt, Position, Stream
from landfast.testing.clock import ManualClock
from landfast.testing.executor import SteppedExecutor
from landfast.testing.memory import MemoryGroup, MemorySink, MemorySource, MemoryTable
from tests.core.rig import Rig

LIMITS = RunnerLimits(others_seconds_max=100.0)
TOPICS = ("a-stuck", "b-late", "c-mine")


def beside(seconds: float, befalls: Callable[[Rig], object]) -> Rig:
    """A group of which another member, which never reads, holds the first two of three topics; `befalls` happens at its second."""
    rig = Rig(topics=TOPICS, partitions=1, runner_limits=LIMITS)
    for topic in TOPICS:
        rig.produce(10, topic=topic)
    rig.group.join("another")
    happened: list[float] = []

    def go_on() -> None:
        if not happened and rig.clock.monotonic() > seconds:
            happened.append(rig.clock.monotonic())
            befalls(rig)

    rig.clock = ManualClock(go_on)
    return rig


def land_alone(rig: Rig, topic: str) -> None:
    """Another process lands a topic to its end."""
    source = MemorySource(MemoryGroup(rig.log, [topic]), "third", ManualClock(), rig.source_settings)
    rig.runner(source=source).run(until_end=True)


def told(rig: Rig) -> list[str]:
    """What was said while it waited."""
    return [event.message for event in rig.observer.of(events.Notice) if event.code == "HELD_ELSEWHERE"]


def test_what_does_not_move_is_named_and_the_run_ends() -> None:
    """One stream of another member lands late, one never: both are told of, the end names the one that stood still, all else landed."""
    rig = beside(70.0, lambda rig: land_alone(rig, "b-late"))
    report = rig.land()
    stuck, late, mine = rig.streams
    assert report.outcome is Outcome.HALTED
    assert {stream: halt.code for stream, halt in report.halts.items()} == {stuck: "HELD_ELSEWHERE"}
    assert "a-stuck[0] at its beginning of 10: it is no stream of ours" in report.halts[stuck].message
    assert 100.0 <= rig.clock.monotonic() < 110.0
    assert [message.count(";") for message in told(rig)] == [1, 1, 0]
    assert "a-stuck[0] at its beginning of 10, still for 30 s; b-late[0] at its beginning of 10, still for 30 s" in told(rig)[0]
    assert (rig.landed(mine), rig.landed(late), rig.landed(stuck)) == ([*range(10)], [*range(10)], [])


class Seen(MemorySink):
    """A sink in which another process is seen to have landed a part of some streams."""

    moved: Mapping[Stream, Position] = {}

    def positions(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """Where they stand, as it looks."""
        return {stream: self.moved.get(stream, position) for stream, position in super().positions(streams).items()}


def test_a_stream_that_moves_is_waited_for_anew() -> None:
    """What lands only a part is given the whole time again."""
    seen = Seen(MemoryTable())
    rig = beside(70.0, lambda rig: setattr(seen, "moved", {rig.streams[1]: 5}))
    report = rig.land(rig.route(sink=seen))
    assert set(report.halts) == set(rig.streams[:2])
    assert "b-late[0] at 5 of 10: it is no stream of ours" in report.halts[rig.streams[1]].message
    assert 170.0 <= rig.clock.monotonic() < 180.0


def test_a_stream_that_comes_to_us_after_all_is_landed_and_forgiven() -> None:
    """When the other member goes, what it held is ours: named as held elsewhere before, landed now, and no halt in the end."""
    table = MemoryTable()
    seen = Seen(table)
    rig = beside(70.0, lambda rig: setattr(seen, "moved", {rig.streams[1]: 5}))
    go_on = rig.clock.during_sleep

    def leave() -> None:
        if go_on is not None:
            go_on()
        if rig.clock.monotonic() > 150.0:
            rig.group.leave("another")

    rig.clock.during_sleep = leave
    report = rig.land(rig.route(sink=seen))
    assert report.outcome is Outcome.FINISHED
    assert [(event.stream, event.halt.code) for event in rig.observer.of(events.LaneHalted)] == [(rig.streams[0], "HELD_ELSEWHERE")]
    assert table.positions == dict.fromkeys(rig.streams, 10)


class Silent(MemorySink):
    """A sink that lands, and from then on does not say where anything stands."""

    def positions(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """Fail once something has landed."""
        if self.table.rows:
            raise Unavailable("SINK_DOWN", "no answer")
        return super().positions(streams)


def test_a_store_that_does_not_say_where_they_stand_is_not_asked_for_ever() -> None:
    """Without an answer nothing moves, as far as can be known: the wait ends all the same."""
    rig = beside(70.0, lambda _: None)
    report = rig.land(rig.route(sink=Silent(rig.table)))
    assert {halt.code for halt in report.halts.values()} == {"SINK_DOWN"}
    assert "SINK_DOWN" in {event.code for event in rig.observer.of(events.Notice)}
    assert 100.0 <= rig.clock.monotonic() < 110.0


def test_an_answer_counts_for_the_moment_of_its_question() -> None:
    """What had landed long before a late answer was looked at is not given up; it is asked about again."""
    rig = Rig(topics=("a", "b"), partitions=1)
    ours, theirs = rig.streams
    for topic in rig.topics:
        rig.produce(10, topic=topic)
    ends = dict.fromkeys(rig.streams, Bounds(0, 10))
    pool = SteppedExecutor()
    outlook = Outlook(rig.source(), pool, rig.observer, every_seconds=5.0, short_seconds_max=30.0, others_seconds_max=900.0)
    route = rig.route()
    for asked_at in (0.0, 2.0):
        outlook.others(route, rig.streams, ends, asked_at)
        pool.run_all()
        if asked_at == 0.0:
            assert outlook.others(route, rig.streams, ends, 1.0) == Others(landed=False)
    rig.land()
    assert outlook.others(route, [theirs], ends, 2000.0) == Others(landed=False)
    outlook.others(route, [theirs], ends, 2001.0)
    pool.run_all()
    assert outlook.others(route, [theirs], ends, 2001.0) == Others(landed=True)
    assert ours in rig.table.positions


def test_an_answer_says_nothing_of_a_stream_that_was_not_asked_about() -> None:
    """A stream that goes to another member while the sink is asked about others is asked about in its turn before the run may end."""
    rig = Rig(topics=("a", "b"), partitions=1)
    theirs, gone = rig.streams
    rig.produce(10, topic="a")
    rig.land()
    ends = dict.fromkeys(rig.streams, Bounds(0, 10))
    pool = SteppedExecutor()
    outlook = Outlook(rig.source(), pool, rig.observer, every_seconds=5.0, short_seconds_max=30.0, others_seconds_max=900.0)
    outlook.others(rig.route(), [theirs], ends, 0.0)
    pool.run_all()
    assert outlook.others(rig.route(), [theirs, gone], ends, 1.0) == Others(landed=False)


def test_many_streams_are_told_of_in_one_line() -> None:
    """A few are named, the others counted."""
    rig = Rig(topics=tuple(f"t{number}" for number in range(16)), partitions=1, runner_limits=LIMITS)
    for topic in rig.topics:
        rig.produce(1, topic=topic)
    rig.group.join("another")
    rig.land()
    assert told(rig)[0].endswith(" and 3 more")


def test_what_expired_unread_in_another_members_stream_is_waited_for_and_named() -> None:
    """A stream that holds nothing any more but stands below its end has lost records: that is not called finished."""
    rig = beside(500.0, lambda _: None)
    land_alone(rig, "a-stuck")
    land_alone(rig, "b-late")
    rig.produce(1, topic="a-stuck")
    lost, passed, _ = rig.streams
    for stream in (lost, passed):
        rig.log[stream].expire(rig.log[stream].end)
    report = rig.land()
    assert report.outcome is Outcome.HALTED
    assert {stream: halt.code for stream, halt in report.halts.items()} == {lost: "HELD_ELSEWHERE"}
    assert "a-stuck[0] at 10 of 11" in report.halts[lost].message
