"""The test broker itself: what tests rely on when they kill, pause and restart it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from landfast.testing.kafka import EmbeddedKafka, RealKafka
from landfast.testing.kafka_records import Record, Truth, admin, create_topic, delete_topic, produce, produce_transactions
from landfast.testing.wait import wait_until

pytestmark = pytest.mark.system


def ends(servers: str, topic: str) -> int:
    """The end of partition 0 as a read-committed reader sees it."""
    from confluent_kafka import IsolationLevel, TopicPartition
    from confluent_kafka.admin import OffsetSpec

    client = admin(servers)
    asked = client.list_offsets({TopicPartition(topic, 0): OffsetSpec.latest()}, isolation_level=IsolationLevel.READ_COMMITTED)
    return next(iter(asked.values())).result(30).offset


def test_acknowledged_records_outlive_a_sigkill_of_the_broker(fragile_kafka: RealKafka) -> None:
    """What the broker acknowledged before SIGKILL is there after a start on the same data, under the same address."""
    broker = fragile_kafka
    create_topic(broker.servers, "kept")
    before = broker.servers
    produce(broker.servers, [Record("kept", b"x") for _ in range(100)])
    broker.kill()
    broker.start()
    assert broker.servers == before
    assert ends(broker.servers, "kept") == 100


def test_nothing_is_left_behind_when_the_owner_is_killed(kafka_cache: Path, tmp_path: Path) -> None:
    """A test process that dies by SIGKILL takes its broker and the broker's folder with it."""
    told = tmp_path / "told"
    code = (
        "import pathlib, signal\n"
        "from landfast.testing.kafka import RealKafka\n"
        f"with RealKafka(cache=pathlib.Path({str(kafka_cache)!r})) as broker:\n"
        f"    pathlib.Path({str(told)!r}).write_text(f'{{broker.pid}} {{broker.folder}}')\n"
        "    signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as owner:
        try:
            wait_until(lambda: owner.poll() is not None or (told.exists() and " " in told.read_text()), 240)
            assert owner.poll() is None, "the owner ended early"
        finally:
            owner.kill()
    pid, folder = told.read_text().split()
    wait_until(lambda: not Path(folder).exists() and not _alive(int(pid)), 60)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def test_the_truth_holds_exactly_what_was_committed(kafka: RealKafka) -> None:
    """Records of an aborted transaction are not in the truth; committed ones are, with offset and digest."""
    create_topic(kafka.servers, "truth")
    truth = Truth()
    produce_transactions(
        kafka.servers,
        [
            (True, [Record("truth", b"kept", 0)]),
            (False, [Record("truth", b"gone", 0)]),
            (True, [Record("truth", None, 0, key=b"k", fate="skip")]),
        ],
        truth=truth,
        identity="truth-producer",
    )
    assert [(record.offset, record.sha is None, record.fate) for record in truth.records] == [(0, False, "row"), (4, True, "skip")]
    delete_topic(kafka.servers, "truth")


def test_the_embedded_broker_takes_records_without_a_jvm() -> None:
    """The mock cluster is there at once and acknowledges records with offsets."""
    with EmbeddedKafka() as broker:
        sent = produce(broker.servers, [Record("demo", b"x", partition=0) for _ in range(10)], options={"enable.idempotence": False})
        assert [record.offset for record in sent] == list(range(10))


def test_topics_of_the_embedded_broker_are_there_before_anybody_writes() -> None:
    """A client that asks for all topics finds those that were made, with their partitions, and no other."""
    with EmbeddedKafka() as broker:
        broker.create_topics(["one", "two"])
        found = admin(broker.servers).list_topics(timeout=10).topics
        assert {name: len(topic.partitions) for name, topic in found.items()} == {"one": 4, "two": 4}
