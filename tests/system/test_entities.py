"""A table with one row per key from a real topic to the proof, through the command line alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from landfast.sinks.delta import letters_path
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import Record, create_topic, produce
from tests.cli.command import landfast, pipeline_file

pytestmark = pytest.mark.system

COLUMNS = {"id": "int64", "name": "string", "gone": "boolean"}


def entities(path: Path) -> dict[int, tuple[str | None, bool]]:
    """Of each id the name, and whether it is deleted. No id has two rows."""
    rows: list[dict[str, Any]] = DeltaTable(str(path)).to_pyarrow_table().to_pylist()
    found = {row["id"]: (row["name"], row["_deleted"]) for row in rows}
    assert len(found) == len(rows)
    return found


def test_entities_follow_their_topic(kafka: RealKafka, tmp_path: Path) -> None:
    """Updates, deletions by a marker and by a record without a value, a key that is null, and a second run that goes on."""
    topic = "entities"
    create_topic(kafka.servers, topic, 1)

    def tell(*events: tuple[int | None, str | None, bool] | int) -> None:
        """An event, or the id of an entity that a record without a value deletes."""
        values = [
            Record(topic, None, 0, json.dumps({"id": event}).encode())
            if isinstance(event, int)
            else Record(topic, json.dumps(dict(zip(COLUMNS, event, strict=True))).encode(), 0)
            for event in events
        ]
        produce(kafka.servers, values)

    file = pipeline_file(
        tmp_path,
        kafka.servers,
        topic,
        decode={"columns": COLUMNS, "tombstones": "delete"},
        sink={"path": str(tmp_path / "lake"), "mode": "upsert", "key": ["id"], "delete_when": "gone"},
        dead_letters={"max_share": 1.0},
    )
    assert landfast("check", file).code == 0
    tell((1, "a", False), (2, "b", False), (1, "c", False), (None, "nobody", False), (3, "d", False), 3)
    assert landfast("run", file, "--until-end").code == 0
    assert entities(tmp_path / "lake") == {1: ("c", False), 2: ("b", False), 3: (None, True)}
    tell((2, "e", True), (3, "f", False), (4, "g", False))
    produce(kafka.servers, [Record(topic, None, 0, b"no key")])
    assert landfast("run", file, "--until-end").code == 0
    assert entities(tmp_path / "lake") == {1: ("c", False), 2: ("e", True), 3: ("f", False), 4: ("g", False)}
    reasons = DeltaTable(letters_path(str(tmp_path / "lake"))).to_pyarrow_table(columns=["reason"])
    assert sorted(row["reason"] for row in reasons.to_pylist()) == ["key_null", "tombstone_key"]
    proof = landfast("verify", file, "--source", "--json").report
    assert (proof["outcome"], proof["totals"]["read"], proof["totals"]["dead"]) == ("proved", 10, 2)
    assert proof["one_per_key"] == {"kept": 6, "superseded": 2, "older": 0, "replaced": 2, "rows": 4}
    assert "no key has two rows" in landfast("verify", file).out
