"""The load of a torture, as a process of its own: three producers, and a ledger of what the broker acknowledged to them.

It is told on standard input, one JSON object a line: first what to do, then how far each lane has landed, and in the end to stop. It tells
on standard output, as lines too, how far each lane is acknowledged.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from landfast.cli.torture.buckets import Buckets
from landfast.cli.torture.judge import mark_of
from landfast.cli.torture.records import Lane, value_of

TICK_SECONDS = 0.05
FLUSH_SECONDS_MAX = 60.0
ABORTED_EVERY = 5
"""Of so many transactions one is aborted, the first of all among them: however short the torture, there is one."""
TRANSACTION_RECORDS_MAX = 400

_PRODUCERS: Mapping[str, Mapping[str, str]] = {
    "transactional": {"enable.idempotence": "true", "transaction.timeout.ms": "60000"},
    # Without retries a record is never in the log twice; one that is refused may be there once or not at all.
    "plain": {"enable.idempotence": "false", "retries": "0", "acks": "all"},
    "idempotent": {"enable.idempotence": "true"},
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


class Producing:
    """The producers, and what was acknowledged to them."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._lanes = {(lane.topic, lane.partition): index for index, lane in enumerate(order.lanes)}
        self._weights = list(itertools.accumulate(lane.weight for lane in order.lanes))
        self._chance = random.Random(order.seed)  # noqa: S311 — repeatable, and no secret
        self._numbers = itertools.count(1)
        self._buckets = Buckets(Path(order.ledger), "load")
        self._in_transaction: list[tuple[int, int, int]] = []
        self._clients = self._connected()
        self._turns = itertools.cycle(self._clients)
        self.sent = 0
        self.ends: dict[int, int] = {}
        self.needed: dict[int, int] = {}
        self.counts = dict.fromkeys(("acknowledged", "aborted", "transactions", "doubtful"), 0)
        self.doubtful: list[int] = []
        self.refusal = ""

    def _connected(self) -> dict[str, Any]:
        from confluent_kafka import Producer

        base = {**self._order.client, "linger.ms": "10", "log_level": "0"}
        kinds = [kind for kind in _PRODUCERS if kind != "transactional" or self._order.identity]
        clients: dict[str, Any] = {}
        for kind in kinds:
            own = {"transactional.id": self._order.identity} if kind == "transactional" else {}
            clients[kind] = Producer({**base, **_PRODUCERS[kind], **own})
            if own:
                clients[kind].init_transactions(FLUSH_SECONDS_MAX)
        return clients

    def send(self, count: int, landed: Mapping[int, int]) -> None:
        """Send about so many records through the producer whose turn it is."""
        kind = next(self._turns)
        if kind == "transactional":
            self._transaction(min(count, TRANSACTION_RECORDS_MAX), landed)
        else:
            self._produce(kind, count, landed, self._delivered)

    def _transaction(self, count: int, landed: Mapping[int, int]) -> None:
        client = self._clients["transactional"]
        aborts = self.counts["transactions"] % ABORTED_EVERY == 0
        client.begin_transaction()
        self._produce("transactional", count, landed, self._delivered_in_transaction)
        client.flush(FLUSH_SECONDS_MAX)
        if aborts:
            client.abort_transaction(FLUSH_SECONDS_MAX)
        else:
            client.commit_transaction(FLUSH_SECONDS_MAX)
        self.counts["transactions"] += 1
        for lane, offset, number in self._in_transaction:
            self._note(lane, offset, number, aborted=aborts)
        self._in_transaction.clear()

    def _produce(self, kind: str, count: int, landed: Mapping[int, int], delivered: Any) -> None:
        order, client = self._order, self._clients[kind]
        for index in self._chance.choices(range(len(order.lanes)), cum_weights=self._weights, k=count):
            if self.ends.get(index, 0) - landed.get(index, 0) > order.backlog_records_max:
                continue
            lane, number = order.lanes[index], next(self._numbers)
            value = value_of(number, order.seed)
            while True:
                try:
                    client.produce(lane.topic, value, b"%d" % number, partition=lane.partition, on_delivery=delivered)
                except BufferError:
                    client.poll(0.05)
                else:
                    break
            self.sent += 1
        client.poll(0)

    def _delivered(self, error: Any, message: Any) -> None:
        number = int(message.key())
        if error is not None:
            self.counts["doubtful"] += 1
            self.doubtful.append(number)
            self.refusal = self.refusal or str(error.name())
            return
        self._note(self._lanes[message.topic(), message.partition()], message.offset(), number, aborted=False)

    def _delivered_in_transaction(self, error: Any, message: Any) -> None:
        if error is not None:
            self._delivered(error, message)
            return
        self._in_transaction.append((self._lanes[message.topic(), message.partition()], message.offset(), int(message.key())))

    def _note(self, lane: int, offset: int, number: int, *, aborted: bool) -> None:
        self._buckets.add(lane, offset, mark_of(number, aborted=aborted))
        self.counts["aborted" if aborted else "acknowledged"] += 1
        self.ends[lane] = max(self.ends.get(lane, 0), offset + 1)
        if not aborted:
            self.needed[lane] = max(self.needed.get(lane, 0), offset + 1)

    def poll(self) -> None:
        """Hear what was acknowledged meanwhile."""
        for client in self._clients.values():
            client.poll(0)

    def finish(self) -> None:
        """Wait for what is on its way, and write the ledger out.

        Raises:
            TimeoutError: something is still on its way after a minute.
        """
        for kind, client in self._clients.items():
            if kind != "transactional" and client.flush(FLUSH_SECONDS_MAX):
                raise TimeoutError
        self._buckets.flush()

    def facts(self) -> dict[str, Any]:
        """Where the load stands."""
        return {"ends": list(self.ends.items()), "needed": list(self.needed.items()), **self.counts, "refusal": self.refusal}


def produce(order: Order, told: Told, out: TextIO) -> None:
    """Produce until told to stop, and say how it goes."""
    producing = Producing(order)
    while not told.over.wait(TICK_SECONDS):
        # What could not be sent in time is not made up for later: a load that lags would come in one wave.
        producing.send(max(1, int(order.records_per_second_max * TICK_SECONDS)), told.landed)
        producing.poll()
        print(json.dumps(producing.facts()), file=out, flush=True)
    producing.finish()
    print(json.dumps({**producing.facts(), "over": True, "doubtful_numbers": producing.doubtful}), file=out, flush=True)


def _listen(told: Told, lines: TextIO) -> None:
    """Take note of what is said. An end without a word is an end too: whoever asked for the load is gone."""
    for line in lines:
        said = json.loads(line)
        if "landed" in said:
            told.landed.update((lane, position) for lane, position in said["landed"])
        if said.get("stop"):
            break
    told.over.set()


def main(lines: TextIO = sys.stdin, out: TextIO = sys.stdout) -> None:
    """Produce as standard input says."""
    order = Order.of(json.loads(lines.readline()))
    told = Told()
    threading.Thread(target=_listen, args=(told, lines), daemon=True).start()
    produce(order, told, out)


if __name__ == "__main__":
    main()
