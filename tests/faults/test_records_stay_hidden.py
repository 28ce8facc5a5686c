"""What records hold shows in the table, in the dead letters and where somebody asks for a letter: nowhere else."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from landfast.cli.init import document
from landfast.decode.json_rules import REASONS
from landfast.decode.proposal import survey
from landfast.testing.kafka import EmbeddedKafka
from landfast.testing.kafka_records import Record, produce
from landfast.testing.local_ports import free_ports
from tests.cli.command import Running, landfast, pipeline_file
from tests.cli.table import ask
from tests.faults.canaries import found_in, plain_canary

pytestmark = pytest.mark.long

TOPIC = "personal"
COLUMNS = {
    "id": "int64 not null",
    "name": "string",
    "bin": "binary",
    "day": "date",
    "dec": "decimal(5,2)",
    "at": "timestamp",
    "single": "float32",
}
C = plain_canary(500).encode()
BAD: Mapping[str, bytes | None] = {
    "bad_base64": b'{"id":1,"bin":"%s!"}' % C,
    "bad_date": b'{"id":1,"day":"%s"}' % C,
    "bad_decimal": b'{"id":1,"dec":"%s"}' % C,
    "bad_timestamp": b'{"id":1,"at":"%s"}' % C,
    "bad_utf8": b'{"id":1,"name":"%s\xff"}' % C,
    "duplicate_key": b'{"id":1,"name":"%s","name":"%s"}' % (C, C),
    "empty_value": b"",
    "inexact": b'{"id":1,"name":"%s","single":16777217}' % C,
    "lone_surrogate": b'{"id":1,"name":"%s\\ud800"}' % C,
    "missing_field": b'{"name":"%s"}' % C,
    "not_an_object": b'["%s"]' % C,
    "not_finite": b'{"id":1,"name":"%s","single":NaN}' % C,
    "not_json": b'{"id":1,"name":"%s"' % C,
    "null_field": b'{"id":null,"name":"%s"}' % C,
    "out_of_range": b'{"id":99999999999999999999,"name":"%s"}' % C,
    "too_deep": b'{"id":1,"name":' + b"[" * 100 + b'"%s"' % C + b"]" * 100 + b"}",
    "too_large": b'{"id":1,"name":"%s"}' % (C * 500),
    "tombstone": None,
    # A name that looks like a name is shown, as that of a column would be; one that does not may be data, and is not.
    "unknown_field": b'{"id":1,"%s %s":"%s"}' % (C, C, C),
    "wrong_type": b'{"id":"%s"}' % C,
}
HEADERS = ((plain_canary(501), C), ("trace", None))
GOOD = 50


@dataclass(frozen=True)
class Landed:
    """A pipeline that has landed such records, and everything that it said on the way."""

    file: Path
    said: str


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Landed:
    """Good records and one bad one for each reason, all with canaries; a worker with a log in JSON, then one with a log in words."""
    folder = tmp_path_factory.mktemp("personal")
    with EmbeddedKafka() as kafka:
        _produce(kafka.servers, 0)
        file = pipeline_file(
            folder,
            kafka.servers,
            TOPIC,
            source={"topic_ids": "ignored", "options": {"debug": "all"}},
            decode={"columns": COLUMNS, "tombstones": "dead", "unknown_fields": "dead", "record_bytes_max": "4 KiB"},
            dead_letters={"max_share": 1.0},
            batch={"seconds": 0.5},
        )
        (port,) = free_ports(1)
        with Running("run", file, "--json", "--metrics", port) as worker:
            worker.wait_until_read(port, GOOD + len(BAD))
            pages = [_page(port, name) for name in ("metrics", "health", "ready")]
            worker.signal(signal.SIGTERM)
            first = worker.ended()
        _produce(kafka.servers, GOOD)
        second = landfast("run", file, "--until-end")
        assert (first.code, second.code) == (0, 0), first.err + second.err
        looks = [ask(*words, file, *more) for words in LOOKS for more in ((), ("--json",))]
    # Names of fields are what a proposal is about.
    values = [value for reason, value in BAD.items() if value is not None and reason != "unknown_field"]
    proposed = document(
        {"name": "x", "source": {"topics": [TOPIC], "servers": "x", "options": {}}, "sink": {"path": "x"}}, survey(values), 9
    )
    said = [*pages, proposed, *(text for ended in (first, second, *looks) for text in (ended.out, ended.err))]
    return Landed(file, "\n".join(said))


LOOKS = (("check",), ("status",), ("verify",), ("verify", "--source"), ("runs",), ("dead-letters", "list"))


def _produce(servers: str, first: int) -> None:
    good = (b'{"id":%d,"name":"%s"}' % (number, C) for number in range(first, first + GOOD))
    produce(servers, [Record(TOPIC, value, 0, key=C, headers=HEADERS) for value in (*good, *BAD.values())])


def _page(port: int, name: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=10) as answer:
        return answer.read().decode()


def test_x11_no_output_shows_what_a_record_holds(landed: Landed) -> None:
    """Logs in words and in JSON with the client's debugging on, metrics, health, every command, and a proposal of columns."""
    assert landed.said.count("landfast_records_read_total") > 0
    assert found_in(landed.said) == []


def test_x11_every_reason_was_met_and_its_letters_tell_no_value(landed: Landed) -> None:
    """The search above would mean little without a letter for each reason there is."""
    listed = ask("dead-letters", "list", landed.file, "--limit", 100, "--json").data
    assert listed["reasons"] == dict.fromkeys(REASONS, 2) == dict.fromkeys(BAD, 2)
    assert found_in(json.dumps(listed)) == []


def test_x11_a_letter_that_is_asked_for_shows_all(landed: Landed) -> None:
    """That is what it is for; and it proves that the canaries are where they were planted."""
    listed = ask("dead-letters", "list", landed.file, "--reason", "wrong_type", "--json").data
    shown = ask("dead-letters", "show", landed.file, listed["letters"][0]["id"])
    assert found_in(shown.out) == ["cnry500x", "cnry501x"]


def test_x11_no_commit_says_what_a_record_holds(landed: Landed) -> None:
    """The table's log may be read by people who may not read the table: what a commit says of itself holds no value."""
    entries = [path for table in landed.file.parent.glob("lake*") for path in (table / "_delta_log").glob("*.json")]
    infos = [line for path in entries for line in path.read_text().splitlines() if '"commitInfo"' in line or '"txn"' in line]
    assert len(infos) > 4
    assert found_in("\n".join(infos)) == []
