"""What other writers did to rows of ours: a proof names their files, their commits and them, and claims no value that it cannot know."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.transaction import AddAction

from landfast.audit import Finding, Kind, Verdict
from landfast.cli.verify import as_lines, as_object
from landfast.sinks.delta.files.names import is_own
from landfast.sinks.delta.files.paths import letters_path
from landfast.sinks.delta.log.active import active_files
from landfast.sinks.delta.proof.verify import verify_table
from landfast.sinks.delta.upkeep.compaction import due
from landfast.sinks.delta.upkeep.roll_up import roll_up
from tests.sinks.delta_proof import LANE, land, made, proved_table
from tests.sinks.delta_world import DeltaWorld, batch_of, decoded_of, stream
from tests.sinks.test_maintenance import LIMITS, upkeep
from tests.sinks.test_verify_spans import without_log


def update(world: DeltaWorld) -> int:
    """Change one value in place, as another tool would; returns the version."""
    DeltaTable(world.path).update(predicate="_partition = 1 AND _offset = 170", updates={"text": "'changed'"})
    return DeltaTable(world.path).version()


def optimize(world: DeltaWorld) -> int:
    """Join all files, as another tool would; returns the version."""
    DeltaTable(world.path).optimize.compact()
    return DeltaTable(world.path).version()


def foreign(verdict: Verdict) -> list[Finding]:
    assert {finding.kind for finding in verdict.findings} <= {Kind.FOREIGN_FILE}, verdict.findings
    return list(verdict.findings)


def outcome(verdict: Verdict) -> str:
    return as_lines("numbers", verdict)[-1]


def answer(verdict: Verdict) -> tuple[bool, str, str | None]:
    """What the JSON says of the whole."""
    found = json.loads(json.dumps(as_object(verdict)))
    return found["proved"], found["outcome"], found["code"]


def test_a_value_changed_in_place_is_found(world: DeltaWorld) -> None:
    """The row's coordinates stayed, so all counts are right; the file, its offsets, the commit and its writer are named all the same."""
    proved_table(world)
    version = update(world)
    (found,) = foreign(verdict := verify_table(world.path))
    (file,) = [file.path for file in active_files(DeltaTable(world.path)) if not is_own(file.path)]
    assert (found.file, found.ranges, found.count) == (file, ((160, 260),), 100)
    assert found.sentence.startswith(f"version {version} (UPDATE by delta-rs")
    assert "events[1]" in found.sentence
    assert (verdict.proved, verdict.rewritten) == (False, ())
    assert outcome(verdict).startswith("NOT PROVED")
    assert answer(verdict) == (False, "not_proved", "VERIFY_FAILED")


def test_rows_that_another_tool_only_moved_are_proved_in_part(world: DeltaWorld) -> None:
    """An OPTIMIZE says that it changed nothing: places are proved, and whose word the values are is said on the screen and in JSON."""
    proved_table(world)
    version = optimize(world)
    verdict = verify_table(world.path)
    (found,) = verdict.rewritten
    assert (foreign(verdict), verdict.proved) == ([], True)
    assert (found.rows, found.version) == (179, version)
    assert found.writer.startswith("OPTIMIZE by delta-rs")
    assert outcome(verdict).startswith("PROVED IN PART: every offset that was read is in exactly one place, once; the values of 179 rows")
    assert any("179 rows in 1 file of another writer (OPTIMIZE" in line for line in as_lines("numbers", verdict))
    assert answer(verdict) == (True, "proved_in_part", None)
    assert as_object(verdict)["rewritten"] == [{"file": found.file, "rows": 179, "version": version, "writer": found.writer}]


def test_moving_rows_does_not_hide_that_they_were_changed(world: DeltaWorld) -> None:
    """An OPTIMIZE after an UPDATE carries the changed row on: its own word is not enough."""
    proved_table(world)
    update(world)
    version = optimize(world)
    found = foreign(verify_table(world.path))
    assert {one.sentence.partition(" (")[0] for one in found} == {f"version {version}"}
    assert sum(one.count for one in found) == 179


def test_what_a_delete_leaves_is_not_changed(world: DeltaWorld) -> None:
    """Rows beside a deleted one are written again, and only the deleted one is a finding."""
    proved_table(world)
    DeltaTable(world.path).delete("_partition = 1 AND _offset = 200")
    verdict = verify_table(world.path)
    assert [finding.kind for finding in verdict.findings] == [Kind.LOST_ROW]
    assert [one.rows for one in verdict.rewritten] == [99]


@pytest.mark.parametrize("act", [update, optimize])
def test_behind_the_beginning_of_the_log_nobody_can_tell(world: DeltaWorld, act: Callable[[DeltaWorld], int]) -> None:
    """Once the log no longer says who wrote a file, it is said that nobody knows, and neither that it is sound nor that it is not."""
    sink = proved_table(world)
    act(world)
    land(sink, made(LANE, range(40, 44), 44))
    roll_up(DeltaTable(world.path), world.path, {}, 0.0)
    without_log(world)
    verdict = verify_table(world.path)
    assert (foreign(verdict), verdict.proved) == ([], True)
    (found,) = verdict.rewritten
    assert (found.version, found.writer) == (None, "before the log begins")
    assert outcome(verdict).startswith("PROVED IN PART")


def test_a_restore_of_files_of_ours_is_no_writing(world: DeltaWorld) -> None:
    """What a restore brings back is what we wrote; and a foreign file stays foreign, by the commit that wrote it."""
    proved_table(world)
    version = update(world)
    optimize(world)
    DeltaTable(world.path).restore(version)
    assert {one.sentence.partition(" (")[0] for one in foreign(verify_table(world.path))} == {f"version {version}"}
    DeltaTable(world.path).restore(version - 1)
    verdict = verify_table(world.path)
    assert (foreign(verdict), verdict.rewritten) == ([], ())


def test_compaction_leaves_foreign_files_alone(world: DeltaWorld) -> None:
    """Joined with files of ours, a changed row would pass for one that we wrote."""
    sink = proved_table(world)
    update(world)
    land(sink, made(LANE, range(40, 44), 44))
    (group,) = due(DeltaTable(world.path), LIMITS)
    assert len(group) == 4
    assert all(is_own(file.path) for file in group)
    upkeep(world).after_commits(DeltaTable(world.path).version(), 1, 60.0)
    assert [finding.count for finding in foreign(verify_table(world.path))] == [100]


def test_a_letter_changed_in_place_is_found(world: DeltaWorld) -> None:
    """Dead letters are kept as they were, or it is said that nobody knows."""
    proved_table(world)
    DeltaTable(letters_path(world.path)).update(predicate="offset = 150", updates={"value": "arrow_cast('x', 'Binary')"})
    found = foreign(verify_table(world.path))
    assert {(one.count, one.ranges) for one in found} <= {(1, ((3, 4),)), (1, ((150, 151),))}
    assert any(one.ranges == ((150, 151),) for one in found)


def test_rows_of_others_beside_ours_are_no_concern(world: DeltaWorld) -> None:
    """A file of another writer in which no row has coordinates of ours is neither a finding nor a doubt, also when it is joined."""
    proved_table(world)
    schema = pa.schema(DeltaTable(world.path).schema().to_arrow())
    write_deltalake(world.path, pa.Table.from_pylist([{"number": 1}], schema=schema), mode="append")
    verdict = verify_table(world.path)
    assert (foreign(verdict), verdict.rewritten, verdict.foreign_rows) == ([], (), 1)
    assert outcome(verdict).startswith("PROVED:")
    assert answer(verdict) == (True, "proved", None)
    optimize(world)
    verdict = verify_table(world.path)
    assert (foreign(verdict), [one.rows for one in verdict.rewritten], verdict.foreign_rows) == ([], [179], 1)


def test_rows_of_others_are_no_concern_in_a_wide_table(world: DeltaWorld) -> None:
    """Other tools keep statistics of the first 32 columns only: then the file itself, while it is there, says that no row in it is ours."""
    names = [f"c{number:02}" for number in range(40)]
    world.schema = pa.schema([(name, pa.int64()) for name in names])
    lane = stream(0)
    rows = {name: list(range(10)) for name in names}
    sink = world.sink()
    sink.commit([sink.stage(batch_of(decoded_of(lane, 0, 10, world.schema, rows), first=True))])
    sink.close()
    schema = pa.schema(DeltaTable(world.path).schema().to_arrow())
    write_deltalake(world.path, pa.Table.from_pylist([{"c00": 1}, {"c00": 2}], schema=schema), mode="append")
    (appended,) = [file.path for file in active_files(DeltaTable(world.path)) if not is_own(file.path)]
    version = optimize(world)
    verdict = verify_table(world.path)
    assert (foreign(verdict), [one.version for one in verdict.rewritten], verdict.foreign_rows) == ([], [version], 2)
    assert outcome(verdict).startswith("PROVED IN PART")
    (Path(world.path) / appended).unlink()
    assert [one.count for one in foreign(verify_table(world.path))] == [10]


def test_a_change_in_a_wide_table_is_found(world: DeltaWorld) -> None:
    """The file that an UPDATE wrote has offsets of ours, whatever its statistics leave out."""
    names = [f"c{number:02}" for number in range(40)]
    world.schema = pa.schema([(name, pa.int64()) for name in names])
    sink = world.sink()
    sink.commit([sink.stage(batch_of(decoded_of(stream(0), 0, 10, world.schema, {name: list(range(10)) for name in names}), first=True))])
    sink.close()
    DeltaTable(world.path).update(predicate="_offset = 3", updates={"c00": "77"})
    optimize(world)
    assert [one.count for one in foreign(verify_table(world.path))] == [10]


def test_a_file_without_the_column_holds_none_of_ours(world: DeltaWorld) -> None:
    """A tool may add a file in which columns are left out: no row in it has a place in a topic."""
    proved_table(world)
    table = DeltaTable(world.path)
    pq.write_table(pa.table({"number": [1]}), Path(world.path) / "less.parquet")
    add = AddAction("less.parquet", (Path(world.path) / "less.parquet").stat().st_size, {}, 1, data_change=True, stats="{}")
    table.create_write_transaction([add], "append", table.schema())
    optimize(world)
    assert foreign(verify_table(world.path)) == []
