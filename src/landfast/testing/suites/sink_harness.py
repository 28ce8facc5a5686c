"""How the checks of `SINK_CHECKS` reach the sink under test, and the steps they share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from landfast.errors import LandfastError
from landfast.model import Receipt, Rows, Stream
from landfast.ports import Sink
from landfast.testing.suites.promises import Material, Part, demand_equal

A = Stream("suite", "aaaaaaaaaaaaaaaaaaaaaa", 0)
B = Stream("suite", "aaaaaaaaaaaaaaaaaaaaaa", 1)

Landed = tuple[str, int, int, bytes]
"""Topic, partition, offset and value of a row that a reader sees."""


class SinkHarness(Protocol):
    """Stands between the checks and one store. What `open_sink` returns is another process over the same store each time."""

    def open_sink(self) -> Sink:
        """A sink with a memory of its own and a run id of its own, over the store."""

    def make_rows(self, values: Sequence[bytes]) -> Rows:
        """Rows of one column that holds these values."""

    def landed(self) -> Sequence[Landed]:
        """Every row that an independent reader sees now, in any order."""

    def refused_value(self) -> bytes | None:
        """A value that the sink refuses as a row, at stage or at commit; None where it never refuses one."""


def material_of(harness: SinkHarness) -> Material:
    """What makes batches of the rows that the harness's sink understands."""
    return Material(harness.make_rows)


def land(harness: SinkHarness, sink: Sink, *parts: Part) -> Receipt:
    """Stage and commit one batch of these parts."""
    return sink.commit([sink.stage(material_of(harness).batch(1, *parts))])


def demand_landed(harness: SinkHarness, expected: Sequence[tuple[Stream, int, bytes]]) -> None:
    """Demand that a reader sees exactly these rows."""
    wanted = sorted((stream.topic, stream.partition, offset, value) for stream, offset, value in expected)
    demand_equal(sorted(harness.landed()), wanted, "rows that a reader sees")


def at_once(calls: Sequence[Callable[[], str]]) -> list[str]:
    """What each call returned, or the name of what it raised, all of them started together."""
    results = [""] * len(calls)
    start = threading.Barrier(len(calls))

    def run(index: int, call: Callable[[], str]) -> None:
        start.wait(timeout=30)
        try:
            results[index] = call()
        except LandfastError as error:
            results[index] = f"{type(error).__name__}: {error}"

    threads = [threading.Thread(target=run, args=(index, call)) for index, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return results
