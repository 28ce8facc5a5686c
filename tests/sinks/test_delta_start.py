"""What is found out at the start: each refusal has its code, names the way out, and leaves the table as it was."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from landfast.errors import Broken, LandfastError, Misconfigured
from landfast.events import Notice
from landfast.sinks.delta import DeltaSettings, inspect, probe_place
from landfast.sinks.delta.files.local import Disk, LocalFiles
from landfast.sinks.delta.files.names import log_name
from landfast.sinks.delta.files.paths import folders_above
from landfast.sinks.delta.log.spans import read_spans
from landfast.sinks.delta.log.tail import lost_tail
from landfast.sinks.delta.proof.verify import verify_table
from landfast.sinks.delta.table.place import open_handle
from tests.sinks.delta_world import NUMBERS, DeltaWorld, stream

LANE = stream(0)
CLEAN_UP = "delta.enableExpiredLogCleanup"


def refused(world: DeltaWorld, code: str, **changes: Any) -> LandfastError:
    """The refusal to open the table; the look that changes nothing says the same."""
    is_table = code not in ("LOG_CORRUPT", "NOT_A_TABLE") and DeltaTable.is_deltatable(world.path)
    version = DeltaTable(world.path).version() if is_table else None
    with pytest.raises(LandfastError) as caught:
        world.home(**changes)
    assert caught.value.code == code
    assert caught.value.next_step
    if version is not None:
        assert DeltaTable(world.path).version() == version
    settings = replace(world.settings, path=world.path, **{key: value for key, value in changes.items() if key != "name"})
    seen = inspect(settings, changes.get("name", "numbers"), world.schema)
    assert code in [problem.code for problem in seen.problems]
    return caught.value


def test_a_missing_table_is_created_with_its_columns(world: DeltaWorld) -> None:
    """Data columns, `_rescued`, system columns, and the pipeline's mark are born with the table."""
    home = world.home()
    table = DeltaTable(world.path)
    assert pa.schema(table.schema().to_arrow()).names == ["number", "text", "_rescued", "_topic", "_partition", "_offset", "_timestamp"]
    assert table.metadata().configuration == {
        "landfast.pipeline.numbers": home.pipeline_id,
        CLEAN_UP: "false",
        "delta.logRetentionDuration": "interval 7 days",
    }
    assert world.home().pipeline_id == home.pipeline_id


@pytest.mark.parametrize(("set_before", "afterwards"), [(None, "false"), ("true", "true")])
def test_a_table_that_is_taken_on_keeps_its_log_unless_its_owner_said_otherwise(
    world: DeltaWorld, set_before: str | None, afterwards: str
) -> None:
    """A table that others made gets the mark and, with it, the property that keeps others from cleaning its log up."""
    configuration = {} if set_before is None else {CLEAN_UP: set_before}
    DeltaTable.create(world.path, with_system_columns(*NUMBERS), configuration=configuration)
    home = world.home()
    assert DeltaTable(world.path).metadata().configuration == {"landfast.pipeline.numbers": home.pipeline_id, CLEAN_UP: afterwards}


@pytest.mark.parametrize(("set_before", "afterwards"), [(None, "false"), ("true", "true")])
@pytest.mark.parametrize("meddlings", [0, 6])
def test_a_table_that_an_earlier_version_marked_keeps_its_log_from_the_next_start_on(
    world: DeltaWorld, set_before: str | None, afterwards: str, meddlings: int
) -> None:
    """What earlier versions did not say is said once, whoever commits at the same moment; what the owner has said stands."""
    configuration = marked_before(world, set_before)
    world.opener = meddled_with(meddlings)
    assert world.home().pipeline_id == "an-id"
    assert DeltaTable(world.path).metadata().configuration == {**configuration, CLEAN_UP: afterwards}
    version, world.opener = DeltaTable(world.path).version(), open_handle
    world.home("run-2")
    assert DeltaTable(world.path).version() == version


def test_a_start_does_not_hang_on_what_keeps_the_log(world: DeltaWorld) -> None:
    """Where others change the table at each attempt to say it, the run goes on, and the next start says it."""
    configuration = marked_before(world, None)
    world.opener = meddled_with(1000)
    assert world.home().positions(DeltaTable(world.path), [LANE]) == {LANE: None}
    assert DeltaTable(world.path).metadata().configuration == configuration
    world.opener = open_handle
    world.home("run-2")
    assert DeltaTable(world.path).metadata().configuration[CLEAN_UP] == "false"


def test_a_refused_start_does_not_say_what_keeps_the_log(world: DeltaWorld) -> None:
    """A table that was restored to what an earlier version left is refused as it is, and gets the property once the restore is accepted."""
    configuration = marked_before(world, None)
    sink = world.sink()
    sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))])
    DeltaTable(world.path).restore(0)
    assert DeltaTable(world.path).metadata().configuration == configuration
    refused(world, "LINEAGE_BROKEN")
    world.home(accept_lineage_version=DeltaTable(world.path).version())
    assert DeltaTable(world.path).metadata().configuration[CLEAN_UP] == "false"


def marked_before(world: DeltaWorld, clean_up: str | None) -> dict[str, str]:
    """Make the table as an earlier version left it; returns its properties."""
    configuration = {"landfast.pipeline.numbers": "an-id"} | ({} if clean_up is None else {CLEAN_UP: clean_up})
    DeltaTable.create(world.path, with_system_columns(*NUMBERS), configuration=configuration, raise_if_key_not_exists=False)
    return configuration


def meddled_with(times: int) -> Callable[[DeltaSettings], DeltaTable]:
    """How to open a table that somebody else changes, so many times, right after it was opened."""
    left = iter(range(times))

    def opened(settings: DeltaSettings) -> DeltaTable:
        handle = open_handle(settings)
        if next(left, None) is not None:
            other = open_handle(settings)
            other.create_write_transaction([], "append", other.schema())
        return handle

    return opened


def test_without_columns_there_is_nothing_to_create(world: DeltaWorld) -> None:
    """A missing table and no columns: refused, and no folder is left behind."""
    world.schema = None  # type: ignore[assignment]
    refused(world, "TABLE_MISSING")
    assert not Path(world.path).exists()


def test_looking_and_probing_leave_nothing(world: DeltaWorld) -> None:
    """`check` may look at a path that does not exist yet without making it."""
    settings = replace(world.settings, path=world.path)
    assert inspect(settings, "numbers", NUMBERS).problems == ()
    probe_place(settings)
    assert list(Path(world.path).parent.iterdir()) == []


def test_a_folder_with_other_files_is_not_a_table(world: DeltaWorld) -> None:
    """Nothing is created among files of somebody else."""
    Path(world.path).mkdir()
    (Path(world.path) / "notes.txt").write_text("mine")
    refused(world, "NOT_A_TABLE")
    assert [path.name for path in Path(world.path).iterdir()] == ["notes.txt"]


def test_u3_a_table_of_another_pipeline_is_refused_unless_adopted(world: DeltaWorld) -> None:
    """A second pipeline would land everything again under its own positions; after a rename the positions are taken over."""
    sink = world.sink()
    sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))])
    refused(world, "FOREIGN_PIPELINE", name="renamed")
    refused(world, "FOREIGN_PIPELINE", name="renamed", adopt="a third")
    home = world.home(name="renamed", adopt="numbers")
    assert home.positions(home.open(), [LANE]) == {LANE: 10}
    assert world.home(name="renamed").pipeline_id == home.pipeline_id


@pytest.mark.parametrize("existing", [False, True])
def test_starters_that_meet_agree_on_one_pipeline(world: DeltaWorld, existing: bool) -> None:
    """Many starters at a missing or an unmarked table: one creates or marks it, and all of them know the same id."""
    if existing:
        DeltaTable.create(world.path, with_system_columns(*NUMBERS))
    ids: list[str] = []
    threads = [threading.Thread(target=lambda: ids.append(world.home().pipeline_id)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(ids) == len(threads)
    assert set(ids) == {world.home().pipeline_id}


@pytest.mark.parametrize("damage", ["empty", "cut", "zeros", "holed"])
def test_s8_a_lost_last_entry_is_filled_and_its_records_are_read_again(world: DeltaWorld, damage: str) -> None:
    """A power cut emptied or tore the last entry: the position is the one before it, the operator is told, and landing goes on."""
    sink = world.sink()
    sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))])
    version = sink.commit([sink.stage(world.batch(LANE, 10, 20))]).version
    entry = Path(world.path) / log_name(version)
    left = damaged(entry.read_bytes(), damage)
    entry.write_bytes(left)

    later = world.sink("run-2")
    (told,) = [event for event in world.ears.heard if isinstance(event, Notice)]
    assert told.code == ("TAIL_EMPTY" if damage == "empty" else "TAIL_TORN")
    assert entry.name in told.message
    kept = entry.with_name(f".{entry.name}.torn")
    assert kept.exists() == (damage != "empty")
    assert damage == "empty" or kept.read_bytes() == left
    assert later.positions([LANE]) == {LANE: 10}
    later.commit([later.stage(world.batch(LANE, 10, 20))])
    assert world.landed() == [("events", 0, offset) for offset in range(20)]
    assert DeltaTable(world.path).version() == version + 1
    assert verify_table(world.path).proved


@pytest.mark.parametrize("damage", ["garbled", "a line short", "hollow", "first", "a line of the first"])
def test_s9_a_damaged_log_is_refused_and_left_alone(world: DeltaWorld, damage: str) -> None:
    """Damage that no power cut does, an empty entry that was built upon, a first entry that is lost: the run stops and names the file."""
    sink = world.sink()
    sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))])
    version = sink.commit([sink.stage(world.batch(LANE, 10, 20))]).version
    if "first" in damage:
        for number in range(1, version + 1):
            (Path(world.path) / log_name(number)).unlink()
    entry = Path(world.path) / log_name({"hollow": version - 1, "first": 0, "a line of the first": 0}.get(damage, version))
    left = damaged(entry.read_bytes(), damage)
    entry.write_bytes(left)
    error = refused(world, "LOG_CORRUPT")
    assert isinstance(error, Broken)
    assert entry.name in error.message
    assert world.path in error.message
    assert entry.read_bytes() == left


def damaged(content: bytes, damage: str) -> bytes:
    """A log entry with something wrong."""
    half = len(content) // 2
    return {
        "cut": content[:half],
        "zeros": bytes(len(content)),
        "holed": bytes(half) + content[half:],
        "garbled": content[:1] + b"?" + content[2:],
        "a line short": content.rstrip().rpartition(b"\n")[0],
        "a line of the first": content.splitlines()[0],
    }.get(damage, b"")


def with_system_columns(*fields: pa.Field[Any]) -> pa.Schema:
    """A schema that has what every table needs, and these."""
    system = [pa.field("_rescued", pa.string()), pa.field("_topic", pa.string()), pa.field("_partition", pa.int32())]
    system += [pa.field("_offset", pa.int64()), pa.field("_timestamp", pa.timestamp("us", "UTC"))]
    return pa.schema([*fields, *system])


def test_s16_expiring_positions_are_refused(world: DeltaWorld) -> None:
    """A table that forgets transaction versions forgets positions."""
    DeltaTable.create(world.path, with_system_columns(*NUMBERS), configuration={"delta.setTransactionRetentionDuration": "interval 7 days"})
    refused(world, "TXN_RETENTION_UNSAFE")


def test_features_that_an_append_would_break_are_refused(world: DeltaWorld) -> None:
    """CHECK constraints are not enforced on files written by hand; deletion vectors read wrongly."""
    DeltaTable.create(world.path, with_system_columns(*NUMBERS))
    DeltaTable(world.path).alter.add_constraint({"positive": "number >= 0"})
    assert "CHECK" in refused(world, "PROTOCOL_UNSUPPORTED").message


@pytest.mark.parametrize(("number", "text"), [(pa.int32(), pa.string()), (pa.int64(), None)], ids=["another type", "a missing column"])
def test_d6_a_table_of_another_schema_is_refused(world: DeltaWorld, number: pa.DataType, text: pa.DataType | None) -> None:
    """The message names the column."""
    fields: list[pa.Field[Any]] = [pa.field("number", number)] + ([] if text is None else [pa.field("text", text)])
    DeltaTable.create(world.path, with_system_columns(*fields))
    assert ("text" if text is None else "number") in refused(world, "SCHEMA_CONFLICT").message


def test_a_table_without_system_columns_gets_them_only_when_it_may_evolve(world: DeltaWorld) -> None:
    """Somebody else's table is not changed unless the settings say so."""
    write_deltalake(world.path, pa.table({"number": [1], "text": ["a"]}))
    refused(world, "SCHEMA_CONFLICT")
    sink = world.sink(unknown_fields="evolve")
    sink.commit([sink.stage(world.batch(LANE, 0, 3, first=True))])
    assert DeltaTable(world.path).to_pyarrow_table().num_rows == 4


def test_system_columns_cannot_be_data(world: DeltaWorld) -> None:
    """Coordinates are the sink's own; a data column of the same name would be lost."""
    world.schema = pa.schema([*NUMBERS, pa.field("_offset", pa.int64())])
    refused(world, "SCHEMA_CONFLICT")
    DeltaTable.create(world.path, with_system_columns(*NUMBERS))
    refused(world, "SCHEMA_CONFLICT")


@pytest.mark.parametrize("partition_by", [("missing",), ("ratio",)])
def test_partition_columns_that_cannot_be_are_refused(world: DeltaWorld, partition_by: tuple[str, ...]) -> None:
    """A partition column exists, and has a type whose text is exact."""
    world.schema = pa.schema([*NUMBERS, pa.field("ratio", pa.float64())])
    refused(world, "SCHEMA_CONFLICT", partition_by=partition_by)
    assert not Path(world.path).exists()


def test_s13_u11_a_restore_before_the_start_is_refused_until_accepted(world: DeltaWorld) -> None:
    """Rows went back while the positions stayed; the operator may accept the version, knowingly."""
    sink = world.sink()
    sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))])
    sink.commit([sink.stage(world.batch(LANE, 10, 20))])
    handle = DeltaTable(world.path)
    handle.restore(handle.version() - 1)
    refused(world, "LINEAGE_BROKEN")
    refused(world, "LINEAGE_BROKEN", accept_lineage_version=DeltaTable(world.path).version() - 1)
    assert world.sink("run-2", accept_lineage_version=DeltaTable(world.path).version()).positions([LANE]) == {LANE: 20}


def test_each_way_out_of_a_broken_lineage_leads_out(world: DeltaWorld) -> None:
    """The rows brought back and that restore accepted: nothing is missing. Another path: everything may land again."""
    sink = world.sink()
    sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))])
    sink.commit([sink.stage(world.batch(LANE, 10, 20))])
    whole = DeltaTable(world.path).version()
    DeltaTable(world.path).restore(whole - 1)
    step = refused(world, "LINEAGE_BROKEN").next_step
    assert "pipeline name" not in step
    assert "set another sink.path" in step
    DeltaTable(world.path).restore(whole)
    refused(world, "LINEAGE_BROKEN")
    back = world.sink("run-2", accept_lineage_version=DeltaTable(world.path).version())
    assert back.positions([LANE]) == {LANE: 20}
    assert world.landed() == [("events", 0, offset) for offset in range(20)]
    world.path = f"{world.path}-anew"
    assert world.sink("run-3").positions([LANE]) == {LANE: None}


def test_a_restore_to_before_the_mark_does_not_make_a_new_pipeline(world: DeltaWorld) -> None:
    """A new id would know no position, and everything would land again."""
    DeltaTable.create(world.path, with_system_columns(*NUMBERS))
    sink = world.sink()
    sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))])
    DeltaTable(world.path).restore(0)
    with pytest.raises(Misconfigured) as caught:
        world.home()
    assert caught.value.code == "LINEAGE_BROKEN"
    assert world.sink(accept_lineage_version=99).positions([LANE]) == {LANE: 10}


@pytest.mark.parametrize("there", [False, True], ids=["no folder yet", "an empty folder"])
def test_no_table_is_begun_inside_another(world: DeltaWorld, *, there: bool) -> None:
    """Whoever cleans the outer table up would take the inner one's files. One that is there already is opened as ever."""
    outer, inner = Path(world.path), Path(world.path) / "deep" / "inner"
    world.sink()
    if there:
        inner.mkdir(parents=True)
    world.path = str(inner)
    assert str(outer) in refused(world, "NOT_A_TABLE").message
    world.path = str(outer.with_name("elsewhere"))
    world.sink()
    shutil.copytree(world.path, inner, dirs_exist_ok=True)
    world.path = str(inner)
    assert world.sink().positions([LANE]) == {LANE: None}


@pytest.mark.parametrize(
    ("path", "above"),
    [
        ("/lake/raw/events", ["/lake/raw", "/lake", "/"]),
        ("file:///lake/events", ["/lake", "/"]),
        ("s3://bucket/raw/events/", ["s3://bucket/raw", "s3://bucket"]),
        ("abfss://box@account.dfs.core.windows.net/events", ["abfss://box@account.dfs.core.windows.net"]),
        ("s3://bucket", []),
    ],
)
def test_every_folder_above_a_table_is_known(path: str, above: list[str]) -> None:
    """The nearest first, up to the root of the disk or of the store."""
    assert folders_above(path) == above


def test_a_path_that_cannot_be_written_is_refused(world: DeltaWorld) -> None:
    """The place is tried by writing, before anything is read."""
    world.path = "/proc/landfast/table"
    for look in (world.home, lambda: probe_place(replace(world.settings, path=world.path))):
        with pytest.raises(Misconfigured) as caught:
            look()
        assert caught.value.code == "PREFLIGHT_FAILED"


@pytest.mark.parametrize("below", ["", "/x", "/x/y"])
def test_a_file_in_the_way_is_named(world: DeltaWorld, below: str) -> None:
    """A path at or under a file is refused by whatever looks at it, and the message names the file."""
    file = Path(world.path)
    file.write_text("a file where a folder should be")
    world.path += below
    settings = replace(world.settings, path=world.path)
    error = refused(world, "NOT_A_TABLE")
    assert str(file) in error.message
    for look in (lambda: probe_place(settings), lambda: verify_table(world.path), lambda: read_spans(world.path)):
        with pytest.raises(Misconfigured) as caught:
            look()
        assert caught.value.code == "NOT_A_TABLE"
    assert file.read_text() == "a file where a folder should be"


def test_a_path_without_a_table_is_said_so_by_every_look(world: DeltaWorld) -> None:
    """Whoever asks for a proof or for runs where no table is gets a code and the path; no exception of a driver comes out."""
    for look in (lambda: verify_table(world.path), lambda: read_spans(world.path)):
        with pytest.raises(Misconfigured) as caught:
            look()
        assert caught.value.code == "TABLE_MISSING"
        assert world.path in caught.value.message


def test_a_table_whose_newest_entry_is_empty_is_not_proved(world: DeltaWorld) -> None:
    """What a power cut has emptied is named, not taken for a commit of nothing; after the pipeline's start the proof is given."""
    sink = world.sink()
    sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))])
    entry = Path(world.path) / log_name(DeltaTable(world.path).version())
    entry.write_bytes(b"")
    with pytest.raises(Misconfigured) as caught:
        verify_table(world.path)
    assert caught.value.code == "TAIL_EMPTY"
    assert entry.name in caught.value.message
    sink = world.sink("run-2")
    sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))])
    assert verify_table(world.path).proved


def test_a_table_of_somebody_else_cannot_be_proved(world: DeltaWorld) -> None:
    """Of a table without coordinates nothing is claimed: it is refused with a code."""
    write_deltalake(world.path, pa.table({"id": [1, 2, 3]}))
    with pytest.raises(Misconfigured) as caught:
        verify_table(world.path)
    assert caught.value.code == "FOREIGN_PIPELINE"
    assert "_topic" in caught.value.message
    write_deltalake(world.path, pa.table({"_topic": [1], "_partition": [1], "_offset": [1]}), mode="overwrite", schema_mode="overwrite")
    with pytest.raises(Misconfigured, match="_topic, _partition"):
        verify_table(world.path)


class _LikeAStore(LocalFiles):
    """Files that say they lie in an object store."""

    local = False


def test_an_empty_entry_in_an_object_store_is_damage(world: DeltaWorld) -> None:
    """A store creates an object whole or not at all: an empty one was put there, and nothing is written over it."""
    world.home()
    files = _LikeAStore(Path(world.path), Disk())
    tip = DeltaTable(world.path).version()
    assert lost_tail(world.path, files) == range(tip + 1, tip + 1)
    (Path(world.path) / log_name(tip + 1)).write_bytes(b"")
    with pytest.raises(Broken, match=f"{tip + 1}.json") as caught:
        lost_tail(world.path, files)
    assert caught.value.code == "LOG_CORRUPT"


@pytest.mark.parametrize(
    ("odd", "code"),
    [
        ('{"commitInfo":"text"}', None),
        ('{"commitInfo":{},"more":[]}', None),
        ('{"commitInfo":{"operation":"WRITE"}}\n{"txn":{"appId":"theirs","version":7}}', None),
        ('{"commitInfo":{"landfast.compaction":"none"}}', "LOG_CORRUPT"),
        ('{"commitInfo":{"landfast.compaction":"{\\"files\\":0,\\"rows\\":1}"}}', "LOG_CORRUPT"),
    ],
)
def test_s9_an_odd_last_entry_ends_in_words(world: DeltaWorld, odd: str, code: str | None) -> None:
    """Others may write what they like into the log: a start takes it for a commit, or names it; it never falls over it."""
    sink = world.sink()
    version = sink.commit([sink.stage(world.batch(LANE, 0, 10, first=True))]).version
    (Path(world.path) / log_name(version + 1)).write_text(odd)
    if code is not None:
        refused(world, code)
        return
    later = world.sink("run-2")
    later.commit([later.stage(world.batch(LANE, 10, 20))])
    assert world.landed() == [("events", 0, offset) for offset in range(20)]
