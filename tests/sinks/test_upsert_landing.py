"""An upsert into a real table: one row per key, the newest, whatever came in which batch, with the positions in the same commit."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landfast.audit import Kind
from landfast.errors import Broken, Conflict, Halted, Misconfigured, Rejected
from landfast.sinks.delta import UpsertSettings
from landfast.sinks.delta.log.active import active_files
from landfast.sinks.delta.log.entries import entry
from landfast.sinks.delta.log.record import Effect
from landfast.sinks.delta.proof.verify import verify_table
from tests.sinks.delta_world import NUMBERS, DeltaWorld, stream
from tests.sinks.entity_world import BY_POSITION, BY_TIME, ENTITIES, Event, batch, entities_at, held, newest_of, table_rows

EVENT = st.tuples(st.sampled_from(["a", "b", "c", "A", "x" * 40, "x" * 40 + "y"]), st.integers(0, 3), st.booleans())
STEPS = st.lists(st.tuples(st.integers(0, 1), st.lists(EVENT, min_size=1, max_size=6)), min_size=1, max_size=6)


@pytest.fixture
def entities(tmp_path: Path) -> DeltaWorld:
    """A table with one row per id, by position, that does not exist yet."""
    return entities_at(tmp_path)


def effects(world: DeltaWorld) -> tuple[Effect, ...]:
    """Of the newest commit."""
    found = entry(world.home_files(), DeltaTable(world.path).version())
    assert found is not None
    assert found.record is not None
    return found.record.effects


@pytest.mark.long
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, by_time=st.booleans(), partitioned=st.booleans())
def test_a_table_comes_to_what_a_dictionary_comes_to(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, list[tuple[str, int, bool]]]], by_time: bool, partitioned: bool
) -> None:
    """After each commit, for both orders: of each key the newest record that has landed, deletions among them, and the proof holds."""
    upsert = BY_TIME if by_time else BY_POSITION
    world = entities_at(tmp_path_factory.mktemp("world"), upsert, partition_by=("updated",) if partitioned else ())
    sink = world.sink()
    ends, landed = {0: 0, 1: 0}, list[Event]()
    for partition, drawn in steps:
        events = [Event(partition, ends[partition] + index, *one) for index, one in enumerate(drawn)]
        ends[partition] += len(events)
        sink.commit([sink.stage(batch(events))])
        landed += events
        assert held(world.path) == newest_of(landed, upsert)
    verdict = verify_table(world.path)
    assert (verdict.findings, str(verdict.outcome)) == ((), "proved")
    assert verdict.rows == len(held(world.path))


def test_rows_positions_and_what_became_of_them_are_in_one_commit(entities: DeltaWorld) -> None:
    """The receipt counts what was read, and the commit says of each span what was kept, superseded, older, and what made way."""
    sink = entities.sink()
    sink.commit([sink.stage(batch([Event(0, 0, "a"), Event(0, 1, "b"), Event(0, 2, "a")]))])
    assert effects(entities) == (Effect(2, 1, 0, 0, 0),)
    receipt = sink.commit([sink.stage(batch([Event(0, 3, "b", gone=True), Event(0, 4, "c")], [Event(1, 0, "d")]))])
    assert (receipt.rows, receipt.files, receipt.already) == (3, 2, False)
    assert effects(entities) == (Effect(2, 0, 0, 1, 1), Effect(1, 0, 0, 0, 0))
    assert sink.positions([stream(0), stream(1)]) == {stream(0): 5, stream(1): 1}
    assert held(entities.path) == {"a": ("0/2", False), "b": ("0/3", True), "c": ("0/4", False), "d": ("1/0", False)}


def test_a_late_older_event_changes_nothing_and_the_position_moves(tmp_path: Path) -> None:
    """Also where nothing in the table changes there is a commit, with the position and no file."""
    world = entities_at(tmp_path, BY_TIME)
    sink = world.sink()
    sink.commit([sink.stage(batch([Event(0, 0, "a", 10), Event(0, 1, "b", 10, gone=True)]))])
    files = DeltaTable(world.path).file_uris()
    receipt = sink.commit([sink.stage(batch([Event(0, 2, "a", 9), Event(0, 3, "b", 9)]))])
    assert (receipt.rows, receipt.files) == (2, 0)
    assert DeltaTable(world.path).file_uris() == files
    assert sink.positions([stream(0)]) == {stream(0): 4}
    assert effects(world) == (Effect(0, 0, 2, 0, 0),)


def test_a_deleted_key_stays_deleted_until_a_newer_event_brings_it_back(tmp_path: Path) -> None:
    """The row that says so stays in the table with its order, for good, so no event is too late to be known as late."""
    world = entities_at(tmp_path, BY_TIME)
    sink = world.sink()
    for offset, (updated, gone, expected) in enumerate([(5, False, False), (8, True, True), (7, False, True), (9, False, False)]):
        sink.commit([sink.stage(batch([Event(0, offset, "a", updated, gone)]))])
        assert [row["_deleted"] for row in table_rows(world.path)] == [expected]


def test_of_two_events_with_the_same_order_the_later_position_wins(tmp_path: Path) -> None:
    """Whichever of the two lands first."""
    world = entities_at(tmp_path, BY_TIME)
    sink = world.sink()
    sink.commit([sink.stage(batch([Event(1, 0, "a", 5)]))])
    sink.commit([sink.stage(batch([Event(0, 0, "a", 5), Event(0, 1, "a", 5)]))])
    assert held(world.path) == {"a": ("1/0", False)}


def test_several_batches_land_in_one_commit_as_one(entities: DeltaWorld) -> None:
    """A row of an earlier batch makes way for one of a later batch of the same commit."""
    sink = entities.sink()
    staged = [sink.stage(batch([Event(0, 0, "a"), Event(0, 1, "b")])), sink.stage(batch([Event(0, 2, "a")]))]
    version = sink.commit(staged).version
    assert held(entities.path) == {"a": ("0/2", False), "b": ("0/1", False)}
    assert effects(entities) == (Effect(1, 1, 0, 0, 0), Effect(1, 0, 0, 0, 0))
    assert version == 1


def test_only_files_that_may_hold_a_key_are_looked_at_and_only_those_that_do_are_written_again(entities: DeltaWorld) -> None:
    """Bounds in the log rule out the rest: a damaged file that cannot hold a key of the batch is not even read."""
    sink = entities.sink()
    for offset, name in enumerate(["a", "m", "z"]):
        sink.commit([sink.stage(batch([Event(0, 2 * offset, f"{name}1"), Event(0, 2 * offset + 1, f"{name}9")]))])
    files = {file.path for file in active_files(DeltaTable(entities.path))}
    holding_m = next(path for path in files if pq.read_table(Path(entities.path) / path)["id"][0].as_py() == "m1")
    (Path(entities.path) / holding_m).write_bytes(b"damaged")
    sink.commit([sink.stage(batch([Event(0, 6, "a5"), Event(0, 7, "z9")]))])
    kept = {file.path for file in active_files(DeltaTable(entities.path))} & files
    assert len(kept) == 2
    assert holding_m in kept


@pytest.mark.parametrize("forged", [True, False], ids=["a sound file of other rows", "no file that can be read"])
def test_a_file_that_was_changed_is_not_vouched_for(entities: DeltaWorld, forged: bool) -> None:
    """Before rows of a file are written again its bytes are compared with their digest: nothing lands on top of a change."""
    sink = entities.sink()
    sink.commit([sink.stage(batch([Event(0, 0, "a"), Event(0, 1, "b")]))])
    target = Path(entities.path) / active_files(DeltaTable(entities.path))[0].path
    rows = pq.read_table(target)
    if forged:
        pq.write_table(rows.set_column(3, "note", pa.array(["forged"] * 2)), target)
    else:
        target.write_bytes(b"no rows")
    with pytest.raises(Broken) as caught:
        sink.commit([sink.stage(batch([Event(0, 2, "a")]))])
    assert caught.value.code == "FILE_CHANGED"
    assert entities.sink("next").positions([stream(0)]) == {stream(0): 2}


def test_null_keys_and_orders_are_refused_by_record(tmp_path: Path) -> None:
    """They become dead letters, with a reason of their own and without a value in the message."""
    sink = entities_at(tmp_path, BY_TIME).sink()
    with pytest.raises(Rejected) as caught:
        sink.stage(batch([Event(0, 0, "a", 1), Event(0, 1, None, 1), Event(0, 2, "b", None), Event(0, 3, None, None)]))
    assert [(one.offset, one.reason) for one in caught.value.refusals] == [(1, "key_null"), (2, "order_null"), (3, "key_null")]


def test_a_batch_for_too_many_partitions_is_not_held(tmp_path: Path) -> None:
    """As where each record is a row: it is said before anything is committed."""
    sink = entities_at(tmp_path, BY_TIME, partition_by=("id",), partitions_per_batch_max=1).sink()
    with pytest.raises(Halted) as caught:
        sink.stage(batch([Event(0, 0, "a"), Event(0, 1, "b")]))
    assert caught.value.code == "PARTITIONS_TOO_MANY"


def test_an_owner_that_was_shut_out_changes_nothing(entities: DeltaWorld) -> None:
    """The fence is that of every landing: the position, and who has taken the stream over."""
    zombie, successor = entities.sink("one"), entities.sink("two")
    zombie.take_over([stream(0)])
    staged = zombie.stage(batch([Event(0, 0, "a")]))
    successor.take_over([stream(0)])
    with pytest.raises(Conflict):
        zombie.commit([staged])
    successor.commit([successor.stage(batch([Event(0, 0, "a"), Event(0, 1, "a")]))])
    with pytest.raises(Conflict):
        zombie.commit([staged])
    assert held(entities.path) == {"a": ("0/1", False)}


def test_rows_of_another_writer_give_way_and_stay_anothers_where_they_stay(tmp_path: Path) -> None:
    """A table that was there before is taken on: what it holds is older than any record, and is not vouched for afterwards either."""
    world = entities_at(tmp_path)
    columns = pa.schema([*ENTITIES, pa.field("_rescued", pa.string()), pa.field("_deleted", pa.bool_()), *_system()])
    rows = [{"id": "a", "note": "before"}, {"id": "b", "note": "before"}]
    write_deltalake(world.path, pa.Table.from_pylist(rows, schema=columns))
    sink = world.sink()
    sink.commit([sink.stage(batch([Event(0, 0, "a"), Event(0, 1, "c")]))])
    assert {row["id"]: row["note"] for row in table_rows(world.path)} == {"a": "0/0", "b": "before", "c": "0/1"}
    verdict = verify_table(world.path)
    assert (verdict.findings, verdict.rows, verdict.foreign_rows) == ((), 3, 1)


def test_a_file_that_another_tool_wrote_again_is_read_as_the_table_has_it(entities: DeltaWorld) -> None:
    """A `DELETE` of somebody else leaves a file in types of its own that mean the same; rows in it make way all the same."""
    sink = entities.sink()
    sink.commit([sink.stage(batch([Event(0, 0, "a"), Event(0, 1, "b"), Event(0, 2, "c")]))])
    DeltaTable(entities.path).delete("id = 'c'")
    sink.commit([sink.stage(batch([Event(0, 3, "a")]))])
    assert held(entities.path) == {"a": ("0/3", False), "b": ("0/1", False)}
    verdict = verify_table(entities.path)
    assert [(one.kind, one.count) for one in verdict.findings] == [(Kind.LOST_ROW, 1)]
    assert [one.rows for one in verdict.rewritten] == [1]


def _system() -> list[pa.Field]:  # type: ignore[type-arg]  # of any type
    return [
        pa.field("_topic", pa.string()),
        pa.field("_partition", pa.int32()),
        pa.field("_offset", pa.int64()),
        pa.field("_timestamp", pa.timestamp("us", "UTC")),
    ]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (None, "one row per key"),
        (UpsertSettings(("note",), None, "gone"), "the key (id)"),
        (UpsertSettings(("id",), "updated", "gone"), "the order of their positions"),
    ],
)
def test_what_a_table_was_made_for_stays(entities: DeltaWorld, changed: UpsertSettings | None, words: str) -> None:
    """Another mode, key or order is refused before the first read, since rows that made way cannot come back."""
    entities.sink()
    with pytest.raises(Misconfigured) as caught:
        entities.sink(upsert=changed)
    assert caught.value.code == "UPSERT_CHANGED"
    assert words in caught.value.message


def test_a_table_with_a_row_for_each_record_is_not_turned_into_another(world: DeltaWorld) -> None:
    """Its duplicates would stay."""
    world.sink()
    with pytest.raises(Misconfigured) as caught:
        world.sink(upsert=UpsertSettings(("number",)))
    assert caught.value.code == "UPSERT_CHANGED"


@pytest.mark.parametrize(
    ("upsert", "words"),
    [
        (UpsertSettings(("missing",)), "is no column"),
        (UpsertSettings(("_offset",)), "belongs to the system"),
        (UpsertSettings(("number", "number")), "twice"),
        (UpsertSettings(("weight",)), "is double"),
        (UpsertSettings(("parts",)), "is list"),
        (UpsertSettings(("number",), "number"), "the same in all rows"),
        (UpsertSettings(("number",), "missing"), "no column of the data"),
        (UpsertSettings(("number",), "weight"), "is double"),
        (UpsertSettings(("number",), None, "text"), "has to be boolean"),
        (UpsertSettings(("number",), None, "missing"), "no column of the data"),
    ],
)
def test_columns_that_cannot_tell_rows_apart_are_refused_before_a_table_is_made(tmp_path: Path, upsert: UpsertSettings, words: str) -> None:
    """Floats, nested columns, coordinates and names that are none; orders and markers likewise."""
    more = [pa.field("weight", pa.float64()), pa.field("parts", pa.list_(pa.int64()))]
    world = DeltaWorld(str(tmp_path / "table"), pa.schema([*NUMBERS, *more]))
    with pytest.raises(Misconfigured) as caught:
        world.sink(upsert=upsert)
    assert caught.value.code == "KEY_UNUSABLE"
    assert words in caught.value.message
    assert not DeltaTable.is_deltatable(world.path)


@pytest.mark.parametrize("name", ["delta.appendOnly", "delta.enableChangeDataFeed"])
def test_a_table_that_forbids_rows_to_make_way_is_refused(entities: DeltaWorld, name: str) -> None:
    """What somebody relies on is not broken behind his back."""
    entities.sink()
    DeltaTable(entities.path).alter.set_table_properties({name: "true"})
    with pytest.raises(Misconfigured) as caught:
        entities.sink("next")
    assert caught.value.code == "PROTOCOL_UNSUPPORTED"


def test_a_property_that_nobody_can_read_stops_the_start(entities: DeltaWorld) -> None:
    """Nobody guesses what the key of a table is."""
    entities.sink()
    for text in ("no json", json.dumps(["id"])):
        DeltaTable(entities.path).alter.set_table_properties({"landfast.upsert": text}, raise_if_not_exists=False)
        with pytest.raises(Misconfigured) as caught:
            entities.sink("next")
        assert caught.value.code == "UPSERT_CHANGED"
