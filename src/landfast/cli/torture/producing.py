"""One producer of a torture's load: it sends records by their numbers, and writes down which the broker acknowledged at which offset."""

from __future__ import annotations

import random
import threading
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from landfast.cli.torture.buckets import Buckets
from landfast.cli.torture.judge import label_of
from landfast.cli.torture.records import Lane, value_of
from landfast.errors import check
from landfast.system import SystemClock

TICK_SECONDS = 0.05
ARREARS_SECONDS_MAX = 0.5
"""What could not be sent in time is made up for as far as this: a load that lagged for longer would come in one wave."""
FLUSH_SECONDS_MAX = 60.0
QUEUE_RECORDS_MAX = 100_000
ABORTED_EVERY = 5
"""Of so many transactions one is aborted, the first of all among them: however short the torture, there is one."""

# Each packs its batches in another way, as the producers of one topic do. Without retries a record is never in the log twice; one that is
# refused may be there once or not at all.
_PRODUCERS: Mapping[str, Mapping[str, str]] = {
    "transactional": {"enable.idempotence": "true", "transaction.timeout.ms": "60000", "compression.type": "zstd"},
    "plain": {"enable.idempotence": "false", "retries": "0", "acks": "all"},
    "idempotent": {"enable.idempotence": "true", "compression.type": "lz4"},
}


@dataclass(frozen=True, slots=True)
class Order:
    """What to produce.

    client           what a client of the brokers is made with, secrets resolved
    identity         the transactional id; empty: the brokers know no transactions
    records_per_second_max, backlog_records_max    no more than this, and per lane no more than this ahead of what has landed
    """

    client: Mapping[str, str]
    lanes: tuple[Lane, ...]
    seed: int
    ledger: str
    identity: str
    records_per_second_max: int
    backlog_records_max: int

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Order:
        """From JSON."""
        return cls(**{**body, "lanes": tuple(Lane(*lane) for lane in body["lanes"])})


@dataclass(slots=True)
class Told:
    """What standard input has said since; written by the thread that listens."""

    landed: dict[int, int] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)


class Numbers:
    """Gives out the numbers of records, each once. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 1

    def take(self, count: int) -> range:
        """The next so many."""
        with self._lock:
            first, self._next = self._next, self._next + count
        return range(first, first + count)


def kinds(order: Order) -> list[str]:
    """The kinds of producers that these brokers have."""
    return [kind for kind in _PRODUCERS if kind != "transactional" or order.identity]


class Producing:
    """A producer, and what was acknowledged to it. One thread runs it; others may look at its figures meanwhile.

    ends    by lane, the offset behind the last record that was acknowledged, aborted ones too
    needed  by lane, the same of what has to land
    """

    def __init__(self, kind: str, order: Order, told: Told, numbers: Numbers) -> None:
        self._order = order
        self._told = told
        self._numbers = numbers
        self._chance = random.Random(f"{order.seed} {kind}")  # noqa: S311 — repeatable, and no secret
        self._buckets = Buckets(Path(order.ledger), kind)
        self._due = [0.0] * len(order.lanes)
        # Messages the broker has answered for and that are not in the ledger yet, by lane.
        self._heard: list[list[Any]] = [[] for _ in order.lanes]
        self._is_transactional = kind == "transactional"
        self._client = self._connected(kind)
        self._share = 1 / len(kinds(order))
        self.ends = dict.fromkeys(range(len(order.lanes)), 0)
        self.needed = dict.fromkeys(range(len(order.lanes)), 0)
        self.counts = dict.fromkeys(("acknowledged", "aborted", "transactions", "doubtful"), 0)
        self.doubtful: list[int] = []
        self.refusal = ""

    def _connected(self, kind: str) -> Any:
        from confluent_kafka import Producer

        base = {"linger.ms": "10", "log_level": "0", "queue.buffering.max.messages": str(QUEUE_RECORDS_MAX)}
        own = {"transactional.id": self._order.identity} if self._is_transactional else {}
        client = Producer({**self._order.client, **base, **_PRODUCERS[kind], **own})
        if self._is_transactional:
            client.init_transactions(FLUSH_SECONDS_MAX)
        return client

    def run(self) -> None:
        """Produce until told to stop; everything is answered for and in the ledger when this returns.

        Raises:
            TimeoutError: something is still on its way a minute after the end.
        """
        clock = SystemClock()
        before = clock.monotonic()
        while not self._told.over.wait(TICK_SECONDS):
            now = clock.monotonic()
            count = self._order.records_per_second_max * self._share * min(now - before, ARREARS_SECONDS_MAX)
            before = now
            if self._is_transactional:
                self._transaction(count)
            else:
                self._send(count)
                self._client.poll(0)
                self._note(aborted=False)
        if self._client.flush(FLUSH_SECONDS_MAX):
            raise TimeoutError
        self._note(aborted=False)
        self._buckets.flush()

    def _transaction(self, count: float) -> None:
        client = self._client
        aborts = self.counts["transactions"] % ABORTED_EVERY == 0
        client.begin_transaction()
        self._send(count)
        client.flush(FLUSH_SECONDS_MAX)
        if aborts:
            client.abort_transaction(FLUSH_SECONDS_MAX)
        else:
            client.commit_transaction(FLUSH_SECONDS_MAX)
        self.counts["transactions"] += 1
        self._note(aborted=aborts)

    def _send(self, count: float) -> None:
        """Send about so many records, to each lane its share, but none to one that is too far ahead of what has landed."""
        order = self._order
        whole = sum(lane.weight for lane in order.lanes)
        for index in self._chance.sample(range(len(order.lanes)), len(order.lanes)):
            if self.ends[index] - self._told.landed.get(index, 0) > order.backlog_records_max:
                continue
            self._due[index] += count * order.lanes[index].weight / whole * self._chance.uniform(0.5, 1.5)
            now = int(self._due[index])
            self._due[index] -= now
            for start in range(0, now, QUEUE_RECORDS_MAX):
                self._send_to(index, self._numbers.take(min(now - start, QUEUE_RECORDS_MAX)))

    def _send_to(self, index: int, numbers: Iterable[int]) -> None:
        lane, seed = self._order.lanes[index], self._order.seed
        messages = [{"value": value_of(number, seed), "key": b"%d" % number} for number in numbers]
        while len(self._client) + len(messages) > QUEUE_RECORDS_MAX:
            self._client.poll(TICK_SECONDS)
        queued = self._client.produce_batch(lane.topic, messages, lane.partition, on_delivery=partial(self._delivered, index))
        check(queued == len(messages), "the client took some records of a batch and not the others")

    def _delivered(self, index: int, error: Any, message: Any) -> None:
        if error is None:
            self._heard[index].append(message)
            return
        self.counts["doubtful"] += 1
        self.doubtful.append(int(message.key()))
        self.refusal = self.refusal or str(error.name())

    def _note(self, *, aborted: bool) -> None:
        """Write into the ledger what was answered for: the offset that the broker gave to each record, and the record's own number."""
        for index, messages in enumerate(self._heard):
            if not messages:
                continue
            offsets = array("q", [message.offset() for message in messages])
            labels = array("q", [label_of(int(message.key()), aborted=aborted) for message in messages])
            self._heard[index] = []
            self._buckets.add(index, offsets, labels)
            end = max(offsets) + 1
            self.counts["aborted" if aborted else "acknowledged"] += len(offsets)
            self.ends[index] = max(self.ends[index], end)
            if not aborted:
                self.needed[index] = max(self.needed[index], end)
