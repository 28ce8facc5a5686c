"""Promises of a sink about who may commit: the position is compared in the act that moves it."""

from __future__ import annotations

from collections.abc import Callable

from landfast.errors import Conflict, LandfastError
from landfast.model import Position, Staged, Stream
from landfast.ports import Sink
from landfast.testing.suites.promises import Part, demand, demand_equal, demand_raises
from landfast.testing.suites.sink_harness import A, B, SinkHarness, at_once, demand_landed, land, material_of


def committing_the_same_again_is_a_conflict(harness: SinkHarness) -> None:
    """What has landed cannot land again: its start is no longer the position."""
    sink = harness.open_sink()
    staged = sink.stage(material_of(harness).batch(1, Part(A, 0, [b"a"], first=True)))
    sink.commit([staged])
    demand_raises(Conflict, lambda: sink.commit([staged]), "the same batch again")
    demand_landed(harness, [(A, 0, b"a")])


def a_commit_behind_the_position_is_a_conflict(harness: SinkHarness) -> None:
    """A batch that starts below the position lands nothing."""
    _demand_conflict(harness, Part(A, 1, [b"again"]), Part(A, 0, [b"a", b"b"], first=True))


def a_commit_ahead_of_the_position_is_a_conflict(harness: SinkHarness) -> None:
    """A batch that starts above the position lands nothing: it would leave a hole."""
    _demand_conflict(harness, Part(A, 3, [b"hole"]), Part(A, 0, [b"a", b"b"], first=True))


def a_first_span_demands_that_there_is_no_position(harness: SinkHarness) -> None:
    """A span that is the first of its stream conflicts with any position, even an equal one."""
    _demand_conflict(harness, Part(A, 2, [b"c"], first=True), Part(A, 0, [b"a", b"b"], first=True))


def a_later_span_demands_a_position(harness: SinkHarness) -> None:
    """A span that is not the first of its stream conflicts where there is no position yet, even at 0."""
    _demand_conflict(harness, Part(A, 0, [b"a"]))


def one_wrong_stream_refuses_the_whole_batch(harness: SinkHarness) -> None:
    """All or nothing: a conflict in one stream keeps the rows and positions of the others back."""
    sink = harness.open_sink()
    staged = sink.stage(material_of(harness).batch(1, Part(A, 0, [b"a"], first=True), Part(B, 7, [b"b"])))
    demand_raises(Conflict, lambda: sink.commit([staged]), "one stream of two starts wrong")
    demand_equal(sink.positions([A, B]), {A: None, B: None}, "positions after the conflict")
    demand_landed(harness, [])


def a_stale_view_conflicts(harness: SinkHarness) -> None:
    """A process that read the position before another one moved it is refused, and goes on once it has read it again."""
    zombie, owner = harness.open_sink(), harness.open_sink()
    demand_equal(zombie.positions([A]), {A: None}, "position at first")
    late = zombie.stage(material_of(harness).batch(1, Part(A, 0, [b"a", b"b", b"c"], first=True)))
    land(harness, owner, Part(A, 0, [b"a", b"b"], first=True))
    demand_raises(Conflict, lambda: zombie.commit([late]), "a commit with a stale view")
    demand_equal(zombie.positions([A]), {A: 2}, "position after the conflict")
    land(harness, zombie, Part(A, 2, [b"c"]))
    demand_landed(harness, [(A, 0, b"a"), (A, 1, b"b"), (A, 2, b"c")])


def a_stale_view_conflicts_after_commits_of_its_own(harness: SinkHarness) -> None:
    """Having committed before gives no right: the fence holds on every commit."""
    zombie, owner = harness.open_sink(), harness.open_sink()
    land(harness, zombie, Part(A, 0, [b"a"], first=True))
    late = zombie.stage(material_of(harness).batch(2, Part(A, 1, [b"b"])))
    land(harness, owner, Part(A, 1, [b"b"]))
    land(harness, owner, Part(A, 2, [b"c"]))
    demand_raises(Conflict, lambda: zombie.commit([late]), "a commit with a stale view")
    demand_landed(harness, [(A, 0, b"a"), (A, 1, b"b"), (A, 2, b"c")])


def a_former_owner_is_shut_out(harness: SinkHarness) -> None:
    """Once somebody has taken a stream over, its former owner lands nothing more, though its batch starts at the position."""
    former, owner = harness.open_sink(), harness.open_sink()
    demand_equal(former.take_over([A, B]), {A: None, B: None}, "positions at the first take-over")
    land(harness, former, Part(A, 0, [b"a"], first=True))
    late = former.stage(material_of(harness).batch(2, Part(A, 1, [b"b"])))
    demand_equal(owner.take_over([A]), {A: 1}, "position at the second take-over")
    demand_raises(Conflict, lambda: former.commit([late]), "a commit after the stream was taken over")
    demand_landed(harness, [(A, 0, b"a")])
    land(harness, former, Part(B, 0, [b"x"], first=True))
    land(harness, owner, Part(A, 1, [b"b"]))
    demand_equal(former.take_over([A]), {A: 2}, "position when it is taken back")
    land(harness, former, Part(A, 2, [b"c"]))
    demand_landed(harness, [(A, 0, b"a"), (B, 0, b"x"), (A, 1, b"b"), (A, 2, b"c")])


def taking_over_again_shuts_nobody_out_but_others(harness: SinkHarness) -> None:
    """An owner that takes over what it owns goes on; taking over nothing changes nothing."""
    sink = harness.open_sink()
    demand_equal(sink.take_over([]), {}, "a take-over of nothing")
    sink.take_over([A])
    staged = sink.stage(material_of(harness).batch(1, Part(A, 0, [b"a"], first=True)))
    sink.take_over([A])
    sink.commit([staged])
    demand_landed(harness, [(A, 0, b"a")])


def owners_of_different_streams_do_not_disturb_each_other(harness: SinkHarness) -> None:
    """Two processes that own different streams commit in turns, each with a view that the other has made old, and both land."""
    one, two = harness.open_sink(), harness.open_sink()
    one.positions([A])
    two.positions([B])
    for offset in range(3):
        land(harness, one, Part(A, offset, [b"a"], first=offset == 0))
        land(harness, two, Part(B, offset, [b"b"], first=offset == 0))
    demand_landed(harness, [(A, offset, b"a") for offset in range(3)] + [(B, offset, b"b") for offset in range(3)])


def of_many_who_commit_the_same_one_lands(harness: SinkHarness) -> None:
    """Of four processes that commit the same range at once, one gets a receipt and the others a conflict."""
    sinks = [harness.open_sink() for _ in range(4)]
    batch = material_of(harness).batch(1, Part(A, 0, [b"a", b"b"], first=True))
    staged = [sink.stage(batch) for sink in sinks]
    outcomes = at_once([lambda sink=sink, one=one: _outcome(sink, one) for sink, one in zip(sinks, staged, strict=True)])  # type: ignore[misc]
    demand_equal(sorted(outcomes), ["Conflict", "Conflict", "Conflict", "landed"], "outcomes of four commits at once")
    demand_landed(harness, [(A, 0, b"a"), (A, 1, b"b")])


def batches_that_do_not_tile_land_nothing(harness: SinkHarness) -> None:
    """Spans of one stream with a hole, an overlap or the wrong order between them are refused, all of them."""
    material = material_of(harness)
    first = Part(A, 0, [b"a", b"b"], first=True)
    for what, parts in {
        "a hole": [first, Part(A, 3, [b"d"])],
        "an overlap": [first, Part(A, 1, [b"b", b"c"])],
        "the wrong order": [Part(A, 2, [b"c"]), first],
    }.items():
        sink = harness.open_sink()
        staged = [sink.stage(material.batch(number, part)) for number, part in enumerate(parts, 1)]
        demand_raises(LandfastError, lambda sink=sink, staged=staged: sink.commit(staged), what)  # type: ignore[misc]
        demand_equal(harness.open_sink().positions([A]), {A: None}, f"position after {what}")
    demand_landed(harness, [])


def an_incarnation_never_gets_the_position_of_another(harness: SinkHarness) -> None:
    """A topic that was created again is another stream: it has no position, or must not be read, but never goes on silently."""
    sink = harness.open_sink()
    land(harness, sink, Part(A, 0, [b"a", b"b"], first=True))
    replaced = Stream(A.topic, "bbbbbbbbbbbbbbbbbbbbbb", A.partition)
    for each in (sink, harness.open_sink()):
        answer = each.positions([replaced])[replaced]
        demand(not isinstance(answer, Position), f"another incarnation is given the position {answer!r}")
        demand_equal(each.positions([A]), {A: 2}, "position of the incarnation that was there before")


def a_commit_of_another_incarnation_is_a_conflict(harness: SinkHarness) -> None:
    """What was read of a topic that was created again does not land where the other one has landed since its position was asked for."""
    replaced = Stream(A.topic, "bbbbbbbbbbbbbbbbbbbbbb", A.partition)
    late, owner = harness.open_sink(), harness.open_sink()
    demand_equal(late.take_over([replaced]), {replaced: None}, "position before anything has landed")
    staged = late.stage(material_of(harness).batch(1, Part(replaced, 0, [b"of another topic"], first=True)))
    land(harness, owner, Part(A, 0, [b"a"], first=True))
    demand_raises(Conflict, lambda: late.commit([staged]), "a commit of another incarnation")
    demand_landed(harness, [(A, 0, b"a")])


FENCE_CHECKS: tuple[Callable[[SinkHarness], None], ...] = (
    committing_the_same_again_is_a_conflict,
    a_commit_behind_the_position_is_a_conflict,
    a_commit_ahead_of_the_position_is_a_conflict,
    a_first_span_demands_that_there_is_no_position,
    a_later_span_demands_a_position,
    one_wrong_stream_refuses_the_whole_batch,
    a_stale_view_conflicts,
    a_stale_view_conflicts_after_commits_of_its_own,
    a_former_owner_is_shut_out,
    taking_over_again_shuts_nobody_out_but_others,
    owners_of_different_streams_do_not_disturb_each_other,
    of_many_who_commit_the_same_one_lands,
    batches_that_do_not_tile_land_nothing,
    an_incarnation_never_gets_the_position_of_another,
    a_commit_of_another_incarnation_is_a_conflict,
)


def _demand_conflict(harness: SinkHarness, late: Part, *earlier: Part) -> None:
    """What was landed `earlier` stays as it was, and `late` conflicts, in the same process and in a new one."""
    sink = harness.open_sink()
    for part in earlier:
        land(harness, sink, part)
    before, rows = sink.positions([A]), sorted(harness.landed())
    for each in (sink, harness.open_sink()):
        staged = each.stage(material_of(harness).batch(2, late))
        demand_raises(Conflict, lambda each=each, staged=staged: each.commit([staged]), "a start that is not the position")  # type: ignore[misc]
        demand_equal(each.positions([A]), before, "position after a conflict")
    demand_equal(sorted(harness.landed()), rows, "rows after a conflict")


def _outcome(sink: Sink, staged: Staged) -> str:
    try:
        sink.commit([staged])
    except Conflict:
        return "Conflict"
    return "landed"
