"""What may change between two runs, what may be gone, and what may not be older than the table."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from landfast.core.batching import BatchLimits
from landfast.errors import Broken
from landfast.events import BatchLanded, RecordsRead
from landfast.sinks.delta import DeltaSettings
from landfast.sinks.delta.files.names import log_name
from landfast.sinks.delta.log.record import FORMAT, KEY
from landfast.sinks.delta.proof.verify import verify_table
from landfast.sinks.delta.table.place import open_handle
from landfast.sinks.delta.upkeep.compaction import GROUP_FILES_MAX, Limits, due
from landfast.testing.memory import RecordingObserver
from tests.faults.power_world import IN_ONE_GO, LIMITS, TABLE, PowerWorld
from tests.sinks.delta_world import DeltaWorld, stream, world_at

LANE = stream(0)
FIXTURE = Path(__file__).parent / "fixtures" / "v0.1"


def test_u8_settings_that_change_between_runs_only_cut_batches_otherwise(tmp_path: Path) -> None:
    """Small batches, then one large one, then batches of one record: nothing is read twice, and each record is in its place once."""
    world = PowerWorld()
    for records, limits in ((20, IN_ONE_GO), (23, replace(LIMITS, batch=BatchLimits(records_max=1)))):
        assert world.wrong(tmp_path, world.run(tmp_path)) == []
        world.produce(records)
        world.observer = RecordingObserver()
        report = world.run(tmp_path, limits=limits)
        assert world.wrong(tmp_path, report) == []
        assert sum(event.records for event in world.observer.of(RecordsRead)) == report.totals.read
        assert report.totals.read == 2 * (records - world.before)
    assert {event.receipt.rows for event in world.observer.of(BatchLanded)} <= {0, 1}


def test_u9_there_is_no_state_beside_the_tables(tmp_path: Path) -> None:
    """Only the tables are taken along to another place, and everything else is gone: nothing is read twice, nothing is missing."""
    world, first, second = PowerWorld(), tmp_path / "first", tmp_path / "second"
    first.mkdir()
    assert world.wrong(first, world.run(first)) == []
    assert {path.name for path in first.iterdir()} == {TABLE, f"{TABLE}__dead_letters"}
    shutil.copytree(first, second)
    shutil.rmtree(first)
    world.produce(world.records + 4)
    world.observer = RecordingObserver()
    assert world.wrong(second, world.run(second)) == []
    assert sum(event.records for event in world.observer.of(RecordsRead)) == 2 * 4


def test_u12_a_table_that_a_later_version_has_written_to_is_refused(tmp_path: Path) -> None:
    """A form that this version does not know is not guessed at: the start and the proof say which version to run, and nothing changes."""
    world = world_at(tmp_path)
    sink = world.sink()
    version = sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))]).version
    entry = Path(world.path) / log_name(version)
    actions = [json.loads(line) for line in entry.read_text().splitlines()]
    info = next(action["commitInfo"] for action in actions if "commitInfo" in action)
    info[KEY] = json.dumps({**json.loads(info[KEY]), "format": FORMAT + 1, "spans": "of another form"})
    entry.write_text("\n".join(map(json.dumps, actions)))
    before = sorted(Path(world.path).rglob("*"))
    for act in (lambda: world.sink("older"), lambda: verify_table(world.path)):
        with pytest.raises(Broken) as caught:
            act()
        assert caught.value.code == "VERSION_TOO_OLD"
    assert sorted(Path(world.path).rglob("*")) == before


def test_v4_a_table_of_version_0_1_is_read_and_gone_on_with(tmp_path: Path) -> None:
    """Rows, positions, letters, a checkpoint, a compaction and rolled-up spans, as 0.1 has written them: kept for ever, read by all."""
    world = PowerWorld()
    shutil.copytree(FIXTURE, tmp_path, dirs_exist_ok=True)
    assert verify_table(str(tmp_path / TABLE)).proved
    world.produce(world.records + 7)
    world.observer = RecordingObserver()
    report = world.run(tmp_path)
    assert world.wrong(tmp_path, report) == []
    assert report.totals.read == 2 * 7


FILES = 20_000


def many_files(world: DeltaWorld) -> None:
    """Name very many small files in one entry, with statistics and no content: a start reads none of them."""
    sink = world.sink()
    receipt = sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))])
    text = (Path(world.path) / log_name(receipt.version)).read_text()
    add = next(json.loads(line)["add"] for line in text.splitlines() if '"add"' in line)
    names = (f"landfast-{number:032x}.zstd.parquet" for number in range(FILES))
    lines = [json.dumps({"commitInfo": {"operation": "WRITE"}}), *(json.dumps({"add": {**add, "path": name}}) for name in names)]
    (Path(world.path) / log_name(receipt.version + 1)).write_text("\n".join(lines))
    open_handle(DeltaSettings(world.path)).create_checkpoint()


def test_s28_a_table_of_very_many_small_files_starts_and_lands(tmp_path: Path) -> None:
    """A start reads none of them, a commit names only its own, and upkeep joins them in groups of bounded size."""
    world = world_at(tmp_path)
    many_files(world)
    sink = world.sink("run-2")
    assert sink.positions([LANE]) == {LANE: 10}
    receipt = sink.commit([sink.stage(world.batch(LANE, 10, 20))])
    assert (receipt.rows, receipt.files) == (10, 1)
    table = open_handle(DeltaSettings(world.path))
    groups = due(table, Limits(file_bytes_small=2**25, files_min=8, bytes_max=2**26, row_group_bytes_max=2**26))
    assert sum(map(len, groups)) >= FILES - 8
    assert max(map(len, groups)) <= GROUP_FILES_MAX
