"""The proof of a table with one row per key: what it says of a sound one, and that each way to spoil one is found."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from landfast.audit import Kind, Verdict
from landfast.cli.verify import as_lines, as_object
from landfast.model import OnePerKey
from landfast.sinks.delta.files.names import log_name
from landfast.sinks.delta.files.paths import spans_path
from landfast.sinks.delta.log.record import DIGEST_KEY, KEY, from_commit_info, to_metadata
from landfast.sinks.delta.proof import one_per_key
from landfast.sinks.delta.proof.verify import verify_table
from landfast.sinks.delta.upkeep.roll_up import roll_up
from tests.sinks.delta_proof import bury, letter
from tests.sinks.delta_world import DeltaWorld, stream
from tests.sinks.entity_world import BY_TIME, batch, before, entities_at, event_at, table_rows


@pytest.fixture
def sound(tmp_path: Path) -> DeltaWorld:
    """Six commits of two streams, with a letter that is still to be passed."""
    world = entities_at(tmp_path, BY_TIME)
    sink = world.sink()
    for step in range(3):
        for partition in range(2):
            sink.commit([sink.stage(batch([event_at(partition, offset) for offset in range(step * 20, step * 20 + 20)]))])
    bury(world, letter(stream(0), 61))
    return world


def kinds(verdict: Verdict) -> set[Kind]:
    return {finding.kind for finding in verdict.findings}


def rewrite(world: DeltaWorld, version: int, change: Callable[[dict[str, object]], None]) -> None:
    """Change what a commit says of itself, digest and all, as somebody would who knows the form."""
    target = Path(world.path) / log_name(version)
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    info = lines[0]["commitInfo"]
    body = json.loads(info[KEY])
    change(body)
    record = from_commit_info({KEY: json.dumps(body)})
    assert record is not None
    again = to_metadata(record)
    info[KEY], info[DIGEST_KEY] = again[KEY], again[DIGEST_KEY]
    target.write_text("\n".join(map(json.dumps, lines)))


def test_a_sound_table_is_proved_in_its_own_words(sound: DeltaWorld) -> None:
    """The equation of its rows is told, to people and to machines, and the outcome claims that and no more."""
    verdict = verify_table(sound.path)
    found = verdict.one_per_key
    assert verdict.findings == ()
    assert found is not None
    assert found.rows == verdict.rows == len(table_rows(sound.path))
    assert found.kept + found.superseded + found.older == 120
    lines = as_lines("entities", verdict)
    assert lines[-1] == "PROVED: every offset that was read is accounted for once, and no key has two rows"
    assert any(f"= {found.rows} rows" in line for line in lines)
    said = as_object(verdict)["one_per_key"]
    assert OnePerKey(*(said[name] for name in ("kept", "superseded", "older", "replaced"))) == found


def test_the_proof_holds_when_the_log_has_been_rolled_up(sound: DeltaWorld) -> None:
    """What became of the rows goes with the spans into the table beside, also when that is done in turns."""
    before_all = verify_table(sound.path).one_per_key
    handle = DeltaTable(sound.path)
    older = DeltaTable(sound.path, version=3)
    assert roll_up(older, sound.path, {}, 1_700_000_000.0) + roll_up(handle, sound.path, {}, 1_700_000_000.0) == 6
    assert roll_up(handle, sound.path, {}, 1_700_000_000.0) == 0
    assert DeltaTable(spans_path(sound.path)).to_pyarrow_table().column("effect").null_count == 0
    handle.create_checkpoint()
    for version in range(handle.version()):
        (Path(sound.path) / log_name(version)).unlink()
    verdict = verify_table(sound.path)
    assert (verdict.findings, verdict.one_per_key) == ((), before_all)


def test_a_row_that_somebody_deletes_is_missed(sound: DeltaWorld) -> None:
    """Which one nobody can tell, since rows that made way are gone as well; how many are lost is told."""
    DeltaTable(sound.path).delete(f"id = '{table_rows(sound.path)[0]['id']}'")
    verdict = verify_table(sound.path)
    assert [(one.kind, one.count) for one in verdict.findings if one.kind is Kind.LOST_ROW] == [(Kind.LOST_ROW, 1)]


@pytest.mark.parametrize("held_bytes_max", [1 << 28, 500])
def test_a_key_with_two_rows_is_found_however_little_may_be_held(
    sound: DeltaWorld, held_bytes_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody appends a copy of a row: the key is doubled, and there is a row too many."""
    monkeypatch.setattr(one_per_key, "SAMPLES_PER_TABLE", 4)
    rows = DeltaTable(sound.path).to_pyarrow_table()
    write_deltalake(sound.path, rows.slice(3, 2), mode="append")
    verdict = verify_table(sound.path, held_bytes_max=held_bytes_max)
    assert {Kind.KEY_DOUBLED, Kind.PHANTOM_ROW} <= kinds(verdict)
    assert [one.count for one in verdict.findings if one.kind is Kind.KEY_DOUBLED] == [2]


def test_a_letter_for_a_row_that_is_there_is_found(sound: DeltaWorld) -> None:
    """One place for each record, here too; and the commits did not count it as dead."""
    row = next(row for row in table_rows(sound.path) if row["_partition"] == 0)
    bury(sound, letter(stream(0), row["_offset"]))
    assert {Kind.ROW_AND_LETTER, Kind.LETTER_PHANTOM} <= kinds(verify_table(sound.path))


def _says_nothing(body: dict[str, object]) -> None:
    del body["effects"], body["exchanged"]


def _says_more(body: dict[str, object]) -> None:
    body["effects"] = [[1000, 0, 0, 0, 0]]


def _says_less_than_nothing(body: dict[str, object]) -> None:
    body["effects"] = [[-1, 21, 0, 0, 0]]


def _has_kept_none(body: dict[str, object]) -> None:
    body["effects"] = [[0, 20, 0, 0, 0]]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_says_nothing, Kind.EQUATION_BROKEN),
        (_says_more, Kind.EQUATION_BROKEN),
        (_says_less_than_nothing, Kind.EQUATION_BROKEN),
        (_has_kept_none, Kind.PHANTOM_ROW),
    ],
)
def test_a_commit_that_tells_another_story_is_found(sound: DeltaWorld, change: Callable[[dict[str, object]], None], expected: Kind) -> None:
    """Counts that do not add up, or that the rows contradict."""
    rewrite(sound, 5, change)
    assert expected in kinds(verify_table(sound.path))


def test_rows_of_a_span_that_no_commit_tells_of_are_found(sound: DeltaWorld) -> None:
    """As in every table."""
    rewrite(sound, 5, lambda body: body.update(spans=[["other", "topic-id-1", 0, 0, 20, 20, 20, 0, {}, "digest", True]]))
    assert Kind.PHANTOM_ROW in kinds(verify_table(sound.path))


def test_everything_that_was_read_is_in_the_model(sound: DeltaWorld) -> None:
    """The table of these tests is the one that a dictionary comes to."""
    assert len(table_rows(sound.path)) == len({event.id for event in before({0: 60, 1: 60})})


@dataclass(frozen=True)
class Blocks:
    """A scan of so many blocks of a thousand keys, of one tenant or of many."""

    blocks: int
    tenants: int
    key_names = ("tenant", "id")

    def keys(self, _progress: object) -> Iterator[pa.Table]:
        """The keys, a block at a time."""
        for block in range(self.blocks):
            ids = range(1000 * block, 1000 * (block + 1))
            yield pa.table({"tenant": [f"t{one % self.tenants}" for one in ids], "id": ids}, schema=TENANTS)


TENANTS = pa.schema([("tenant", pa.string()), ("id", pa.int64())])


@pytest.mark.parametrize("tenants", [1, 1000])
def test_keys_are_compared_in_parts_whichever_column_tells_them_apart(tenants: int) -> None:
    """What is held of a large table is bounded, also where the first column of the key is the same in every row; and no key is left out."""
    scan = Blocks(100, tenants)
    parts = list(one_per_key._parts(scan, TENANTS, 100_000))  # noqa: SLF001 — what is held is not to be seen from outside
    assert max(part.nbytes for part in parts) < 300_000
    assert sum(part.num_rows for part in parts) == 100_000
