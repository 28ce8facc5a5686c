"""A table as a torture leaves it, made by hand: plain Parquet, plain JSON, and a ledger, to be damaged on purpose."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from landfast.cli.torture.buckets import Buckets
from landfast.cli.torture.judge import Case, Count, judge, label_of
from landfast.cli.torture.landed import root
from landfast.cli.torture.records import Fate, Lane, fate_of, value_of

SEED = 11
LANES = (Lane("t", 0, 1.0), Lane("t", 1, 1.0))
_SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("n", pa.int64()),
        ("ts", pa.timestamp("us", "UTC")),
        ("site", pa.string()),
        ("ratio", pa.float64()),
        ("ok", pa.bool_()),
        ("note", pa.string()),
        ("_topic", pa.string()),
        ("_partition", pa.int32()),
        ("_offset", pa.int64()),
    ]
)
_LETTERS = pa.schema([("topic", pa.string()), ("partition", pa.int32()), ("offset", pa.int64()), ("value", pa.binary())])


@dataclass(frozen=True)
class Sent:
    """A record that was acknowledged."""

    lane: int
    offset: int
    number: int
    aborted: bool = False


@dataclass
class World:
    """What was sent, and what lies in the table: `commits` are lists of rows, in the order of the log."""

    folder: Path
    sent: list[Sent]
    commits: list[list[dict[str, Any]]]
    letters: list[dict[str, Any]]
    compacted: bool = False
    doubtful: set[int] = field(default_factory=set)

    def judged(self) -> Count:
        """What the judge says of it."""
        ledger = Buckets(self.folder / "ledger", "load")
        for index in range(len(LANES)):
            sent = [one for one in self.sent if one.lane == index]
            labels = [label_of(one.number, aborted=one.aborted) for one in sent]
            ledger.add(index, array("q", [one.offset for one in sent]), array("q", labels))
        ledger.flush()
        table = self.folder / "table"
        _table(table, [(rows, _SCHEMA) for rows in self.commits], compacted=self.compacted)
        _table(table.with_name("table__dead_letters"), [(self.letters, _LETTERS)])
        return judge(self.case, self.folder / "scratch")

    @property
    def case(self) -> Case:
        """What there is to judge, once it lies there."""
        table, letters = root(str(self.folder / "table"), {}), root(str(self.folder / "table__dead_letters"), {})
        return Case(self.folder / "ledger", table, letters, LANES, SEED, frozenset(self.doubtful))


def world(folder: Path, records: int = 2000) -> World:
    """Everything in its place: two partitions, every tenth record of an aborted transaction, four commits."""
    sent = [Sent(number % 2, number // 2 * 2 + 7, number, aborted=number % 10 == 3) for number in range(1, records)]
    kept = [one for one in sent if not one.aborted]
    rows = [row(one) for one in kept if fate_of(one.number) is Fate.ROW]
    quarter = len(rows) // 4 + 1
    commits = [rows[start : start + quarter] for start in range(0, len(rows), quarter)]
    return World(folder, sent, commits, [letter(one) for one in kept if fate_of(one.number) is Fate.DEAD])


def row(one: Sent) -> dict[str, Any]:
    """The row that a record becomes."""
    body = json.loads(value_of(one.number, SEED) or b"{}")
    body["ts"] = datetime.fromisoformat(body["ts"])
    lane = LANES[one.lane]
    return {"note": None, **body, "_topic": lane.topic, "_partition": lane.partition, "_offset": one.offset}


def letter(one: Sent) -> dict[str, Any]:
    """The dead letter that a record becomes."""
    lane = LANES[one.lane]
    return {"topic": lane.topic, "partition": lane.partition, "offset": one.offset, "value": value_of(one.number, SEED)}


def _table(path: Path, commits: Sequence[tuple[list[dict[str, Any]], pa.Schema]], *, compacted: bool = False) -> None:
    log = path / "_delta_log"
    log.mkdir(parents=True)
    _entry(log, 0, [{"metaData": {}}])
    for version, (rows, schema) in enumerate(commits, 1):
        pq.write_table(pa.Table.from_pylist(rows, schema), path / f"part {version}.parquet")
        _entry(log, version, [{"commitInfo": {}}, {"add": {"path": f"part%20{version}.parquet", "dataChange": True}}])
    if compacted:
        every = [row for rows, _ in commits for row in rows]
        pq.write_table(pa.Table.from_pylist(every, commits[0][1]), path / "joined.parquet")
        gone = [{"remove": {"path": f"part%20{version}.parquet", "dataChange": False}} for version in range(1, len(commits) + 1)]
        _entry(log, len(commits) + 1, [*gone, {"add": {"path": "joined.parquet", "dataChange": False}}])


def _entry(log: Path, version: int, actions: Iterable[dict[str, Any]]) -> None:
    (log / f"{version:020d}.json").write_text("\n".join(json.dumps(action) for action in actions))
