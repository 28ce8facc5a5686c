"""Ports on 127.0.0.1 for what tests start, and whether somebody answers there."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from functools import cache
from itertools import cycle, islice

from landfast.errors import Unavailable

HOST = "127.0.0.1"
# Outside the usual range of outgoing ports, so that nobody's connection takes a broker's port while the broker is down.
_FIRST, _END = 20_000, 30_000
_ROW = 50


def free_ports(count: int) -> tuple[int, ...]:
    """Ports that nobody uses, and that no other process is given which asks here.

    Raises:
        Unavailable: there are not so many.
    """
    ports, lock = _row_of(os.getpid())
    with lock:
        free = tuple(islice(filter(_is_free, islice(ports, _ROW - 1)), count))
    if len(free) < count:
        raise Unavailable("SOURCE_DOWN", f"fewer than {count} free ports for tests")
    return free


@cache
def _row_of(_process: int) -> tuple[Iterator[int], threading.Lock]:
    """A row of ports for this process alone: whoever has bound the first of a row may hand out the others.

    The first one stays bound until the process ends, however it ends, and nobody ever listens there.
    """
    for first in range(_FIRST, _END, _ROW):
        guard = socket.socket()
        try:
            guard.bind((HOST, first))
        except OSError:
            guard.close()
            continue
        guard.detach()
        return cycle(range(first + 1, first + _ROW)), threading.Lock()
    raise Unavailable("SOURCE_DOWN", f"all ports from {_FIRST} to {_END} are taken")


def _is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind((HOST, port))
        return True
    return False


def listens(port: int) -> bool:
    """Whether somebody takes connections."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def answers(servers: str) -> bool:
    """Whether a broker does what it is there for: it is known, and so is the leader of each of its partitions."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0, "socket.timeout.ms": 2000})
    try:
        known = admin.list_topics(timeout=2)
    except KafkaException:
        return False
    return bool(known.brokers) and all(part.leader >= 0 for topic in known.topics.values() for part in topic.partitions.values())
