"""Bugs that show where two workers meet, where an answer is lost or late, and where a topic is not what it was."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import pytest

from landfast.core import asking
from landfast.core.asking import Standing
from landfast.core.flow import Flow
from landfast.core.intake import Intake
from landfast.core.lanes import Lane, LaneState
from landfast.core.outlook import Others, Outlook
from landfast.core.route import Route
from landfast.core.runner import Runner
from landfast.errors import Conflict
from landfast.model import Bounds, Chunk, Halt, Letter, Poll, Position, Receipt, Span, Staged, Stream
from landfast.testing.faulty import FaultyTable
from landfast.testing.memory import MemoryLetterStore, MemorySink, MemoryTable, Partition, TableCommit, VersionTaken, sink
from landfast.testing.memory.table import AnswerLost
from tests.simulated.planting import Bed

BED = Bed()
plant = BED.plant

_compare, _tiled, _put, _put_through_faults = sink._compare, sink._tiled, MemoryTable.put, FaultyTable.put  # noqa: SLF001 - what the plants change
_commit, _take_over, _resolve, _answer = MemorySink.commit, MemorySink.take_over, MemorySink._resolve, MemorySink._answer  # noqa: SLF001 - the same
_append, _bound, _place, _take = MemoryLetterStore.append, Lane.bound, Lane.place, Flow.take


# ---- who owns a stream ----


@plant
def take_over_fence_ignored(patch: pytest.MonkeyPatch) -> None:
    """A former owner may commit as long as the position is where it was."""
    patch.setattr(sink, "_compare", lambda snapshot, starts, _tenures: _compare(snapshot, starts, {}))


@plant
def take_over_without_a_version(patch: pytest.MonkeyPatch) -> None:
    """Who takes streams over reads where they stand, and tells nobody."""
    patch.setattr(MemorySink, "take_over", MemorySink.positions)


@plant
def positions_read_before_the_take_over(patch: pytest.MonkeyPatch) -> None:
    """The answer to a take-over is what the table said before it."""

    def take_over(self: MemorySink, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        before = self.positions(streams)
        _take_over(self, streams)
        return before

    patch.setattr(MemorySink, "take_over", take_over)


@plant
def take_over_believed_without_an_answer(patch: pytest.MonkeyPatch) -> None:
    """A take-over whose answer was lost counts as done."""

    def take_over(self: MemorySink, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        snapshot = self._snapshot()
        owners = dict.fromkeys(streams, f"{self._run_id} {snapshot.version}")
        try:
            self.table.put(snapshot.version + 1, TableCommit(f"{self._run_id} {snapshot.version}", self._run_id, 0, owners=owners))
        except (AnswerLost, VersionTaken):
            return {stream: self._answer(stream, snapshot.positions) for stream in streams}
        self._tenures.update(owners)
        return self.positions(streams)

    patch.setattr(MemorySink, "take_over", take_over)


@plant
def only_the_first_stream_taken_over(patch: pytest.MonkeyPatch) -> None:
    """Of several streams that come together, one is taken over, and of the others the position is read."""

    def take_over(self: MemorySink, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        ordered = list(streams)
        return {**self.positions(ordered), **_take_over(self, ordered[:1])}

    patch.setattr(MemorySink, "take_over", take_over)


@plant
def a_conflict_answered_by_taking_over_again(patch: pytest.MonkeyPatch) -> None:
    """Who lost a stream takes it back when it commits, and commits what it had."""

    def commit(self: MemorySink, staged: Sequence[Staged]) -> Receipt:
        try:
            return _commit(self, staged)
        except Conflict:
            _take_over(self, {span.stream for part in staged for span in part.spans})
            return _commit(self, staged)

    patch.setattr(MemorySink, "commit", commit)


@plant
def letters_fence_ignored(patch: pytest.MonkeyPatch) -> None:
    """A former owner may still bury."""

    def append(store: MemoryLetterStore, letters: Sequence[Letter], owner: str, token: str) -> Stream | None:
        store.take({letter.stream for letter in letters}, owner)
        return _append(store, letters, owner, token)

    patch.setattr(MemoryLetterStore, "append", append)


@plant
def claimed_after_looking_at_what_is_buried(patch: pytest.MonkeyPatch) -> None:
    """What is buried is asked first and the streams are claimed after it: a former owner buries in between."""

    def standings(route: Route, lanes: Mapping[Stream, Lane]) -> Mapping[Stream, Standing]:
        streams = [stream for stream, lane in lanes.items() if lane.state is LaneState.UNPLACED]
        there = {stream: frozenset(route.dead_letters.buried(stream, 0)) for stream in streams}
        route.dead_letters.claim(streams)
        return {stream: Standing(position, there[stream]) for stream, position in route.sink.take_over(streams).items()}

    patch.setattr(asking, "_standings", standings)


@plant
def buried_asked_before_the_take_over(patch: pytest.MonkeyPatch) -> None:
    """What is buried is asked of streams that nobody claims: their former owner goes on burying until it meets the table's fence."""

    def standings(route: Route, lanes: Mapping[Stream, Lane]) -> Mapping[Stream, Standing]:
        streams = [stream for stream, lane in lanes.items() if lane.state is LaneState.UNPLACED]
        there = {stream: frozenset(route.dead_letters.buried(stream, 0)) for stream in streams}
        answers = route.sink.take_over(streams)
        route.dead_letters.claim(streams)
        return {stream: Standing(position, there[stream]) for stream, position in answers.items()}

    patch.setattr(asking, "_standings", standings)


@plant
def stale_chunks_taken(patch: pytest.MonkeyPatch) -> None:
    """What is read of a lane that has no position yet is taken in, whatever its epoch."""

    def admit(self: Intake, chunk: Chunk, now: float) -> None:
        lane = self.lanes.get(chunk.stream)
        if lane is not None and lane.state is not LaneState.HALTED:
            lane.admit(chunk, now)

    patch.setattr(Intake, "admit", admit)


@plant
def reached_of_a_lane_without_a_position(patch: pytest.MonkeyPatch) -> None:
    """How far a reader has got counts for a lane that is not placed, and for the one that is placed next."""

    def take(flow: Flow, poll: Poll, now: float) -> None:
        _take(flow, poll, now)
        for stream, position in poll.reached.items():
            if stream in flow.lanes and flow.lanes[stream].state is LaneState.UNPLACED:
                flow.lanes[stream].refused = {}
                flow.lanes[stream].reach(position, now)
                flow.lanes[stream].state = LaneState.RUNNING

    patch.setattr(Flow, "take", take)


# ---- what became of a put ----


@plant
def older_snapshot_compared(patch: pytest.MonkeyPatch) -> None:
    """The sink compares with one version and commits on top of whatever is there."""

    def put(table: MemoryTable, version: int, commit: TableCommit) -> None:
        _put(table, max(version, table.version + 1), commit)

    patch.setattr(MemoryTable, "put", put)


@plant
def compared_at_the_first_try_only(patch: pytest.MonkeyPatch) -> None:
    """A commit that lost the race for a version is put on top of what won it, without another look at the positions."""

    def put(table: FaultyTable, version: int, commit: TableCommit) -> None:
        try:
            _put_through_faults(table, version, commit)
        except VersionTaken:
            _put_through_faults(table, version + 1, commit)

    patch.setattr(FaultyTable, "put", put)


@plant
def only_the_first_stream_compared(patch: pytest.MonkeyPatch) -> None:
    """Of a commit of several streams, one position is looked at."""
    patch.setattr(sink, "_compare", lambda snapshot, starts, tenures: _compare(snapshot, dict(list(starts.items())[:1]), tenures))


@plant
def unknown_taken_for_landed(patch: pytest.MonkeyPatch) -> None:
    """A commit whose answer was lost counts as landed."""
    patch.setattr(MemorySink, "commit", _trusting(AnswerLost))


@plant
def a_taken_version_taken_for_ours(patch: pytest.MonkeyPatch) -> None:
    """That a version is there already is read as: our commit has landed."""
    patch.setattr(MemorySink, "commit", _trusting(VersionTaken))


def _trusting(kind: type[Exception]) -> object:
    def commit(self: MemorySink, staged: Sequence[Staged]) -> Receipt:
        table = self.table

        class Trusting:
            snapshot, accepted = table.snapshot, table.accepted

            def put(self, version: int, commit: TableCommit) -> None:
                try:
                    table.put(version, commit)
                except kind:
                    return

        self.table = Trusting()
        try:
            return _commit(self, staged)
        finally:
            self.table = table

    return commit


@plant
def doubt_settled_by_the_position(patch: pytest.MonkeyPatch) -> None:
    """After a lost answer the table's position says whether we landed, whoever moved it."""

    def resolve(self: MemorySink, spans: tuple[Span, ...]) -> Receipt | None:
        doubtful, self._doubtful = self._doubtful, None
        snapshot = self._snapshot()
        if doubtful is not None and all(snapshot.positions.get(stream) == end for stream, end in doubtful.positions.items()):
            return self._receipt(snapshot.version, replace(doubtful, spans=spans), already=True)
        return None

    patch.setattr(MemorySink, "_resolve", resolve)


@plant
def doubt_settled_without_looking_at_the_spans(patch: pytest.MonkeyPatch) -> None:
    """A commit that follows one whose answer was lost is told that it has landed, whatever is in it."""

    def resolve(self: MemorySink, spans: tuple[Span, ...]) -> Receipt | None:
        if self._doubtful is not None:
            self._doubtful = replace(self._doubtful, spans=spans)
        return _resolve(self, spans)

    patch.setattr(MemorySink, "_resolve", resolve)


@plant
def put_again_under_a_new_name(patch: pytest.MonkeyPatch) -> None:
    """A put whose answer was lost is sent once more as the version behind it, before anybody looks."""

    def put(table: FaultyTable, version: int, commit: TableCommit) -> None:
        try:
            _put_through_faults(table, version, commit)
        except AnswerLost:
            _put_through_faults(table, version + 1, replace(commit, token=f"again {commit.token}"))

    patch.setattr(FaultyTable, "put", put)


# ---- whose records these are ----


@plant
def confirmation_ignored(patch: pytest.MonkeyPatch) -> None:
    """What was read lands although nobody knows whose incarnation it is of."""
    patch.setattr(Flow, "_confirmed", lambda _flow, _item: True)


@plant
def confirmed_once_for_all(patch: pytest.MonkeyPatch) -> None:
    """A stream that was confirmed once is never doubted again."""

    def confirm(flow: Flow, stream: Stream, position: Position) -> None:
        if stream in flow.lanes and position > 0:
            flow.lanes[stream].confirmed = 10**9

    patch.setattr(Flow, "confirm", confirm)


@plant
def confirmed_kept_over_a_new_placement(patch: pytest.MonkeyPatch) -> None:
    """What was confirmed under an old placement counts for what the new one reads."""

    def place(lane: Lane, epoch: int, position: Position | None, buried: frozenset[int]) -> None:
        confirmed = lane.confirmed
        _place(lane, epoch, position, buried)
        lane.confirmed = confirmed

    patch.setattr(Lane, "place", place)


@plant
def halt_forgotten(patch: pytest.MonkeyPatch) -> None:
    """The source says that a stream cannot be read on, and nobody listens."""
    patch.setattr(Flow, "halt", lambda _flow, _stream, _halt: None)


@plant
def a_replaced_topic_read_without_asking(patch: pytest.MonkeyPatch) -> None:
    """A topic that was created again is read as if nobody had known the old one."""
    patch.setattr(MemorySink, "_answer", lambda _sink, stream, held: held.get(stream))


@plant
def a_topic_known_by_its_name(patch: pytest.MonkeyPatch) -> None:
    """The position of a stream is looked up by topic and partition: a topic that was created again goes on where the old one stood."""

    def answer(_sink: MemorySink, stream: Stream, held: Mapping[Stream, Position]) -> Position | None:
        known = [position for other, position in held.items() if (other.topic, other.partition) == (stream.topic, stream.partition)]
        return max(known, default=None)

    patch.setattr(MemorySink, "_answer", answer)


@plant
def open_transactions_read(patch: pytest.MonkeyPatch) -> None:
    """A reader sees what a transaction has written before it is known whether it stands."""
    patch.setattr(Partition, "readable_end", property(lambda partition: partition.end))


# ---- when a bounded run is over ----


@plant
def bounded_end_one_late(patch: pytest.MonkeyPatch) -> None:
    """A bounded run waits for a record behind the last one."""
    patch.setattr(Lane, "bound", lambda lane, bounds: _bound(lane, Bounds(bounds.first, bounds.end + 1)))


@plant
def finished_when_all_is_read(patch: pytest.MonkeyPatch) -> None:
    """A bounded run says that it is finished when it has read to the end, landed or not."""
    patch.setattr(Flow, "finished", property(lambda flow: all(lane.read_whole for lane in flow.lanes.values())))
    patch.setattr(Flow, "busy", lambda _flow, _streams=None: False)


@plant
def finished_without_asking_for_others(patch: pytest.MonkeyPatch) -> None:
    """A bounded run does not ask whether the streams of other workers have landed."""
    patch.setattr(Outlook, "others", lambda *_given: Others(landed=True))


@plant
def landed_already_without_a_position(patch: pytest.MonkeyPatch) -> None:
    """A stream that the table has never seen counts as landed when a bounded run begins."""

    def landed_already(runner: Runner) -> bool:
        ends = {stream: bounds.end for stream, bounds in runner._ends.items()}  # noqa: SLF001 - as the runner does
        standings = runner.flows[0].route.sink.positions(tuple(ends))
        return all(
            position is None or (not isinstance(position, Halt) and position >= ends[stream]) for stream, position in standings.items()
        )

    patch.setattr(Runner, "_landed_already", landed_already)
