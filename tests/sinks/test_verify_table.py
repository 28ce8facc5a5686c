"""The proof from the table alone: it holds for what was landed, and it names exactly what was damaged."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from landfast.audit import Finding, Kind, Verdict, tiling
from landfast.model import Span
from landfast.sinks.delta.files.paths import letters_path
from landfast.sinks.delta.log.active import active_files
from landfast.sinks.delta.proof.scan import Depth
from landfast.sinks.delta.proof.verify import verify_table
from tests.sinks.delta_proof import LANE, OTHER, bury, edit_record, files_with, land, letter, made, proved_table
from tests.sinks.delta_world import DeltaWorld, stream


def kinds(verdict: Verdict) -> set[Kind]:
    return {finding.kind for finding in verdict.findings}


def only(verdict: Verdict, kind: Kind) -> Finding:
    found = [finding for finding in verdict.findings if finding.kind is kind]
    assert len(found) == 1, verdict.findings
    return found[0]


def test_a_table_as_landed_is_proved(world: DeltaWorld) -> None:
    """Spans, rows, letters, skips, gaps and empty spans of two streams agree, and the equation is summed up."""
    proved_table(world)
    verdict = verify_table(world.path)
    assert verdict.proved, verdict.findings
    assert (verdict.totals.read, verdict.totals.written, verdict.totals.dead, dict(verdict.totals.skipped)) == (
        183,
        179,
        2,
        {"tombstone": 2},
    )
    assert (verdict.rows, verdict.letters, verdict.pending, verdict.foreign_rows) == (179, 2, 0, 0)
    assert [(one.stream, one.start, one.end, one.position, one.spans) for one in verdict.accounts] == [
        (LANE, 0, 40, 40, 3),
        (OTHER, 100, 300, 300, 3),
    ]


def test_a_missing_file_is_named_with_the_offsets_that_it_held(world: DeltaWorld) -> None:
    """A file that somebody removed is a finding, and so are its rows, by exact offset."""
    proved_table(world)
    (path,) = files_with(world, 15)
    (Path(world.path) / path).unlink()
    verdict = verify_table(world.path)
    assert only(verdict, Kind.FILE_MISSING).file == path
    lost = only(verdict, Kind.LOST_ROW)
    assert (lost.stream, lost.count, lost.ranges) == (LANE, 8, ((10, 25),))
    assert kinds(verdict) == {Kind.FILE_MISSING, Kind.LOST_ROW}


def test_u13_a_deleted_row_is_named_by_its_offset(world: DeltaWorld) -> None:
    """A row that somebody deleted with another tool is named exactly, since nothing else of its span is unaccounted for."""
    proved_table(world)
    DeltaTable(world.path).delete("_partition = 1 AND _offset = 200")
    lost = only(verdict := verify_table(world.path), Kind.LOST_ROW)
    assert (lost.stream, lost.count, lost.ranges) == (OTHER, 1, ((200, 201),))
    assert "exactly" in lost.sentence
    assert kinds(verdict) == {Kind.LOST_ROW}


def test_a_doubled_row_is_named_by_its_offset(world: DeltaWorld) -> None:
    """A row that is in the table twice is named, also when its span was complete long before the second one is met."""
    proved_table(world)
    row = DeltaTable(world.path).to_pyarrow_table(filters=[("_partition", "=", 1), ("_offset", "=", 170)])
    write_deltalake(world.path, row, mode="append")
    doubled = only(verdict := verify_table(world.path), Kind.DOUBLED_ROW)
    assert (doubled.stream, doubled.count, doubled.ranges) == (OTHER, 1, ((170, 171),))
    assert kinds(verdict) == {Kind.DOUBLED_ROW, Kind.FOREIGN_FILE}


def test_a_row_doubled_in_place_of_another_is_two_findings(world: DeltaWorld) -> None:
    """Counts that still add up do not hide that one row was lost and another doubled."""
    proved_table(world)
    row = DeltaTable(world.path).to_pyarrow_table(filters=[("_partition", "=", 1), ("_offset", "=", 170)])
    DeltaTable(world.path).delete("_partition = 1 AND _offset = 171")
    write_deltalake(world.path, row, mode="append")
    verdict = verify_table(world.path)
    assert only(verdict, Kind.DOUBLED_ROW).ranges == ((170, 171),)
    assert only(verdict, Kind.LOST_ROW).ranges == ((171, 172),)


def test_a_row_that_no_commit_counts_is_named(world: DeltaWorld) -> None:
    """A row at an offset outside every span was not landed by us; and the file says who has written it."""
    proved_table(world)
    row = DeltaTable(world.path).to_pyarrow_table(filters=[("_partition", "=", 1), ("_offset", "=", 170)])
    strange = row.set_column(row.column_names.index("_offset"), "_offset", pa.array([999], pa.int64()))
    write_deltalake(world.path, strange, mode="append")
    phantom = only(verdict := verify_table(world.path), Kind.PHANTOM_ROW)
    assert (phantom.count, phantom.ranges) == (1, ((999, 1000),))
    assert kinds(verdict) == {Kind.PHANTOM_ROW, Kind.FOREIGN_FILE}


def test_a_row_that_is_buried_as_well_is_named(world: DeltaWorld) -> None:
    """One record in two places is a finding even where row and letter counts could be explained."""
    proved_table(world)
    row = DeltaTable(world.path).to_pyarrow_table(filters=[("_partition", "=", 1), ("_offset", "=", 149)])
    twin = row.set_column(row.column_names.index("_offset"), "_offset", pa.array([150], pa.int64()))
    DeltaTable(world.path).delete("_partition = 1 AND _offset = 149")
    write_deltalake(world.path, twin, mode="append")
    verdict = verify_table(world.path)
    assert only(verdict, Kind.ROW_AND_LETTER).ranges == ((150, 151),)


def test_rows_without_coordinates_are_counted_apart(world: DeltaWorld) -> None:
    """Rows that another writer put beside ours are no claim of ours, and no finding."""
    proved_table(world)
    schema = pa.schema(DeltaTable(world.path).schema().to_arrow())
    foreign = pa.Table.from_pylist([{"number": 1}, {"number": 2}], schema=schema)
    write_deltalake(world.path, foreign, mode="append")
    verdict = verify_table(world.path)
    assert verdict.proved, verdict.findings
    assert verdict.foreign_rows == 2


def test_x13_an_edited_record_is_found(world: DeltaWorld) -> None:
    """A commit's record whose counts were made to fit again is still not the record that was written."""
    proved_table(world)
    version = DeltaTable(world.path).version() - 2
    edit_record(world, version, "10,8,0", "11,9,0")
    verdict = verify_table(world.path)
    assert f"version {version}" in only(verdict, Kind.METADATA_CHANGED).sentence
    assert only(verdict, Kind.LOST_ROW).stream == LANE


def test_a_record_that_is_no_json_is_found(world: DeltaWorld) -> None:
    """Garbage in a commit's record is a finding and a hole, not a crash."""
    proved_table(world)
    edit_record(world, DeltaTable(world.path).version() - 2, "{", "<")
    verdict = verify_table(world.path)
    assert Kind.METADATA_CHANGED in kinds(verdict)
    hole = only(verdict, Kind.HOLE)
    assert (hole.stream, hole.ranges) == (LANE, ((10, 25),))


def test_a_position_that_was_moved_by_hand_is_found(world: DeltaWorld) -> None:
    """The table's position must be where the last span ends."""
    sink = proved_table(world)
    log = Path(world.path) / "_delta_log"
    newest = max(log.glob("*.json"))
    newest.write_text(newest.read_text().replace('"version":40', '"version":44'))
    sink.close()
    mismatch = only(verify_table(world.path), Kind.POSITION_MISMATCH)
    assert (mismatch.stream, mismatch.ranges) == (LANE, ((40, 44),))


def test_a_missing_letter_is_named(world: DeltaWorld) -> None:
    """A dead letter that a commit counts and nobody finds is named by its offset."""
    proved_table(world)
    DeltaTable(letters_path(world.path)).delete("offset = 150")
    missing = only(verdict := verify_table(world.path), Kind.LETTER_MISSING)
    assert (missing.stream, missing.count, missing.ranges) == (OTHER, 1, ((150, 151),))
    assert kinds(verdict) == {Kind.LETTER_MISSING}


def test_letters_ahead_of_the_position_are_pending(world: DeltaWorld) -> None:
    """A letter is durable before its commit: one beyond the position is no finding, one that commits have passed is."""
    proved_table(world)
    bury(world, letter(LANE, 41), letter(LANE, 42), letter(OTHER, 50))
    verdict = verify_table(world.path)
    assert verdict.pending == 2
    assert only(verdict, Kind.LETTER_PHANTOM).ranges == ((50, 51),)


def test_two_incarnations_of_a_topic_may_share_coordinates(world: DeltaWorld) -> None:
    """A topic that was created again begins at offset 0 again; its rows are not doubles, and a real double still is one."""
    proved_table(world)
    again = stream(0, incarnation="topic-id-2")
    sink = world.sink(accept_topic_ids=frozenset({"topic-id-2"}))
    land(sink, made(again, range(8), 8, first=True))
    assert verify_table(world.path).proved
    row = DeltaTable(world.path).to_pyarrow_table(filters=[("_partition", "=", 0), ("_offset", "=", 5)]).slice(0, 1)
    write_deltalake(world.path, row, mode="append")
    doubled = only(verify_table(world.path), Kind.DOUBLED_ROW)
    assert doubled.ranges == ((5, 6),)
    assert "2 incarnations" in doubled.sentence


@pytest.mark.museum(25)
def test_s10_any_flipped_bit_in_the_values_is_found(world: DeltaWorld) -> None:
    """A flipped bit inside a page is found by its checksum, with the column and the offsets that the row group holds."""
    proved_table(world)
    (path,) = files_with(world, 15)
    file = Path(world.path) / path
    column = pq.ParquetFile(file).metadata.row_group(0).column(1)
    assert column.path_in_schema == "text"
    start = column.dictionary_page_offset or column.data_page_offset
    whole = file.read_bytes()
    # The last byte of the column chunk lies in a page's values, not in its header.
    place = start + column.total_compressed_size - 1
    file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    corrupt = only(verdict := verify_table(world.path), Kind.FILE_CORRUPT)
    assert corrupt.file == path
    assert corrupt.sentence == "the values of text do not match their checksum in rows of events[0]"
    assert corrupt.ranges == ((10, 12), (14, 20))
    assert kinds(verdict) == {Kind.FILE_CORRUPT}
    assert verify_table(world.path, depth=Depth.COORDINATES).proved


def test_no_flipped_byte_goes_unseen(world: DeltaWorld) -> None:
    """Bytes flipped anywhere in a file are found, also where no reader needs them."""
    proved_table(world)
    (path,) = files_with(world, 15)
    file = Path(world.path) / path
    whole = file.read_bytes()
    for place in random.Random(3).sample(range(len(whole)), 60):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        assert {finding.file for finding in verify_table(world.path).findings} >= {path}, place
    file.write_bytes(whole)
    assert verify_table(world.path).proved


def test_memory_is_bounded_by_a_second_look(world: DeltaWorld) -> None:
    """Where half-seen spans would take too much memory they are looked at again, with the same verdict."""
    proved_table(world)
    row = DeltaTable(world.path).to_pyarrow_table(filters=[("_partition", "=", 1), ("_offset", "=", 170)])
    DeltaTable(world.path).delete("_partition = 1 AND _offset = 171")
    write_deltalake(world.path, row, mode="append")
    full, bounded = verify_table(world.path), verify_table(world.path, held_bytes_max=0)
    assert set(bounded.findings) == set(full.findings)


def test_a_proof_reports_progress_and_size(world: DeltaWorld) -> None:
    """Progress is heard per file and sums up to all rows."""
    proved_table(world)
    heard: list[int] = []
    verdict = verify_table(world.path, progress=heard.append)
    assert sum(heard) == verdict.rows
    assert verdict.files == len(active_files(DeltaTable(world.path))) == len(heard)


def test_a_file_cut_short_is_named(world: DeltaWorld) -> None:
    """A truncated file is corrupt by its size and by its footer, and its rows are named as lost."""
    proved_table(world)
    (path,) = files_with(world, 200, OTHER)
    file = Path(world.path) / path
    file.write_bytes(file.read_bytes()[:-20])
    verdict = verify_table(world.path)
    assert [finding.file for finding in verdict.findings if finding.kind is Kind.FILE_CORRUPT] == [path, path]
    assert only(verdict, Kind.LOST_ROW).ranges == ((160, 260),)


def test_a_file_put_in_place_of_another_is_named(world: DeltaWorld) -> None:
    """A sound file with other rows than the log says is no substitute."""
    proved_table(world)
    (path,) = files_with(world, 200, OTHER)
    rows = pq.read_table(Path(world.path) / path)
    pq.write_table(rows.slice(0, 90), Path(world.path) / path)
    verdict = verify_table(world.path)
    assert only(verdict, Kind.FILE_COUNT_MISMATCH).count == 10
    assert only(verdict, Kind.LOST_ROW).ranges == ((250, 260),)


def test_a_row_at_an_offset_that_was_skipped_is_a_phantom(world: DeltaWorld) -> None:
    """More rows in a span than its commit counts are found even where each offset comes once."""
    proved_table(world)
    row = DeltaTable(world.path).to_pyarrow_table(filters=[("_partition", "=", 0), ("_offset", "=", 11)])
    strange = row.set_column(row.column_names.index("_offset"), "_offset", pa.array([12], pa.int64()))
    write_deltalake(world.path, strange, mode="append")
    phantom = only(verify_table(world.path), Kind.PHANTOM_ROW)
    assert (phantom.stream, phantom.ranges, phantom.count) == (LANE, ((10, 25),), 1)


def test_a_letter_that_was_copied_is_named(world: DeltaWorld) -> None:
    """One record buried twice is a finding; so is a letter at an offset of a span that counts none there."""
    proved_table(world)
    letters = letters_path(world.path)
    twin = DeltaTable(letters).to_pyarrow_table(filters=[("offset", "=", 150)])
    write_deltalake(letters, twin, mode="append")
    assert only(verify_table(world.path), Kind.LETTER_DOUBLED).ranges == ((150, 151),)
    moved = twin.set_column(twin.column_names.index("offset"), twin.schema.field("offset"), pa.array([270], pa.int64()))
    write_deltalake(letters, moved, mode="append")
    phantom = only(verify_table(world.path), Kind.LETTER_PHANTOM)
    assert (phantom.stream, phantom.ranges, phantom.count) == (OTHER, ((260, 300),), 1)


def test_damage_beyond_measure_is_still_counted(world: DeltaWorld) -> None:
    """Where too much is wrong to name each offset, each span still says how many rows it lacks."""
    proved_table(world)
    for path in (file.path for file in active_files(DeltaTable(world.path))):
        (Path(world.path) / path).unlink()
    lost = [finding for finding in verify_table(world.path, close_up_rows_max=20).findings if finding.kind is Kind.LOST_ROW]
    assert sum(finding.count for finding in lost) == 179
    assert any("too much is wrong" in finding.sentence for finding in lost)


def test_a_table_partitioned_by_coordinates_is_proved(world: DeltaWorld) -> None:
    """Coordinates that lie in the log instead of the files count just the same."""
    world.settings = replace(world.settings, partition_by=("_partition",))
    proved_table(world)
    verdict = verify_table(world.path)
    assert verdict.proved, verdict.findings
    assert verdict.rows == 179


def test_counts_that_do_not_add_up_and_a_lost_beginning_are_found() -> None:
    """A span whose counts break the equation, and a stream whose first span is not its beginning."""
    broken = Span(LANE, 5, 10, 5, 3, 1, {"tombstone": 2}, "")
    found = tiling(LANE, [broken], 10)
    assert [(finding.kind, finding.ranges) for finding in found] == [(Kind.HOLE, ((0, 5),)), (Kind.EQUATION_BROKEN, ((5, 10),))]
    assert [finding.kind for finding in tiling(LANE, [Span(LANE, 0, 5, 0, 0, 0, {}, "", first=True)], None)] == [Kind.POSITION_MISMATCH]
