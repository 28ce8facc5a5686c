"""A billing service that is stopped and killed, and bills every order. Usage: billing.py [SERVERS]."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from landfast import Record, RecordsFailed, consume
from landfast.testing.kafka import EmbeddedKafka
from landfast.testing.wait import wait_until

ORDERS = 130
LATER = 30
ALL = ORDERS + LATER
WITHOUT_PRICE = 77
BATCH = 50
SECONDS_MAX = 120.0


def with_landfast(servers: str, topic: str, ledger: Path) -> int:
    """The service: this is all of it."""

    def bill(orders: Sequence[Record[dict[str, int]]]) -> None:
        say(f"billing {len(orders)}")
        without_price = [order for order in orders if order.value and "price" not in order.value]
        with ledger.open("a") as book:
            book.writelines(f"{order.value['number']}\n" for order in orders if order.value and order not in without_price)
        say("billed")
        if without_price:
            raise RecordsFailed(without_price, reason="no_price")

    dead = f"{topic}-dead"
    return consume(
        topic, bill, servers=servers, group="billing", batch=BATCH, dead_letters=dead, decoder=json.loads, settings=SETTINGS
    ).exit_code


def without_landfast(servers: str, topic: str, ledger: Path) -> int:
    """The loop that many write: a list of what was read, and offsets that move by themselves."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "by-hand", "auto.offset.reset": "earliest", "enable.auto.commit": True})
    consumer.subscribe([topic])
    orders: list[dict[str, int]] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        while True:
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                orders.append(json.loads(message.value() or b""))
            if len(orders) == BATCH:
                with ledger.open("a") as book:
                    book.writelines(f"{order['number']}\n" for order in orders)
                orders.clear()
                say(f"billing {BATCH}")
            if message is None:
                say(f"{len(orders)} in memory")
    finally:
        consumer.close()


SERVICES: dict[str, Callable[[str, str, Path], int]] = {"with": with_landfast, "without": without_landfast}
# A broker inside the program has no topic ids; brokers of your own need no settings here.
# A killed member's partitions are given to the next one when its session has ended, and nobody wants to wait for that here.
SETTINGS: dict[str, dict[str, Any]] = {
    "source": {"topic_ids": os.environ.get("BILLING_TOPIC_IDS", "checked"), "session_seconds": 3.0},
}


def say(line: str) -> None:
    """Tell whoever started the service where it is."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def ended(which: str, servers: str, topic: str, ledger: Path, moment: Callable[[str], bool], how: signal.Signals) -> int:
    """Start a service, and send it a signal when it has said this; its exit code. A service that never says it is killed."""
    command = [sys.executable, __file__, "--service", which, servers, topic, str(ledger)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        patience = threading.Timer(SECONDS_MAX, process.kill)
        patience.start()
        for line in process.stdout or ():
            if moment(line.strip()):
                process.send_signal(how)
                say(f"  {which} Landfast: {line.strip()}, then {how.name}")
                break
        process.communicate(timeout=SECONDS_MAX)
        patience.cancel()
    return process.returncode


def billed(ledger: Path) -> Counter[int]:
    """How often each order was billed."""
    return Counter(int(line) for line in ledger.read_text().split()) if ledger.exists() else Counter()


@contextmanager
def broker(servers: Sequence[str]) -> Iterator[str]:
    """The brokers that were named, or one inside this process."""
    if servers:
        yield servers[0]
        return
    with EmbeddedKafka() as embedded:
        os.environ["BILLING_TOPIC_IDS"] = "ignored"
        yield embedded.servers


def create(servers: str, topic: str, *, embedded: bool) -> None:
    """Make the topics."""
    if not embedded:
        client = AdminClient({"bootstrap.servers": servers})
        for made in client.create_topics([NewTopic(topic, 1, 1), NewTopic(f"{topic}-dead", 1, 1)]).values():
            made.result(SECONDS_MAX)
    producer = Producer({"bootstrap.servers": servers})
    for name in (topic, f"{topic}-dead"):
        wait_until(lambda name=name: producer.list_topics(name, timeout=30).topics[name].error is None, SECONDS_MAX)


def order(servers: str, topic: str, numbers: range) -> None:
    """Put these orders into the topic."""
    producer = Producer({"bootstrap.servers": servers})
    for number in numbers:
        ordered = {"number": number} if number == WITHOUT_PRICE else {"number": number, "price": 3 * number}
        producer.produce(topic, json.dumps(ordered).encode(), partition=0)
    producer.flush(SECONDS_MAX)


def letters(servers: str, topic: str) -> list[Any]:
    """What lies in the dead-letter topic."""
    reader = Consumer({"bootstrap.servers": servers, "group.id": "letters", "auto.offset.reset": "earliest"})
    reader.assign(
        [TopicPartition(f"{topic}-dead", number, 0) for number in reader.list_topics(f"{topic}-dead").topics[f"{topic}-dead"].partitions]
    )
    found = reader.consume(10, 3.0)
    reader.close()
    return [json.loads(letter.value() or b"") for letter in found]


def main(servers: Sequence[str]) -> int:
    """Show what goes wrong, then what does not. Exits 1 if an order is not billed."""
    folder, topic = Path(tempfile.mkdtemp()), f"orders-{uuid.uuid4().hex[:8]}"
    by_hand, book = folder / "by-hand", folder / "book"
    with broker(servers) as address:
        create(address, topic, embedded=not servers)
        order(address, topic, range(ORDERS))
        left = ORDERS % BATCH
        ended("without", address, topic, by_hand, lambda line: line == f"{left} in memory", signal.SIGTERM)
        ended("without", address, topic, by_hand, lambda line: line == "0 in memory", signal.SIGTERM)
        say(f"without Landfast, stopped once and started again: {ORDERS - len(billed(by_hand))} of {ORDERS} orders are never billed")

        killed = ended("with", address, topic, book, lambda line: line == "billed", signal.SIGKILL)
        say(f"  it ended with {killed}; {LATER} more orders come")
        order(address, topic, range(ORDERS, ALL))
        stopped = ended("with", address, topic, book, lambda line: line.startswith("billing"), signal.SIGTERM)
        say(f"  it ended with {stopped}; billed so far: {len(billed(book))}")
        if len(billed(book)) < ALL - 1:  # a stop bills what was read, which may have been all
            ended("with", address, topic, book, lambda line: line == "billed" and len(billed(book)) == ALL - 1, signal.SIGTERM)
        times = billed(book)
        missing = set(range(ALL)) - times.keys() - {WITHOUT_PRICE}
        dead = letters(address, topic)
    twice = sum(count > 1 for count in times.values())
    say(f"with Landfast, killed, stopped and started again: {len(missing)} of {ALL} orders are not billed, {twice} more than once")
    say(f"in the dead-letter topic: {sorted({letter['number'] for letter in dead})}")
    return 0 if not missing and {letter["number"] for letter in dead} == {WITHOUT_PRICE} else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--service"]:
        sys.exit(SERVICES[sys.argv[2]](sys.argv[3], sys.argv[4], Path(sys.argv[5])))
    sys.exit(main(sys.argv[1:]))
