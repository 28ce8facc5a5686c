"""A table with one row per key from a real topic to the proof, through the command line alone."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from deltalake import DeltaTable

from landfast.sinks.delta import letters_path
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import Record, create_topic, produce
from landfast.testing.wait import wait_until
from tests.cli.command import SECONDS_MAX, Running, landfast, pipeline_file

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


def told(draw: random.Random) -> Record:
    """A record about an entity: an update, a deletion of either kind, or one that nobody can read."""
    entity, kind = draw.randrange(25), draw.random()
    key = json.dumps({"id": entity}).encode()
    if kind < 0.1:
        return Record("killed", None, draw.randrange(2), key)
    if kind < 0.15:
        return Record("killed", b"{", draw.randrange(2), key)
    value = {"id": entity, "name": f"n{draw.randrange(10**9)}", "gone": kind < 0.25}
    return Record("killed", json.dumps(value).encode(), draw.randrange(2), key)


def of_the_topic(servers: str, topic: str, count: int) -> dict[int, tuple[str | None, bool]]:
    """What each entity is by its last record that can be read: read from the topic, with nothing of Landfast."""
    found: dict[int, tuple[tuple[int, int], str | None, bool]] = {}
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "the test", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(2)])
        while count:
            for message in consumer.consume(count, 1.0):
                assert message.error() is None
                count -= 1
                place, value = (int(str(message.partition())), int(str(message.offset()))), message.value()
                try:
                    event = json.loads(value) if value is not None else json.loads(message.key() or b"") | {"name": None, "gone": True}
                except ValueError:
                    continue
                if event["id"] not in found or found[event["id"]][0] < place:
                    found[event["id"]] = (place, event["name"], event["gone"])
    finally:
        consumer.close()
    return {entity: (name, gone) for entity, (_, name, gone) in found.items()}


@pytest.mark.long
def test_a_worker_that_is_killed_again_and_again_leaves_each_entity_as_its_last_record_says(kafka: RealKafka, tmp_path: Path) -> None:
    """SIGKILL at ten random moments while records come in; the dictionary is made of the topic itself, and the log agrees."""
    create_topic(kafka.servers, "killed", 2)
    draw, table, sent = random.Random(5), tmp_path / "lake", 0

    def worker(number: int) -> Path:
        # Each in a group of its own: nobody waits for a worker that is gone, and the table alone says who owns what.
        folder = tmp_path / f"worker-{number}"
        folder.mkdir()
        return pipeline_file(
            folder,
            kafka.servers,
            "killed",
            source={"group": f"killed-{number}"},
            decode={"columns": COLUMNS, "tombstones": "delete"},
            sink={"path": str(table), "mode": "upsert", "key": ["id"], "delete_when": "gone"},
            batch={"rows": 20, "seconds": 0.02},
            dead_letters={"max_share": 1.0},
        )

    def version() -> int:
        return DeltaTable(str(table)).version() if DeltaTable.is_deltatable(str(table)) else -1

    for kill in range(10):
        produce(kafka.servers, [told(draw) for _ in range(120)])
        sent += 120
        goal = version() + draw.randrange(1, 6)
        with Running("run", worker(kill)) as running:
            wait_until(lambda goal=goal: version() >= goal, SECONDS_MAX, tick_seconds=0.002)
            running.signal(signal.SIGKILL)
            assert running.ended().code == -signal.SIGKILL
    last = worker(10)
    assert landfast("run", last, "--until-end").code == 0
    assert entities(table) == of_the_topic(kafka.servers, "killed", sent)
    proof = landfast("verify", last, "--source", "--json").report
    assert (proof["outcome"], proof["totals"]["read"]) == ("proved", sent)
