"""One row per claim, as most workers keep it and with Landfast, with dead letters, replays and a history. Usage: worker.py FOLDER."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Consumer
from deltalake import DeltaTable, write_deltalake

from landfast import DeadLetter, LetterFilter, Pipeline, Redrive, ReplayReport
from landfast.testing.kafka import EmbeddedKafka
from landfast.testing.kafka_records import Record, produce

TOPIC = "claims"
CLAIMS = 150
EVENTS = 600
BATCH = 100
FAILS = 2
"""The batch whose write fails by hand, and is tried again at the end."""
OPENED_LATE = ("c-late", EVENTS - 1)
"""A claim of which there is one event, and that cannot be read at first."""

SETTINGS = """\
name = "{name}"
[source]
servers = "{servers}"
topics = ["claims"]
topic_ids = "ignored"      # the embedded broker has none
[decode.columns]
claim = "string not null"
amount = "int64"
closed = "boolean"
[sink]
path = "{name}"
{mode}
[batch]
rows = 100
[dead_letters]
max_share = 1.0
"""
UPSERT = 'mode = "upsert"\nkey = ["claim"]\ndelete_when = "closed"'
State = dict[str, tuple[int, bool]]


def event(number: int) -> dict[str, Any]:
    """An event of a claim: each changes the amount, some close the claim."""
    claim = OPENED_LATE[0] if number == OPENED_LATE[1] else f"c-{number * 7 % CLAIMS}"
    return {"claim": claim, "amount": number, "closed": number % 45 == 0}


def value(number: int) -> bytes:
    """The event as it is sent: of a few the amount is no number, but text with the number in it."""
    told = event(number)
    broken = (number + 1) % 50 == 0
    return json.dumps({**told, "amount": f"EUR {told['amount']}"} if broken else told).encode()


def mended(letter: DeadLetter) -> bytes | None:
    """The letter's value with the number that is meant."""
    if letter.value is None:
        return None
    told = json.loads(letter.value)
    return json.dumps({**told, "amount": int(told["amount"].removeprefix("EUR "))}).encode()


def expected() -> State:
    """What a claim is after its last event: its amount, and whether it is closed."""
    return {told["claim"]: (told["amount"], told["closed"]) for told in map(event, range(EVENTS))}


def without_landfast(servers: str, table: str) -> State:
    """Merge batch by batch, and try a batch that has failed again later: the worker that puts old events over new ones."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "by-hand", "auto.offset.reset": "earliest"})
    consumer.subscribe([TOPIC])
    values: list[bytes] = []
    while len(values) < EVENTS:
        values += [message.value() or b"" for message in consumer.consume(BATCH, 1.0)]
    consumer.close()
    batches = [values[first : first + BATCH] for first in range(0, EVENTS, BATCH)]
    for batch in [*batches[:FAILS], *batches[FAILS + 1 :], batches[FAILS]]:
        newest = {told["claim"]: told for told in map(json.loads, batch) if isinstance(told["amount"], int)}
        merge(table, pa.Table.from_pylist(list(newest.values())))
    return {row["claim"]: (row["amount"], row["closed"]) for row in rows_of(table)}


def merge(table: str, rows: pa.Table) -> None:
    """One row per claim: that of the batch, if it has one."""
    if not DeltaTable.is_deltatable(table):
        write_deltalake(table, rows)
        return
    merger = DeltaTable(table).merge(rows, "t.claim = s.claim", source_alias="s", target_alias="t")
    merger.when_matched_update_all().when_not_matched_insert_all().execute()


def replay(settings: Path) -> ReplayReport:
    """Replay every open letter, mended."""
    return Redrive.from_file(settings).replay(where=LetterFilter(), fix=mended)


def is_proved(settings: Path) -> bool:
    """Whether the table is, and agrees with the log."""
    command = [sys.executable, "-m", "landfast", "verify", "--source", str(settings)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def main(lake: Path) -> int:
    """Show what goes wrong, then what does not. Exits 1 if a claim is not as its last event says."""
    lake.mkdir()
    claims, history = lake / "claims.toml", lake / "history.toml"
    with EmbeddedKafka() as broker:
        claims.write_text(SETTINGS.format(name="claims", servers=broker.servers, mode=UPSERT), encoding="utf-8")
        history.write_text(SETTINGS.format(name="history", servers=broker.servers, mode='mode = "append"'), encoding="utf-8")
        produce(broker.servers, [Record(TOPIC, value(number), 0) for number in range(EVENTS)])
        by_hand = without_landfast(broker.servers, str(lake / "by-hand"))
        wrong = sum(by_hand.get(claim) != state for claim, state in expected().items())
        say(f"merged by hand, one batch tried again later: {wrong} of {len(expected())} claims are not as their last event says")
        for settings in (claims, history):
            report = Pipeline.from_file(settings).run(until_end=True)
            say(f"Landfast, {settings.stem}: {report.totals.read} read, {report.totals.written} written, {report.totals.dead} dead letters")
        first, again = replay(claims), replay(claims)
        older, twice = first.outcomes["older"], sum(again.outcomes.values())
        say(f"dead letters mended and replayed: {first.landed} landed, {older} older; again: {twice}")
        replay(history)
        proved = is_proved(claims) and is_proved(history)
    there = {row["claim"]: (row["amount"], row["_deleted"]) for row in rows_of(str(lake / "claims"))}
    told = sorted(rows_of(str(lake / "history")), key=lambda row: row["_offset"])
    newest = {row["claim"]: (row["amount"], row["closed"]) for row in told}
    say(f"{len(there)} claims, each as its last event says: {there == expected()}; proved: {proved}")
    say(f"{len(told)} events in the history, and the newest of each claim is its row: {newest == there}")
    return 0 if wrong and there == expected() == newest and len(told) == EVENTS and not again.outcomes and proved else 1


def rows_of(table: str) -> list[dict[str, Any]]:
    """Every row of a table."""
    return [row for file in DeltaTable(table).file_uris() for row in pq.read_table(file).to_pylist()]


def say(line: str) -> None:
    """Tell whoever looks on."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit("Give a folder that is not there yet: python worker.py lake")
    sys.exit(main(Path(sys.argv[1])))
