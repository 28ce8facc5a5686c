"""Topics and records for tests on a broker, with a truth of what the broker acknowledged: one line per record, for an accountant."""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landfast.errors import Unavailable
from landfast.model import Headers
from landfast.testing.wait import wait_until

if TYPE_CHECKING:
    from confluent_kafka import Message, Producer
    from confluent_kafka.admin import AdminClient

_QUIET = {"log_level": 0}
# A kept producer finds a broker again soon after it was restarted.
_KEPT = {**_QUIET, "linger.ms": 5, "reconnect.backoff.max.ms": 200, "topic.metadata.refresh.interval.ms": 1000}


@dataclass(frozen=True, slots=True)
class Record:
    """One record to produce. `partition` -1 leaves the choice to the client; `timestamp` 0 takes the present.

    `fate` is what is expected of it (row, dead, skip or any), `id` the value expected in the landed row; both go to the truth only.
    """

    topic: str
    value: bytes | None
    partition: int = -1
    key: bytes | None = None
    headers: Headers = ()
    timestamp: int = 0
    fate: str = "row"
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A record that the broker has, and where."""

    topic: str
    partition: int
    offset: int
    sha: str | None
    fate: str
    id: str | None = None

    def line(self) -> str:
        """As a line of truth.jsonl."""
        known = {"topic": self.topic, "partition": self.partition, "offset": self.offset, "sha": self.sha, "fate": self.fate}
        return json.dumps(known if self.id is None else known | {"id": self.id})


@dataclass(slots=True)
class Truth:
    """What the broker acknowledged, kept in memory; safe to add to from several threads."""

    records: list[Acknowledged] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, records: Iterable[Acknowledged]) -> None:
        """Take note of acknowledged records."""
        with self._lock:
            self.records.extend(records)

    def write(self, path: Path) -> None:
        """Write truth.jsonl, in place of what is there."""
        with path.open("w") as out:
            out.writelines(record.line() + "\n" for record in self.records)


def admin(servers: str, options: Mapping[str, str] | None = None) -> AdminClient:
    """An admin client. Keep it referenced until its futures have resolved: a collected one never answers."""
    from confluent_kafka.admin import AdminClient

    return AdminClient({"bootstrap.servers": servers, **_QUIET, **(options or {})})


def create_topic(
    servers: str, topic: str, partitions: int = 1, config: Mapping[str, str] | None = None, wait_seconds_max: float = 30.0
) -> str:
    """Create a topic, wait until it can be written to, and return its topic id as text."""
    from confluent_kafka import TopicCollection
    from confluent_kafka.cimpl import NewTopic

    client = admin(servers)
    client.create_topics([NewTopic(topic, partitions, 1, config=dict(config or {}))])[topic].result(wait_seconds_max)
    _wait_until_led(client, topic, partitions, wait_seconds_max)
    topic_id = str(client.describe_topics(TopicCollection([topic]))[topic].result(wait_seconds_max).topic_id)
    return topic_id.replace("+", "-").replace("/", "_").rstrip("=")  # As Kafka's own tools print it.


def _wait_until_led(client: AdminClient, topic: str, partitions: int, wait_seconds_max: float) -> None:
    """Wait until the broker knows so many partitions, each with a leader: it learns of them a moment after the controller."""

    def led() -> bool:
        found = client.list_topics(topic, timeout=wait_seconds_max).topics[topic]
        return found.error is None and len(found.partitions) == partitions and all(part.leader >= 0 for part in found.partitions.values())

    wait_until(led, wait_seconds_max)


def add_scram_user(servers: str, user: str, password: str, wait_seconds_max: float = 30.0) -> None:
    """Let a user log in by SCRAM-SHA-256."""
    from confluent_kafka import admin as scram

    client = admin(servers)
    credential = scram.ScramCredentialInfo(scram.ScramMechanism.SCRAM_SHA_256, 4096)  # type: ignore[attr-defined] # not in the stubs
    wanted = scram.UserScramCredentialUpsertion(user, credential, password.encode())  # type: ignore[attr-defined] # not in the stubs
    asked = client.alter_user_scram_credentials([wanted])
    asked[user].result(wait_seconds_max)


def delete_topic(servers: str, topic: str, wait_seconds_max: float = 30.0) -> None:
    """Delete a topic and wait until the name is free again."""
    client = admin(servers)
    client.delete_topics([topic])[topic].result(wait_seconds_max)
    wait_until(lambda: topic not in client.list_topics(timeout=wait_seconds_max).topics, wait_seconds_max)


def add_partitions(servers: str, topic: str, total: int, wait_seconds_max: float = 30.0) -> None:
    """Grow a topic to `total` partitions, and wait until they can be written to."""
    from confluent_kafka.cimpl import NewPartitions

    client = admin(servers)
    client.create_partitions([NewPartitions(topic, total)])[topic].result(wait_seconds_max)
    _wait_until_led(client, topic, total, wait_seconds_max)


def delete_records(servers: str, topic: str, partition: int, before: int, wait_seconds_max: float = 30.0) -> None:
    """Remove every record below `before`, as retention does."""
    from confluent_kafka import TopicPartition

    client = admin(servers)
    for done in client.delete_records([TopicPartition(topic, partition, before)]).values():
        done.result(wait_seconds_max)


def produce(
    servers: str,
    records: Iterable[Record],
    *,
    truth: Truth | None = None,
    options: Mapping[str, Any] | None = None,
    flush_seconds_max: float = 120.0,
) -> list[Acknowledged]:
    """Produce records, idempotently, and return what the broker acknowledged, in the order of the acknowledgements.

    Raises:
        Unavailable: a record was refused or not acknowledged in time; what was acknowledged is in `truth`.
    """
    return _send(kept_producer(servers, options), records, truth, flush_seconds_max)


def kept_producer(servers: str, options: Mapping[str, Any] | None = None) -> Producer:
    """An idempotent producer: the same as before, where the options are. Let it look at a topic (`list_topics`) that may have changed.

    A new one waits for half a second before it may send, whatever it is told: it asks for its number before it has a connection.
    """
    return _producer(servers, tuple(sorted((options or {}).items())))


@functools.lru_cache(maxsize=4)
def _producer(servers: str, options: tuple[tuple[str, Any], ...]) -> Producer:
    from confluent_kafka import Producer

    return Producer({"bootstrap.servers": servers, "enable.idempotence": True, **_KEPT, **dict(options)})


@functools.lru_cache(maxsize=4)
def _transactional_producer(servers: str, identity: str, wait_seconds_max: float) -> Producer:
    from confluent_kafka import Producer

    client = Producer({"bootstrap.servers": servers, "transactional.id": identity, **_KEPT})
    client.init_transactions(wait_seconds_max)
    return client


def _let_go() -> None:
    """A producer that has failed may be of no use any more."""
    _producer.cache_clear()
    _transactional_producer.cache_clear()


def produce_transactions(
    servers: str,
    transactions: Sequence[tuple[bool, Sequence[Record]]],
    *,
    truth: Truth | None = None,
    identity: str = "landfast-test-producer",
    wait_seconds_max: float = 60.0,
) -> list[Acknowledged]:
    """Produce each group of records in a transaction of its own, committed where its flag is true and aborted where it is not.

    Returns what was committed, once readers can see where all of it ends: aborted records must never be seen again. Partitions that
    another transaction holds open are not for this.
    """
    client = _transactional_producer(servers, identity, wait_seconds_max)
    committed: list[Acknowledged] = []
    places: set[tuple[str, int]] = set()
    for commits, records in transactions:
        client.begin_transaction()
        sent = _send(client, records, None, wait_seconds_max)
        places.update((record.topic, record.partition) for record in sent)
        if commits:
            client.commit_transaction(wait_seconds_max)
            committed.extend(sent)
        else:
            client.abort_transaction(wait_seconds_max)
    _wait_until_settled(servers, places, wait_seconds_max)
    if truth is not None:
        truth.add(committed)
    return committed


def _wait_until_settled(servers: str, partitions: Collection[tuple[str, int]], wait_seconds_max: float) -> None:
    """Wait until no transaction is open in these partitions: the broker answers the producer before it has written the markers."""
    from confluent_kafka import IsolationLevel, TopicPartition
    from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined] # the stubs forget to export it

    client = admin(servers)
    latest: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    places = {TopicPartition(topic, partition): latest for topic, partition in partitions}

    def ends(level: IsolationLevel) -> dict[tuple[str, int], int]:
        asked = client.list_offsets(places, isolation_level=level)
        return {(place.topic, place.partition): future.result(wait_seconds_max).offset for place, future in asked.items()}

    wait_until(lambda: ends(IsolationLevel.READ_COMMITTED) == ends(IsolationLevel.READ_UNCOMMITTED), wait_seconds_max)


def _send(client: Any, records: Iterable[Record], truth: Truth | None, flush_seconds_max: float) -> list[Acknowledged]:
    acknowledged: list[Acknowledged] = []
    refused: list[str] = []
    known: set[str] = set()
    for record in records:
        if record.topic not in known:
            # It may have been created again, or have grown, since this client saw it.
            client.list_topics(record.topic, timeout=flush_seconds_max)
            known.add(record.topic)

        def delivered(error: object, message: Message, record: Record = record) -> None:
            if error is not None:
                refused.append(str(error))
                return
            sha = None if record.value is None else hashlib.sha256(record.value).hexdigest()
            acknowledged.append(Acknowledged(record.topic, message.partition() or 0, message.offset() or 0, sha, record.fate, record.id))

        given = {"timestamp": record.timestamp} if record.timestamp else {}
        headers = list(record.headers) or None
        while True:
            try:
                client.produce(
                    record.topic, record.value, record.key, **given, partition=record.partition, headers=headers, on_delivery=delivered
                )
            except BufferError:
                client.poll(0.1)
            else:
                break
        client.poll(0)
    left = client.flush(flush_seconds_max)
    if truth is not None:
        truth.add(acknowledged)
    if refused or left:
        _let_go()
        raise Unavailable("SOURCE_DOWN", f"{len(refused)} records were refused and {left} not acknowledged: {refused[:1]}")
    return acknowledged
