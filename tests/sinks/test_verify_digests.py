"""A data file is held against the digest that was taken while it was written: a sound file in its place is not taken for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from landfast.audit import Kind, Proof, Verdict
from landfast.cli.verify import as_lines, as_object
from landfast.events import Notice
from landfast.sinks.delta.files.names import LOG
from landfast.sinks.delta.files.object_store import ObjectFiles
from landfast.sinks.delta.files.parquet import Part, write
from landfast.sinks.delta.files.paths import letters_path
from landfast.sinks.delta.log.active import active_files
from landfast.sinks.delta.log.digests import TAG, digests_of
from landfast.sinks.delta.proof.scan import Depth
from landfast.sinks.delta.proof.verify import verify_table
from landfast.sinks.delta.settings import DeltaSettings
from landfast.sinks.delta.upkeep.roll_up import roll_up
from tests.sinks.delta_proof import LANE, OTHER, bury, files_with, land, letter, made, proved_table
from tests.sinks.delta_world import DeltaWorld
from tests.sinks.test_maintenance import told, upkeep
from tests.sinks.test_verify_spans import without_log

Edit = Callable[[pa.Table], pa.Table]


def forge(file: Path, edit: Edit) -> None:
    """Put another sound file, with right checksums, of the same size and the same number of rows, in place of this one."""
    size, rows = file.stat().st_size, edit(pq.read_table(file))
    for level in (19, 9, 5, 1):
        smallest = _stored(file, rows, level, 0)
        for pad in range(max(0, size - smallest - 200), max(0, size - smallest) + 1):
            if _stored(file, rows, level, pad) == size:
                return
    pytest.fail("no forgery of the same size was found")


def _stored(file: Path, rows: pa.Table, level: int, pad: int) -> int:
    writer = pq.ParquetWriter(
        file,
        rows.schema.remove_metadata(),
        compression="zstd",
        compression_level=level,
        use_dictionary=["_topic", "_partition"],  # type: ignore[arg-type]  # a list of columns is taken, the stub knows only bool
        write_page_checksum=True,
        store_schema=False,
    )
    with writer:
        writer.write_table(rows)
        writer.add_key_value_metadata({"p": "p" * pad})
    return file.stat().st_size


def one_value(rows: pa.Table) -> pa.Table:
    """One value is another of the same length."""
    texts = rows.column("text").to_pylist()
    texts[7] = "FORGED" + texts[7][6:]
    return rows.set_column(rows.column_names.index("text"), rows.schema.field("text"), pa.array(texts))


def two_swapped(rows: pa.Table) -> pa.Table:
    """The numbers of two rows have changed places."""
    numbers = rows.column("number").to_pylist()
    numbers[7], numbers[8] = numbers[8], numbers[7]
    return rows.set_column(rows.column_names.index("number"), rows.schema.field("number"), pa.array(numbers))


def digests(world: DeltaWorld) -> dict[str, str]:
    """The digests of the active files that the table's log has."""
    table = DeltaTable(world.path)
    return digests_of(world.home_files(), table.version(), [file.path for file in active_files(table)])


def actual(world: DeltaWorld) -> dict[str, str]:
    """The digests of the active files as they lie there."""
    paths = [file.path for file in active_files(DeltaTable(world.path))]
    return {path: hashlib.sha256((Path(world.path) / path).read_bytes()).hexdigest() for path in paths}


def changed(verdict: Verdict) -> list[tuple[str | None, tuple[tuple[int, int], ...], int]]:
    """The files that are not those that were written; nothing else is wrong."""
    assert {finding.kind for finding in verdict.findings} <= {Kind.FILE_CHANGED}, verdict.findings
    return [(finding.file, finding.ranges, finding.count) for finding in verdict.findings]


def untagged(folder: str) -> None:
    """Make the log one of a version that took no digests."""
    for entry in (Path(folder) / LOG).glob("*.json"):
        lines = [json.loads(line) for line in entry.read_text().splitlines()]
        for line in lines:
            line.get("add", {}).pop("tags", None)
        entry.write_text("\n".join(map(json.dumps, lines)))


@pytest.mark.parametrize("edit", [one_value, two_swapped])
def test_a_sound_file_of_the_same_size_is_not_taken_for_the_one_that_was_written(world: DeltaWorld, edit: Edit) -> None:
    """One value forged, or two swapped, in a file with right checksums, rows and size: its name, offsets and the right digest are told."""
    proved_table(world)
    (path,) = files_with(world, 200, OTHER)
    digest = digests(world)[path]
    before = verify_table(world.path)
    assert (before.outcome, before.digested, before.undigested) == (Proof.WHOLE, 4 + 1, 0)
    forge(Path(world.path) / path, edit)
    verdict = verify_table(world.path)
    assert changed(verdict) == [(path, ((160, 260),), 100)]
    assert digest in verdict.findings[0].sentence
    assert "events[1]" in verdict.findings[0].sentence
    assert as_lines("numbers", verdict)[-1].startswith("NOT PROVED")
    counted = verify_table(world.path, depth=Depth.COORDINATES)
    assert (counted.proved, counted.digested, counted.undigested) == (True, 0, 0)


def test_each_partition_of_a_changed_file_is_named(world: DeltaWorld) -> None:
    """The first commit's file may hold rows of two streams; where a forger took the coordinates away the file is named all the same."""
    sink = world.sink()
    land(sink, made(LANE, range(10), 10, first=True), made(OTHER, range(10), 10, first=True))
    (path,) = {*files_with(world, 5), *files_with(world, 5, OTHER)}
    forge(Path(world.path) / path, one_value)
    assert changed(verify_table(world.path)) == [(path, ((0, 10),), 10)] * 2


def test_a_changed_file_without_coordinates_is_named(world: DeltaWorld) -> None:
    """Rows whose topic was taken away are lost rows, and the file that they were taken from is named beside them."""
    proved_table(world)
    (path,) = files_with(world, 200, OTHER)
    forge(Path(world.path) / path, lambda rows: rows.set_column(rows.column_names.index("_topic"), "_topic", pa.nulls(100, pa.string())))
    found = {finding.kind: finding for finding in verify_table(world.path).findings}
    assert set(found) == {Kind.LOST_ROW, Kind.FILE_CHANGED}
    assert (found[Kind.FILE_CHANGED].file, found[Kind.FILE_CHANGED].count) == (path, 100)


def test_a_forged_letter_is_found(world: DeltaWorld) -> None:
    """Dead letters have a digest as well."""
    bury(world, *(letter(LANE, offset) for offset in range(20)))
    land(world.sink(), made(LANE, range(20), 20, dead=set(range(20)), first=True))
    (file,) = active_files(DeltaTable(letters_path(world.path)))
    assert verify_table(world.path).proved

    def edit(rows: pa.Table) -> pa.Table:
        values = [b"66", *rows.column("value").to_pylist()[1:]]
        return rows.set_column(rows.column_names.index("value"), rows.schema.field("value"), pa.array(values))

    forge(Path(letters_path(world.path)) / file.path, edit)
    assert changed(verify_table(world.path)) == [(file.path, ((0, 20),), 20)]


def test_the_digest_is_that_of_the_bytes(world: DeltaWorld) -> None:
    """`sha256sum` of a file says what the log says, for landed and for compacted files, and in a partitioned table."""
    world.settings = replace(world.settings, partition_by=("_partition",))
    sink = proved_table(world)
    assert digests(world) == actual(world)
    upkeep(world).after_commits(DeltaTable(world.path).version(), 1, 60.0)
    assert len(actual(world)) == 2
    assert digests(world) == actual(world)
    land(sink, made(LANE, range(40, 44), 44))
    assert digests(world) == actual(world)
    assert (verify_table(world.path).outcome, verify_table(world.path).undigested) == (Proof.WHOLE, 0)


def test_a_file_in_an_odd_folder_has_a_digest(world: DeltaWorld) -> None:
    """Partition values may need an escape in the log's paths; and a version knows no digest of a later one."""
    world.settings = replace(world.settings, partition_by=("text",))
    sink = world.sink()
    land(sink, made(LANE, range(3), 3, first=True))
    before = DeltaTable(world.path).version()
    older = digests(world)
    assert len(older) == 3
    land(sink, made(LANE, range(3, 5), 5))
    assert digests(world) == actual(world)
    assert digests_of(world.home_files(), before, list(actual(world))) == older


def test_an_object_has_a_digest(tmp_path: Path) -> None:
    """The digest is taken of what is uploaded."""
    files = ObjectFiles(tmp_path.as_uri(), {})
    written = write(files, "a.parquet", Part("p=1/", {"p": "1"}, pa.table({"a": range(100_000)})), DeltaSettings(path=""), now=1.0)
    assert written.digest == hashlib.sha256((tmp_path / "p=1" / "a.parquet").read_bytes()).hexdigest()


def test_digests_outlive_the_log(world: DeltaWorld) -> None:
    """A checkpoint has what the entries said, and so has the next one, which is made from it."""
    sink = proved_table(world)
    roll_up(DeltaTable(world.path), world.path, {}, 0.0)
    without_log(world)
    land(sink, made(LANE, range(40, 44), 44))
    roll_up(DeltaTable(world.path), world.path, {}, 0.0)
    without_log(world)
    assert digests(world) == actual(world)
    (path,) = files_with(world, 200, OTHER)
    forge(Path(world.path) / path, one_value)
    assert changed(verify_table(world.path)) == [(path, ((160, 260),), 100)]


def test_a_restore_keeps_the_digests(world: DeltaWorld) -> None:
    """Files that another tool names again are held against what was written."""
    proved_table(world)
    version = DeltaTable(world.path).version()
    DeltaTable(world.path).delete("_partition = 1")
    DeltaTable(world.path).restore(version)
    assert digests(world) == actual(world)


def test_the_first_digest_of_a_file_counts(world: DeltaWorld) -> None:
    """Whoever replaces a file and names it again, with the digest that it has now, is found for as long as the log knows the first one."""
    proved_table(world)
    (path,) = files_with(world, 200, OTHER)
    forge(Path(world.path) / path, one_value)
    log = Path(world.path) / LOG
    (add,) = [
        line
        for entry in log.glob("*.json")
        for line in map(json.loads, entry.read_text().splitlines())
        if line.get("add", {}).get("path") == path
    ]
    add["add"]["tags"] = {TAG: actual(world)[path]}
    (log / f"{DeltaTable(world.path).version() + 1:020d}.json").write_text(
        json.dumps({"commitInfo": {"operation": "X"}}) + "\n" + json.dumps(add)
    )
    assert changed(verify_table(world.path)) == [(path, ((160, 260),), 100)]


def test_files_of_a_version_without_digests_are_counted(world: DeltaWorld) -> None:
    """They are proved by their checksums as before, and the outcome says that they were not compared."""
    sink = proved_table(world)
    sink.close()
    untagged(world.path)
    land(world.sink(), made(LANE, range(40, 44), 44))
    verdict = verify_table(world.path)
    assert (verdict.outcome, verdict.digested, verdict.undigested) == (Proof.IN_PART, 1 + 1, 4)
    assert as_lines("numbers", verdict)[-1].endswith("; 4 files had no digest to be compared with")
    assert any(line.startswith("  4 files without a digest") for line in as_lines("numbers", verdict))
    assert (as_object(verdict)["digested"], as_object(verdict)["undigested"]) == (2, 4)
    untagged(letters_path(world.path))
    assert (verify_table(world.path).digested, verify_table(world.path).undigested) == (1, 4 + 1)


def test_what_another_tool_has_joined_is_its_word_and_no_digest_is_missed(world: DeltaWorld) -> None:
    """An OPTIMIZE of another tool takes the digests of our files away with them: the proof holds in part, and says whose word it is."""
    proved_table(world)
    DeltaTable(world.path).optimize.compact()
    verdict = verify_table(world.path)
    assert (verdict.outcome, verdict.undigested, len(verdict.rewritten)) == (Proof.IN_PART, 0, 1)


def test_tags_of_other_tools_are_no_concern(world: DeltaWorld) -> None:
    """Tags that are not as ours, and actions that are not as ours, are left alone."""
    proved_table(world)
    (path,) = files_with(world, 200, OTHER)
    files, written = world.home_files(), actual(world)
    odd = [
        {"add": {"path": path, "tags": None}},
        {"add": {"path": path, "tags": {TAG: 7}}},
        {"commitInfo": {"operation": TAG}},
    ]
    version = DeltaTable(world.path).version()
    (Path(world.path) / LOG / f"{version + 1:020d}.json").write_text("\n".join(map(json.dumps, odd)))
    assert digests_of(files, version + 1, written) == written
    (Path(world.path) / LOG / f"{version + 1:020d}.json").unlink()
    untagged(world.path)
    assert digests_of(files, version, written) == {}


BAD_CHECKPOINTS = ["parquet", "0000000001.0000000002.parquet", "junk.parquet"]


@pytest.mark.parametrize("form", BAD_CHECKPOINTS)
def test_a_checkpoint_that_is_not_whole_hides_no_digest(world: DeltaWorld, form: str) -> None:
    """Damaged, half there, or no checkpoint at all: the one before it and the entries still say what was written."""
    proved_table(world)
    table, written = DeltaTable(world.path), actual(world)
    table.create_checkpoint()
    land(world.sink(), made(LANE, range(40, 44), 44))
    newest = DeltaTable(world.path).version()
    (Path(world.path) / LOG / f"{newest:020d}.checkpoint.{form}").write_bytes(b"PAR1 no more")
    assert digests_of(world.home_files(), newest, written) == written


def test_a_stray_part_of_a_checkpoint_lets_no_forgery_through(world: DeltaWorld) -> None:
    """As a job leaves it that died half-way: the changed file is still found, and still not joined."""
    proved_table(world)
    (path,) = files_with(world, 200, OTHER)
    forge(Path(world.path) / path, one_value)
    version = DeltaTable(world.path).version()
    (Path(world.path) / LOG / f"{version:020d}.checkpoint.0000000001.0000000002.parquet").write_bytes(b"PAR1")
    upkeep(world).after_commits(version, 1, 60.0)
    assert changed(verify_table(world.path)) == [(path, ((160, 260),), 100)]


def test_a_checkpoint_in_parts_is_read_when_all_are_there(world: DeltaWorld) -> None:
    """What a checkpoint in one file says, it says in two as well."""
    proved_table(world)
    table, written, log = DeltaTable(world.path), actual(world), Path(world.path) / LOG
    table.create_checkpoint()
    (whole,) = log.glob("*.checkpoint.parquet")
    rows = pq.read_table(whole)
    for number, part in ((1, rows.slice(0, 3)), (2, rows.slice(3))):
        pq.write_table(part, log / whole.name.replace("checkpoint.", f"checkpoint.{number:010d}.0000000002."))
    whole.unlink()
    for entry in log.glob("*.json"):
        entry.unlink()
    assert digests_of(world.home_files(), table.version(), written) == written


def test_without_the_log_that_had_them_there_are_no_digests(world: DeltaWorld) -> None:
    """The entries are gone, and the checkpoint cannot be read: nothing is made up."""
    proved_table(world)
    table = DeltaTable(world.path)
    paths = list(actual(world))
    table.create_checkpoint()
    (checkpoint,) = (Path(world.path) / LOG).glob("*.checkpoint.parquet")
    checkpoint.write_bytes(b"PAR1 no more")
    for entry in (Path(world.path) / LOG).glob("*.json"):
        entry.unlink()
    assert digests_of(world.home_files(), table.version(), paths) == {}


def test_a_changed_file_is_never_joined(world: DeltaWorld) -> None:
    """The digest of a joined file would vouch for what was forged: it stays where it is, is told, and stays found."""
    proved_table(world)
    (path,) = files_with(world, 200, OTHER)
    forge(Path(world.path) / path, one_value)
    upkeep(world).after_commits(DeltaTable(world.path).version(), 1, 60.0)
    (notice,) = told(world, Notice)
    assert isinstance(notice, Notice)
    assert (notice.code, notice.message.partition(":")[0]) == ("MAINTENANCE_FAILED", "FILE_CHANGED")
    assert path in notice.message
    assert changed(verify_table(world.path)) == [(path, ((160, 260),), 100)]


def test_digests_hold_while_a_table_evolves(world: DeltaWorld) -> None:
    """A new column changes no file: those from before are held against what was written, alone and joined with newer ones."""
    sink = proved_table(world)
    sink.close()
    schema = pa.schema([pa.field("number", pa.int64(), nullable=False), pa.field("more", pa.string())])
    rows = pa.Table.from_pylist([{"number": 1, "more": "x"}], schema=schema)
    write_deltalake(world.path, rows, mode="append", schema_mode="merge")
    land(world.sink(), made(LANE, range(40, 44), 44))
    assert (verify_table(world.path).outcome, verify_table(world.path).undigested) == (Proof.WHOLE, 0)
    upkeep(world).after_commits(DeltaTable(world.path).version(), 1, 60.0)
    assert (verify_table(world.path).outcome, verify_table(world.path).undigested) == (Proof.WHOLE, 0)


def test_a_column_that_somebody_made_optional_is_no_damage(world: DeltaWorld) -> None:
    """An append of another tool that merges its schema relaxes a required column: our files from before are still as they were written."""
    proved_table(world).close()
    write_deltalake(world.path, pa.table({"number": [1], "more": ["x"]}), mode="append", schema_mode="merge")
    assert DeltaTable(world.path).schema().fields[0].nullable
    verdict = verify_table(world.path)
    assert (verdict.findings, verdict.foreign_rows) == ((), 1)
