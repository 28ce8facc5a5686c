"""An accountant for system tests: what the broker acknowledged against what lies in the tables, by DuckDB over the raw Parquet files.

It shares no code with Landfast, and none with deltalake: it replays the table's log itself. Where the project's independent oracle lies
beside the checkout, that is asked too, and both must agree.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import duckdb

ORACLE = Path(__file__).resolve().parents[3] / "shared" / "oracle" / "ledger.py"


@dataclass(frozen=True, slots=True)
class Account:
    """What was found; `sound` is the verdict."""

    records: int
    rows: int
    dead: int
    lost: int
    doubled: int
    phantom: int
    misplaced: int
    changed: int

    @property
    def sound(self) -> bool:
        """Every record is in exactly one place, once, where its fate says, unchanged."""
        return not (self.lost or self.doubled or self.phantom or self.misplaced or self.changed)


def active_files(table: Path) -> list[str]:
    """The data files of a Delta table, by replaying its JSON log from the first commit."""
    active: set[str] = set()
    for commit in sorted((table / "_delta_log").glob("*.json")):
        for line in commit.read_text().splitlines():
            action = json.loads(line)
            if "add" in action:
                active.add(unquote(action["add"]["path"]))
            if "remove" in action:
                active.discard(unquote(action["remove"]["path"]))
    return [str(table / path) for path in sorted(active)]


def account(truth: Path, tables: Sequence[Path], dead: Sequence[Path]) -> Account:
    """Compare the truth (one JSON line per acknowledged record: topic, partition, offset, sha, fate) with the tables."""
    with duckdb.connect() as books:
        columns = "{topic: 'VARCHAR', partition: 'INTEGER', \"offset\": 'BIGINT', sha: 'VARCHAR', fate: 'VARCHAR'}"
        books.execute(f"create table truth as select * from read_json('{truth}', format = 'newline_delimited', columns = {columns})")
        books.execute('create table landed (topic varchar, partition integer, "offset" bigint)')
        books.execute('create table buried (topic varchar, partition integer, "offset" bigint, sha varchar)')
        for files in filter(None, (active_files(table) for table in tables)):
            books.execute("insert into landed select _topic, _partition, _offset from read_parquet(?, union_by_name = true)", [files])
        for files in filter(None, (active_files(table) for table in dead if table.exists())):
            books.execute('insert into buried select topic, partition, "offset", sha256(value) from read_parquet(?)', [files])
        books.execute(
            """create table places as
            select topic, partition, "offset", sum(landed) as landed, sum(buried) as buried, any_value(sha) as sha from (
                select topic, partition, "offset", 1 as landed, 0 as buried, null as sha from landed
                union all select topic, partition, "offset", 0, 1, sha from buried) group by all"""
        )
        joined = 'truth t left join places p using (topic, partition, "offset")'

        def count(query: str) -> int:
            found = books.execute(query).fetchone()
            assert found is not None
            return int(found[0])

        return Account(
            records=count("select count(*) from truth"),
            rows=count("select count(*) from landed"),
            dead=count("select count(*) from buried"),
            lost=count(f"select count(*) from {joined} where p.landed is null and t.fate in ('row', 'dead')"),
            doubled=count("select count(*) from places where landed + buried > 1"),
            phantom=count('select count(*) from places anti join truth using (topic, partition, "offset")'),
            misplaced=count(
                f"select count(*) from {joined} where (t.fate = 'row' and p.buried > 0) or (t.fate = 'dead' and p.landed > 0) "
                "or (t.fate = 'skip' and p.landed + p.buried > 0)"
            ),
            changed=count(f"select count(*) from {joined} where p.buried > 0 and p.sha is distinct from t.sha"),
        )


def settle(truth: Path, table: Path) -> Account:
    """The account of one table and its dead letters, which must be sound; the oracle, where there is one, must say the same."""
    letters = table.with_name(f"{table.name}__dead_letters")
    found = account(truth, [table], [letters])
    assert found.sound, found
    if ORACLE.exists():
        command = [sys.executable, str(ORACLE), "--truth", str(truth), "--table", str(table), "--dead", str(letters), "--json"]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stdout[-2000:] + told.stderr[-2000:]
        verdict = json.loads(told.stdout)
        assert (verdict["rows"], verdict["dead"]) == (found.rows, found.dead)
    return found
