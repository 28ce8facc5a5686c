"""Bugs that others have had, each reproduced by its shape on a real table: here it loses and doubles nothing.

The list with links stands in docs/museum.toml; tests elsewhere that have a shape already are marked with its number.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from deltalake import DeltaTable

from landfast.errors import Conflict
from landfast.model import Staged
from landfast.sinks.delta import DeltaSink
from landfast.sinks.delta.log.active import active_files
from tests.sinks.delta_proof import LANE, OTHER, land, made
from tests.sinks.delta_world import DeltaWorld, world_at


@pytest.fixture
def world(tmp_path: Path) -> DeltaWorld:
    """An empty world."""
    return world_at(tmp_path)


def staged(world: DeltaWorld, sink: DeltaSink, start: int, end: int) -> Staged:
    """A batch of these offsets, written and not committed."""
    return sink.stage(world.batch(LANE, start, end, first=start == 0))


def offsets(world: DeltaWorld) -> list[int]:
    """What the table holds of the lane, in order and with repetitions."""
    files = [file.path for file in active_files(DeltaTable(world.path))]
    assert len(files) == len(set(files))
    return [offset for _, partition, offset in world.landed() if partition == LANE.partition]


def test_museum_01_a_restart_in_the_middle_of_a_cycle_adds_no_file_twice(world: DeltaWorld) -> None:
    """Files were written, the process died, its successor starts from the position of the table, and then the first one wakes up."""
    former = world.sink("run-1")
    former.commit([staged(world, former, 0, 10)])
    waiting = staged(world, former, 10, 20)
    successor = world.sink("run-2")
    assert successor.positions((LANE,)) == {LANE: 10}
    successor.commit([staged(world, successor, 10, 20)])
    with pytest.raises(Conflict):
        former.commit([waiting])
    assert world.sink("run-3").positions((LANE,)) == {LANE: 20}
    assert offsets(world) == list(range(20))


def test_museum_02_a_commit_whose_progress_was_never_told_is_not_made_again(world: DeltaWorld) -> None:
    """Progress is no second step: it is in the commit, so whoever comes next finds both or neither."""
    former = world.sink("run-1")
    former.commit([staged(world, former, 0, 10)])
    # No offset of any group was written. The successor was made by then, and holds the same records.
    successor = world.sink("run-2")
    again = staged(world, successor, 0, 10)
    with pytest.raises(Conflict):
        successor.commit([again])
    assert offsets(world) == list(range(10))


def test_museum_04_of_two_coordinators_one_lands_each_record(world: DeltaWorld) -> None:
    """Both believe that the stream is theirs, in every round, and both commit."""
    both = [world.sink("run-1"), world.sink("run-2")]
    for start in range(0, 60, 10):
        refused = 0
        for sink, ready in [(sink, staged(world, sink, start, start + 10)) for sink in both]:
            try:
                sink.commit([ready])
            except Conflict:
                refused += 1
                sink.take_over((LANE,))
        assert refused == 1
        both.reverse()
    assert offsets(world) == list(range(60))


def test_museum_05_what_comes_late_from_one_cycle_is_not_merged_into_the_next(world: DeltaWorld) -> None:
    """A worker that was slow hands its files in when the next cycle is being committed: that cycle lands without them."""
    slow, quick = world.sink("run-1"), world.sink("run-2")
    late = staged(world, slow, 0, 10)
    quick.take_over((LANE,))
    quick.commit([staged(world, quick, 0, 15)])
    with pytest.raises(Conflict):
        slow.commit([late])
    quick.commit([staged(world, quick, 15, 20)])
    assert offsets(world) == list(range(20))


def test_museum_06_a_lost_reply_and_another_job_double_nothing(world: DeltaWorld) -> None:
    """The key of the position is the pipeline's and the stream's: a new run, instance or host finds it all the same."""
    ready = staged(world, first := world.sink("job-7c1e"), 0, 10)
    first.commit([ready])
    for job in ("job-0b52", "job-91aa"):
        other = world.sink(job)
        with pytest.raises(Conflict):
            other.commit([staged(world, other, 0, 10)])
        assert other.positions((LANE,)) == {LANE: 10}
    assert offsets(world) == list(range(10))


def test_museum_07_the_same_transaction_is_refused_the_second_time(world: DeltaWorld) -> None:
    """Delta's own check of an application's version lets the same one, and a lower one, pass from a fresh handle: ours does not."""
    sink = world.sink()
    sink.commit([staged(world, sink, 0, 10)])
    for end in (10, 5):
        fresh = world.sink(f"run-to-{end}")
        with pytest.raises(Conflict):
            fresh.commit([staged(world, fresh, 0, end)])
    assert world.sink().positions((LANE,)) == {LANE: 10}
    assert offsets(world) == list(range(10))


def test_museum_08_a_writer_that_paused_until_others_took_over_lands_nothing(world: DeltaWorld) -> None:
    """No lock has to expire: taking a stream over is an act in the table, and what was staged before it is refused after it."""
    paused = world.sink("run-1")
    paused.take_over((LANE,))
    ready = staged(world, paused, 0, 10)
    owner = world.sink("run-2")
    owner.take_over((LANE,))
    with pytest.raises(Conflict):
        paused.commit([ready])
    owner.commit([staged(world, owner, 0, 10)])
    with pytest.raises(Conflict):
        paused.commit([ready])
    assert offsets(world) == list(range(10))


@pytest.mark.parametrize(("first", "second"), [(20, 10), (10, 20)], ids=["a lower one second", "a higher one second"])
def test_museum_11_a_stale_commit_is_a_conflict_whatever_its_version(world: DeltaWorld, first: int, second: int) -> None:
    """The slow one would move the position back, or over records that have landed already: ten of them would land twice."""
    slow, quick = world.sink("run-1"), world.sink("run-2")
    stale = staged(world, slow, 0, second)
    quick.commit([staged(world, quick, 0, first)])
    with pytest.raises(Conflict):
        slow.commit([stale])
    assert world.sink("run-3").positions((LANE,)) == {LANE: first}
    assert offsets(world) == list(range(first))


def test_museum_13_nothing_is_passed_over_when_a_later_part_is_ready_first(world: DeltaWorld) -> None:
    """Offsets 10 to 20 are written before 0 to 10: they cannot land, nor is the position moved, until those have."""
    sink = world.sink()
    first, second = staged(world, sink, 0, 10), staged(world, sink, 10, 20)
    with pytest.raises(Conflict):
        world.sink("run-2").commit([second])
    assert not isinstance(world.sink("run-3").positions((LANE,))[LANE], int)
    current = world.sink("run-4")
    assert first.spans[0].end == second.spans[0].start
    current.commit([staged(world, current, 0, 10)])
    current.commit([staged(world, current, 10, 20)])
    assert offsets(world) == list(range(20))


def test_museum_16_what_is_prepared_waits_as_long_as_it_must(world: DeltaWorld) -> None:
    """No transaction is held open in another system, which would end it by a clock: a batch is files that nobody names yet.

    While it waits, hundreds of commits for other streams are made; then it lands.
    """
    sink = world.sink()
    ready = staged(world, sink, 0, 10)
    end = 0
    for _ in range(30):
        land(sink, made(OTHER, range(end, end + 3), end + 3, first=end == 0))
        end += 3
    sink.commit([ready])
    assert offsets(world) == list(range(10))
