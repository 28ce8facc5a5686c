"""Upkeep keeps a table small and fast, changes no row and no position, and whatever fails in it is told and harmless."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import IO, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, Field, write_deltalake
from deltalake.exceptions import CommitFailedError
from deltalake.schema import PrimitiveType
from deltalake.transaction import AddAction

from landfast.errors import Broken
from landfast.events import Event, Maintained, Notice
from landfast.sinks.delta import DeltaSettings, DeltaSink
from landfast.sinks.delta.files.local import Disk, LocalFiles
from landfast.sinks.delta.files.paths import spans_path
from landfast.sinks.delta.log.active import ActiveFile, active_files
from landfast.sinks.delta.log.spans import read_spans
from landfast.sinks.delta.proof.verify import verify_table
from landfast.sinks.delta.upkeep.compaction import GROUP_FILES_MAX, Limits, compact, due
from landfast.sinks.delta.upkeep.maintenance import DAY_SECONDS, Maintenance, MaintenanceSettings
from landfast.sinks.delta.upkeep.roll_up import roll_up
from landfast.sinks.delta.upkeep.sweep import FILE_RETENTION
from tests.sinks.delta_proof import LANE, OTHER, land, made, proved_table
from tests.sinks.delta_world import DeltaWorld, QuickClock, world_at

EAGER = MaintenanceSettings(
    checkpoint_commits=1000,
    cleanup_interval_seconds=math.inf,
    compaction_interval_seconds=0,
    compaction_files_min=2,
    sweep_interval_seconds=0,
    sweep_seen_seconds=0,
)
LIMITS = Limits(file_bytes_small=2**20, files_min=2, bytes_max=2**30, row_group_bytes_max=2**20)


class SteppingClock(QuickClock):
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def upkeep(
    world: DeltaWorld, settings: MaintenanceSettings = EAGER, clock: QuickClock | None = None, disk: Disk | None = None
) -> Maintenance:
    return Maintenance(settings, DeltaSettings(path=world.path), clock or QuickClock(), world.ears, disk=disk)


def acts(world: DeltaWorld) -> list[str]:
    return [event.act for event in world.ears.heard if isinstance(event, Maintained)]


def told(world: DeltaWorld, kind: type[Event]) -> list[Event]:
    return [event for event in world.ears.heard if isinstance(event, kind)]


def content(world: DeltaWorld) -> pa.Table:
    return DeltaTable(world.path).to_pyarrow_table().sort_by([("_partition", "ascending"), ("_offset", "ascending")])


def group_of(world: DeltaWorld) -> tuple[DeltaTable, list[ActiveFile]]:
    table = DeltaTable(world.path)
    (group,) = due(table, LIMITS)
    return table, group


def compacted(world: DeltaWorld, table: DeltaTable, group: list[ActiveFile]) -> bool:
    files = LocalFiles(Path(world.path), Disk())
    return compact(table, files, group, {}, DeltaSettings(path=world.path), LIMITS, 1_700_000_000.0) is not None


def test_compaction_changes_no_row_and_no_position(world: DeltaWorld) -> None:
    """Small files become one; rows, positions and the proof are what they were, and landing goes on."""
    sink = proved_table(world)
    before, positions = content(world), sink.positions([LANE, OTHER])
    assert upkeep(world).after_commits(DeltaTable(world.path).version(), 1, 60.0)
    assert acts(world) == ["compaction"]
    assert len(active_files(DeltaTable(world.path))) == 1
    assert content(world).equals(before)
    assert sink.positions([LANE, OTHER]) == positions
    land(sink, made(LANE, range(40, 44), 44))
    assert verify_table(world.path).proved
    assert not told(world, Notice)


def test_compaction_keeps_every_bit(world: DeltaWorld) -> None:
    """NaN, negative zero, nulls, nested values and columns that came later survive as they were."""
    world.schema = pa.schema(
        [
            ("f", pa.float64()),
            ("l", pa.list_(pa.float32())),
            ("s", pa.struct([("a", pa.int32()), ("b", pa.string())])),
            ("m", pa.map_(pa.string(), pa.float64())),
            ("d", pa.decimal128(20, 3)),
            ("t", pa.timestamp("us")),
        ]
    )
    world.home()
    rows = [
        {"f": math.nan, "l": [math.nan, None], "s": {"a": 1, "b": None}, "m": [("k", math.nan)], "d": None, "t": None},
        {"f": -0.0, "l": None, "s": None, "m": None, "d": None, "t": None},
        {"f": None, "l": [], "s": {"a": None, "b": "x"}, "m": [], "d": Decimal("1.250"), "t": datetime(1999, 1, 1, tzinfo=UTC)},
    ]
    for number, row in enumerate(rows):
        add_file(world, number, pa.Table.from_pylist([row], schema=world.schema))
    DeltaTable(world.path).alter.add_columns([Field("later", PrimitiveType("string"))])
    before = DeltaTable(world.path).to_pyarrow_table().to_pylist()
    assert compacted(world, *group_of(world))
    after = DeltaTable(world.path).to_pyarrow_table().to_pylist()
    assert sorted(map(str, after)) == sorted(map(str, before))
    assert "-0.0" in str(after)


def add_file(world: DeltaWorld, number: int, rows: pa.Table) -> None:
    file = Path(world.path) / f"landfast-{number:032x}.zstd.parquet"
    pq.write_table(rows, file)
    table = DeltaTable(world.path)
    stats = json.dumps({"numRecords": rows.num_rows})
    add = AddAction(file.name, file.stat().st_size, {}, 1_700_000_000_000, data_change=True, stats=stats)
    table.create_write_transaction([add], "append", table.schema())


def test_partitions_are_compacted_each_by_itself(world: DeltaWorld) -> None:
    """Files of different partition values are never mixed, and the values stay what they were."""
    world.settings = replace(world.settings, partition_by=("text",))
    sink = world.sink()
    land(sink, *[made(LANE, range(4), 4, first=True)])
    before = content(world)
    assert due(DeltaTable(world.path), LIMITS) == []
    again = made(OTHER, range(4), 4, first=True)
    land(sink, again)
    groups = due(DeltaTable(world.path), LIMITS)
    assert [len(group) for group in groups] == [2, 2, 2, 2]
    upkeep(world).after_commits(DeltaTable(world.path).version(), 1, 60.0)
    assert len(active_files(DeltaTable(world.path))) == 4
    assert content(world).slice(0, 4).select(before.column_names).equals(before)
    assert verify_table(world.path).proved


def test_compaction_is_bounded_by_bytes(world: DeltaWorld) -> None:
    """One commit replaces no more than it is allowed to, and a large file is left alone."""
    proved_table(world)
    table = DeltaTable(world.path)
    sizes = [file.nbytes for file in active_files(table)]
    assert due(table, replace(LIMITS, bytes_max=sizes[0] + sizes[1]))[0][-1].path == active_files(table)[1].path
    assert due(table, replace(LIMITS, file_bytes_small=min(sizes))) == []
    assert due(table, replace(LIMITS, files_min=100)) == []


def test_compaction_is_bounded_by_files() -> None:
    """However small files are, so many are joined by one commit and no more; a larger number that is wanted at once is kept to."""
    table = SimpleNamespace(
        get_add_actions=lambda **_: pa.table(
            {
                "path": [f"landfast-{number:032x}.zstd.parquet" for number in range(600)],
                "size_bytes": [10] * 600,
                "num_records": [1] * 600,
                "modification_time": list(range(600)),
            }
        )
    )
    assert [len(group) for group in due(cast("DeltaTable", table), LIMITS)] == [256, 256, 88]
    assert [len(group) for group in due(cast("DeltaTable", table), replace(LIMITS, files_min=300))] == [300, 300]


def test_many_commits_are_joined_before_it_is_time(world: DeltaWorld) -> None:
    """Every file makes every commit slower, so where commits are many their number says when to join files; unless it is switched off."""
    sink = proved_table(world)
    keeper = upkeep(world, replace(EAGER, compaction_interval_seconds=1e9), SteppingClock())
    off = upkeep(world, replace(EAGER, compaction_interval_seconds=math.inf))
    keeper.after_commits(DeltaTable(world.path).version(), 1, 60.0)
    for start in range(40, 42):
        land(sink, made(LANE, [start], start + 1))
    table = DeltaTable(world.path)
    while table.version() < 4 + GROUP_FILES_MAX:
        assert not keeper.after_commits(table.version(), 1, 60.0)
        table.create_write_transaction([], "append", table.schema())
        table.update_incremental()
    assert not off.after_commits(table.version(), 1, 60.0)
    assert keeper.after_commits(table.version(), 1, 60.0)
    assert acts(world) == ["compaction", "compaction"]
    assert len(active_files(DeltaTable(world.path))) == 1


def test_of_two_compactors_one_gives_up(world: DeltaWorld) -> None:
    """Two that took the same files from the same snapshot: one compacts, the other does nothing, and no row comes twice."""
    proved_table(world)
    before = content(world)
    one, other = group_of(world), group_of(world)
    assert compacted(world, *one)
    assert not compacted(world, *other)
    assert content(world).equals(before)


def test_racing_compactors_double_nothing(world: DeltaWorld) -> None:
    """However they interleave, exactly one of several compactors of the same files wins."""
    proved_table(world)
    before = content(world)
    taken = [group_of(world) for _ in range(4)]
    won: list[bool] = []
    threads = [threading.Thread(target=lambda one=one: won.append(compacted(world, *one))) for one in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False, False, False, True]
    assert content(world).equals(before)


@pytest.mark.parametrize(
    "meddle",
    [
        pytest.param(lambda table: table.optimize.compact(), id="optimize"),
        pytest.param(lambda table: table.delete("_offset = 15"), id="delete"),
    ],
)
def test_compaction_gives_way_to_others(world: DeltaWorld, meddle: Callable[[DeltaTable], object]) -> None:
    """Files that another tool took meanwhile are not replaced a second time: that is how rows would double or return."""
    proved_table(world)
    taken = group_of(world)
    meddle(DeltaTable(world.path))
    before = content(world)
    assert not compacted(world, *taken)
    assert content(world).equals(before)


@pytest.mark.parametrize(
    "meddle",
    [
        pytest.param(lambda table: table.optimize.compact(), id="optimize"),
        pytest.param(lambda table: table.optimize.z_order(["number"]), id="z-order"),
        pytest.param(lambda table: table.delete("_offset = 15"), id="delete"),
    ],
)
def test_others_give_way_to_a_compaction(world: DeltaWorld, meddle: Callable[[DeltaTable], object]) -> None:
    """Another tool that began before a compaction and took the same files is refused: with it every row would come twice."""
    proved_table(world)
    before = content(world)
    stale = DeltaTable(world.path)
    assert compacted(world, *group_of(world))
    with pytest.raises(CommitFailedError):
        meddle(stale)
    assert content(world).equals(before)
    assert verify_table(world.path).proved


def test_a_compaction_leaves_what_a_table_says_of_itself(world: DeltaWorld) -> None:
    """Its columns with what is said of them, its partitions, properties, name and time stay as they are, for every reader."""
    proved_table(world)
    table = DeltaTable(world.path)
    table.alter.set_table_name("events")
    table.alter.set_table_description("all that happened")
    table.alter.set_column_metadata("number", {"unit": "pieces"})
    said, columns, protocol = table.metadata(), table.schema().to_json(), table.protocol()
    assert compacted(world, *group_of(world))
    again = DeltaTable(world.path)
    assert repr(again.metadata()) == repr(said)
    assert again.schema().to_json() == columns
    assert again.protocol() == protocol
    again.create_checkpoint()
    assert repr(DeltaTable(world.path).metadata()) == repr(said)


def test_an_append_meanwhile_does_not_disturb_compaction(world: DeltaWorld) -> None:
    """The sink may land while files are rewritten; nothing of either is lost."""
    sink = proved_table(world)
    taken = group_of(world)
    land(sink, made(LANE, range(40, 44), 44))
    assert compacted(world, *taken)
    land(sink, made(LANE, range(44, 48), 48))
    assert len(active_files(DeltaTable(world.path))) == 3
    assert verify_table(world.path).proved


def test_a_compacted_file_with_other_rows_is_never_committed(world: DeltaWorld) -> None:
    """What is read back is compared row by row: a new file of the right length with one other value is refused."""
    proved_table(world)
    table, group = group_of(world)
    rows = pa.concat_tables(pq.read_table(Path(world.path) / file.path) for file in group)
    numbers = pa.concat_arrays([pa.array([-1]), rows.column("number").combine_chunks()[1:]])
    pq.write_table(rows.set_column(0, rows.schema.field("number"), numbers), Path(world.path) / "other.parquet")

    class Swapped(LocalFiles):
        def open(self, name: str) -> IO[bytes]:
            return super().open(name if name in {file.path for file in group} else "other.parquet")

    with pytest.raises(Broken, match="other rows"):
        compact(table, Swapped(Path(world.path), Disk()), group, {}, DeltaSettings(path=world.path), LIMITS, 1_700_000_000.0)
    assert [file.path for file in active_files(DeltaTable(world.path))] == [file.path for file in group]


def test_a_checkpoint_is_written_when_due_and_by_one_of_many(world: DeltaWorld) -> None:
    """Every so many versions of the table, whoever made them; a checkpoint of another process counts."""
    sink = proved_table(world)
    settings = replace(EAGER, checkpoint_commits=3, compaction_interval_seconds=math.inf, sweep_interval_seconds=1e9)
    one, other = upkeep(world, settings), upkeep(world, settings)
    assert one.after_commits(DeltaTable(world.path).version(), 1, 60.0)
    assert not one.after_commits(DeltaTable(world.path).version(), 1, 60.0)
    assert not other.after_commits(DeltaTable(world.path).version(), 1, 60.0)
    for start in range(40, 43):
        assert not one.after_commits(DeltaTable(world.path).version(), 1, 60.0)
        land(sink, made(LANE, [start], start + 1))
    assert one.after_commits(DeltaTable(world.path).version(), 1, 60.0)
    assert acts(world) == ["checkpoint", "checkpoint"]
    assert verify_table(world.path).proved


def test_the_sweep_takes_only_what_is_ours_old_and_unnamed(world: DeltaWorld) -> None:
    """Orphans of ours beyond the grace period go, and drafts of log entries; younger ones, those of others and named files stay."""
    proved_table(world)
    folder = Path(world.path)
    draft, unknown = folder / "_delta_log" / f".{9:020d}.{3:032x}.landfast.tmp", folder / "_delta_log" / ".of-others.tmp"
    for file in (draft, unknown):
        file.write_bytes(b"")
    old, young = folder / f"landfast-{1:032x}.zstd.parquet", folder / f"landfast-{2:032x}.zstd.parquet"
    foreign = folder / "part-00000-foreign.parquet"
    for file in (old, young, foreign):
        file.write_bytes(b"orphan")
    long_ago = old.stat().st_mtime - 8 * DAY_SECONDS
    for file in (old, foreign, *(folder / one.path for one in active_files(DeltaTable(world.path)))):
        os.utime(file, (long_ago, long_ago))
    upkeep(world, replace(EAGER, compaction_interval_seconds=math.inf)).after_commits(DeltaTable(world.path).version(), 1, 60.0)
    assert acts(world) == ["sweep"]
    assert not old.exists()
    assert not draft.exists()
    assert young.exists()
    assert foreign.exists()
    assert unknown.exists()
    assert verify_table(world.path).proved


def test_the_sweep_leaves_a_table_inside_the_folder_alone(world: DeltaWorld) -> None:
    """No entry of the outer log names the files of the inner table, and they are no leftovers: what lies beside it is."""
    proved_table(world)
    elsewhere = Path(world.path).with_name("elsewhere")
    proved_table(world_at(elsewhere))
    elsewhere.rename(Path(world.path) / "inner")
    inner = world_at(Path(world.path) / "inner")
    orphan = Path(world.path) / "inner" / f"landfast-{1:032x}.zstd.parquet"
    orphan.write_bytes(b"orphan")
    long_ago = time.time() - 8 * DAY_SECONDS
    for file in Path(world.path).rglob("*.parquet"):
        os.utime(file, (long_ago, long_ago))
    upkeep(world, replace(EAGER, compaction_interval_seconds=math.inf)).after_commits(DeltaTable(world.path).version(), 1, 60.0)
    assert verify_table(inner.path).proved
    assert verify_table(world.path).proved
    assert not orphan.exists()


def test_replaced_files_stay_for_readers_of_older_versions(world: DeltaWorld) -> None:
    """What a compaction has replaced is swept only after the grace period, counted from its replacement."""
    proved_table(world)
    folder = Path(world.path)
    replaced = [folder / one.path for one in active_files(DeltaTable(world.path))]
    long_ago = replaced[0].stat().st_mtime - 8 * DAY_SECONDS
    for file in replaced:
        os.utime(file, (long_ago, long_ago))
    keeper = upkeep(world)
    keeper.after_commits(DeltaTable(world.path).version(), 1, 60.0)
    keeper.after_commits(DeltaTable(world.path).version(), 1, 60.0)
    assert all(file.exists() for file in replaced)
    upkeep(world, replace(EAGER, sweep_grace_seconds=0)).after_commits(DeltaTable(world.path).version(), 1, 60.0)
    assert not any(file.exists() for file in replaced)
    assert verify_table(world.path).proved


@pytest.mark.parametrize(("kept", "readable"), [("interval 60 days", True), ("interval 1 hours", False)])
def test_the_sweep_leaves_what_the_table_is_to_keep(world: DeltaWorld, kept: str, readable: bool) -> None:
    """Who has set how long replaced files are kept reads the older versions for so long, whatever the grace of the sweep is."""
    proved_table(world)
    table = DeltaTable(world.path)
    table.alter.set_table_properties({FILE_RETENTION: kept})
    before, rows = table.version(), table.to_pyarrow_table().num_rows
    upkeep(world, replace(EAGER, sweep_interval_seconds=1e9)).after_commits(before, 1, 60.0)
    days_later = time.time() - 10 * DAY_SECONDS
    for entry in (Path(world.path) / "_delta_log").glob("*.json"):
        actions = [json.loads(line) for line in entry.read_text().splitlines()]
        for action in actions:
            action.get("remove", {})["deletionTimestamp"] = int(days_later * 1000)
        entry.write_text("\n".join(map(json.dumps, actions)) + "\n")
    for file in Path(world.path).glob("*.parquet"):
        os.utime(file, (days_later, days_later))
    upkeep(world).after_commits(DeltaTable(world.path).version(), 1, 60.0)
    old = DeltaTable(world.path, version=before)
    assert all((Path(world.path) / file.path).exists() for file in active_files(old)) is readable
    assert not readable or old.to_pyarrow_table().num_rows == rows
    assert verify_table(world.path).proved


def test_the_log_is_cleaned_only_after_its_spans_are_safe(world: DeltaWorld) -> None:
    """Clean-up takes old entries away, and the proof does not miss them."""
    sink = proved_table(world)
    DeltaTable(world.path).alter.set_table_properties({"delta.logRetentionDuration": "interval 0 days"})
    sink = world.sink()
    land(sink, made(LANE, range(40, 44), 44))
    log = Path(world.path) / "_delta_log"
    for file in log.glob("*.json"):
        long_ago = file.stat().st_mtime - 40 * DAY_SECONDS
        os.utime(file, (long_ago, long_ago))
    clock = SteppingClock()
    keeper = upkeep(world, replace(EAGER, checkpoint_commits=1, cleanup_interval_seconds=3600, compaction_interval_seconds=math.inf), clock)
    keeper.after_commits(DeltaTable(world.path).version(), 1, 60.0)
    assert acts(world) == ["checkpoint"]
    clock.seconds = 4000
    land(sink, made(LANE, range(44, 48), 48))
    keeper.after_commits(DeltaTable(world.path).version(), 1, 60.0)
    assert "clean-up" in acts(world)
    assert not (log / f"{1:020d}.json").exists()
    assert DeltaTable(spans_path(world.path)).to_pyarrow_table().num_rows == 8
    verdict = verify_table(world.path)
    assert verdict.proved, verdict.findings


def test_no_other_tool_cleans_the_log_of_spans_that_are_not_safe(world: DeltaWorld) -> None:
    """A table that lay still for longer than its log's retention, and is then written by another tool, is proved all the same."""
    sink = proved_table(world)
    handle = DeltaTable(world.path)
    handle.create_checkpoint()
    log = Path(world.path) / "_delta_log"
    long_ago = (log / f"{0:020d}.json").stat().st_mtime - 40 * DAY_SECONDS
    for file in log.iterdir():
        os.utime(file, (long_ago, long_ago))
    foreign = content(world).slice(0, 1).select(["number", "text"])
    write_deltalake(world.path, foreign, mode="append", schema_mode="merge")
    DeltaTable(world.path).optimize.compact()
    land(sink, made(LANE, range(40, 44), 44))
    assert not Path(spans_path(world.path)).exists()
    verdict = verify_table(world.path)
    assert (verdict.proved, verdict.foreign_rows) == (True, 1), verdict.findings


def test_the_rolled_up_spans_stay_few_files(world: DeltaWorld) -> None:
    """Each clean-up adds a file of spans; those are compacted too, and no span is lost or comes twice."""
    sink = proved_table(world)
    for offset in range(40, 44):
        roll_up(DeltaTable(world.path), world.path, {}, 1_700_000_000.0)
        land(sink, made(LANE, [offset], offset + 1))
    spans = read_spans(world.path)
    keeper = upkeep(world, replace(EAGER, compaction_interval_seconds=math.inf, cleanup_interval_seconds=0))
    keeper.after_commits(DeltaTable(world.path).version(), 1, 60.0)
    assert acts(world) == ["clean-up", "compaction"]
    assert len(active_files(DeltaTable(spans_path(world.path)))) == 1
    assert DeltaTable(spans_path(world.path)).to_pyarrow_table().num_rows == len(spans)
    assert read_spans(world.path) == spans
    verdict = verify_table(world.path)
    assert verdict.proved, verdict.findings


class LaterClock(QuickClock):
    """A clock on the wall that shows another day."""

    def __init__(self, days: float) -> None:
        self._seconds = days * DAY_SECONDS

    def now(self) -> float:
        return super().now() + self._seconds


def test_short_runs_keep_a_table_as_small_as_a_long_one(world: DeltaWorld) -> None:
    """Processes that live for one commit each write checkpoints and compact like one that stays: the table says what is due."""
    sink = proved_table(world)
    settings = MaintenanceSettings(checkpoint_commits=5)
    for start in range(40, 60):
        land(sink, made(LANE, [start], start + 1))
        upkeep(world, settings).after_commits(DeltaTable(world.path).version(), 1, 60.0)
    assert acts(world).count("checkpoint") >= 4
    assert acts(world).count("compaction") >= 2
    assert len(active_files(DeltaTable(world.path))) < 2 * settings.compaction_files_min
    assert verify_table(world.path).proved


def test_short_runs_clean_the_log_once_a_day(world: DeltaWorld) -> None:
    """Whoever lives when a day has passed since the last clean-up, or since the table was made, rolls up and cleans; nobody else does."""
    proved_table(world)

    def cleanups(days: float) -> int:
        world.ears.heard.clear()
        settings = MaintenanceSettings(compaction_interval_seconds=math.inf)
        upkeep(world, settings, LaterClock(days)).after_commits(DeltaTable(world.path).version(), 1, 60.0)
        return acts(world).count("clean-up")

    assert cleanups(0.9) == 0
    assert cleanups(1.1) == 1
    assert DeltaTable(spans_path(world.path)).to_pyarrow_table().num_rows > 0
    # The commit of the roll-up bears the machine's own time.
    assert cleanups(0.9) == 0
    assert cleanups(1.1) == 1


def test_a_failure_is_told_and_harmless(world: DeltaWorld) -> None:
    """A file that cannot be read stops its compaction, not the landing; it is told once and not tried for ever."""
    sink = proved_table(world)
    (Path(world.path) / active_files(DeltaTable(world.path))[0].path).unlink()
    keeper = upkeep(world)
    keeper.after_commits(DeltaTable(world.path).version(), 1, 60.0)
    keeper.after_commits(DeltaTable(world.path).version(), 1, 60.0)
    (notice,) = told(world, Notice)
    assert isinstance(notice, Notice)
    assert notice.code == "MAINTENANCE_FAILED"
    land(sink, made(LANE, range(40, 44), 44))


def test_a_table_that_is_gone_is_told(world: DeltaWorld) -> None:
    """Upkeep of a table that somebody moved away raises nothing."""
    proved_table(world)
    handle = DeltaTable(world.path)
    Path(world.path).rename(Path(world.path).with_name("elsewhere"))
    upkeep(world, replace(EAGER, checkpoint_commits=1)).after_commits(handle.version(), 1, 60.0)
    assert {event.code for event in told(world, Notice) if isinstance(event, Notice)} == {"MAINTENANCE_FAILED"}


def test_a_failed_fsync_stops_the_run(world: DeltaWorld) -> None:
    """After a failed fsync nothing on the disk can be trusted, so this one failure is not swallowed."""

    class FailingDisk(Disk):
        def sync_file(self, path: Path) -> None:
            raise Broken("FSYNC_FAILED", "fsync failed")

    proved_table(world)
    with pytest.raises(Broken, match="fsync"):
        upkeep(world, replace(EAGER, checkpoint_commits=1), disk=FailingDisk()).after_commits(DeltaTable(world.path).version(), 1, 60.0)


def test_a_call_stops_at_its_budget(world: DeltaWorld) -> None:
    """Once the budget that the sink was given is used up no further act begins; with a larger one they do."""

    class Racing(QuickClock):
        ticks = 0.0

        def monotonic(self) -> float:
            self.ticks += 10
            return self.ticks

    proved_table(world)
    sink = DeltaSink(world.home("run-2"), upkeep(world, clock=Racing()))
    land(sink, made(LANE, range(40, 44), 44))
    sink.maintain(1.0)
    assert acts(world) == []
    sink.maintain(10_000.0)
    assert acts(world) == ["compaction"]
