"""Ports for a test broker, and whether somebody answers there."""

from __future__ import annotations

import contextlib
import random
import socket

from landfast.errors import Unavailable

HOST = "127.0.0.1"
# Outside the usual range of outgoing ports, so that nobody's connection takes a broker's port while the broker is down.
_PORTS = range(20_000, 30_000)


def free_ports(count: int) -> tuple[int, ...]:
    """Ports that nobody uses.

    Raises:
        Unavailable: there are not so many.
    """
    free: list[int] = []
    for port in random.sample(_PORTS, 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            free.append(port)
        if len(free) == count:
            return tuple(free)
    raise Unavailable("SOURCE_DOWN", "no free port for a test broker")


def listens(port: int) -> bool:
    """Whether somebody takes connections."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def answers(servers: str) -> bool:
    """Whether a broker does what it is there for."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0, "socket.timeout.ms": 2000})
    try:
        return bool(admin.list_topics(timeout=2).brokers)
    except KafkaException:
        return False
