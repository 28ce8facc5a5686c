"""The fault points: moments of a worker's life at which it is worth being killed. Each has a name, and announces itself.

A worker that is told to wait at a point says so and stops itself there, as a whole or with the one thread that has come by. So nobody has
to guess how long anything takes.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal

POINTS: Mapping[str, str] = MappingProxyType(
    {
        "source.read": "records were read, and nobody knows of it",
        "source.rewound": "a stream is to be read again",
        "stream.gained": "a partition is ours, and nothing was asked about it",
        "stream.started": "it is known where to read it",
        "stream.revoked": "a partition goes, and what was read of it has not landed",
        "stream.let_go": "a partition went",
        "letters.unclaimed": "the dead letters of a stream are about to be claimed",
        "letters.claimed": "they are claimed",
        "owner.unknown": "a stream is about to be taken over",
        "owner.compared": "its owner was looked at; the take-over is about to be written",
        "owner.unanswered": "the take-over is in the table, and its answer unseen",
        "owner.known": "the stream is taken over",
        "stage.begun": "a batch is about to be written",
        "file.written": "a data file is written and not durable",
        "file.synced": "a data file is durable, and its name is not",
        "file.named": "a data file is durable with its name, and no commit names it",
        "stage.ended": "a batch is staged",
        "letters.begun": "dead letters are about to be buried",
        "letters.written": "their file is written and not durable",
        "letters.synced": "their file is durable",
        "letters.compared": "the claim on them was looked at; their commit is about to be written",
        "letters.unanswered": "their commit is in the table, and its answer unseen",
        "letters.durable": "their commit is durable",
        "letters.buried": "they are buried, and the commit that passes them is still to come",
        "commit.begun": "a commit is about to begin",
        "commit.drafted": "its entry is written where nobody sees it",
        "commit.compared": "the positions were looked at; the entry is about to appear",
        "commit.unanswered": "the entry is in the log, and its answer unseen",
        "commit.durable": "the entry is durable with its name",
        "commit.entry_read": "an entry of the log was read, ours or another's, and may not be durable",
        "commit.ended": "the commit is known to have landed, and the broker does not know",
        "offsets.unacknowledged": "the group's offsets are about to be acknowledged",
        "offsets.acknowledged": "they are acknowledged",
        "upkeep.begun": "upkeep is about to begin",
        "checkpoint.written": "a checkpoint, or the hint to it, is written and not durable",
        "checkpoint.synced": "it is durable",
        "checkpoint.named": "a checkpoint has its name in the log, and nothing hints at it",
        "compaction.written": "the rows of small files are in a large one that is not durable",
        "compaction.synced": "it is durable",
        "compaction.compared": "its commit is about to be written",
        "compaction.unanswered": "its commit is in the table, and its answer unseen",
        "sweep.begun": "a file that nobody names is about to be deleted",
        "sweep.ended": "it is deleted",
        "clean_up.begun": "the spans are saved; old entries of the log are about to go",
        "clean_up.ended": "they went",
        "upkeep.ended": "upkeep has ended",
    }
)

JOINING = frozenset(point for point in POINTS if point.startswith("owner.")) | {
    "stream.gained",
    "stream.started",
    "letters.unclaimed",
    "letters.claimed",
}
"""Points that a worker passes when it is given partitions, and hardly ever again."""

LOCAL = frozenset(
    {
        "file.written",
        "file.synced",
        "letters.written",
        "letters.durable",
        "commit.drafted",
        "commit.durable",
        "commit.entry_read",
        "checkpoint.written",
        "checkpoint.synced",
        "checkpoint.named",
        "compaction.written",
        "sweep.begun",
        "sweep.ended",
    }
)
"""Points of a table on a disk only. In a store an object appears whole, durable and with its name; the table's library makes checkpoints
there by itself; and no object can be given the age at which it is swept."""

How = Literal["stop", "hold"]


@dataclass(frozen=True, slots=True)
class Order:
    """Wait at a point, the so-manieth time it is reached from now: the whole process stops, or one thread is held."""

    point: str
    times: int
    how: How

    def as_object(self) -> dict[str, Any]:
        """As it is told to a worker."""
        return asdict(self)


class Herald:
    """Announces what a worker reaches, on a pipe, one JSON object a line. Safe to share between threads."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self._acts = threading.local()
        self._order: Order | None = None
        self._left = 0
        self._go = threading.Event()

    def tell(self, **facts: object) -> None:
        """Say something."""
        line = (json.dumps(facts, separators=(",", ":")) + "\n").encode()
        with self._lock:
            while line:
                line = line[os.write(self._pipe, line) :]

    def obey(self, order: Order | None) -> None:
        """From now on wait as this says, or nowhere; whoever is held goes on."""
        with self._lock:
            self._order = order
            self._left = 0 if order is None else order.times
        self._go.set()

    @contextmanager
    def during(self, act: str) -> Iterator[None]:
        """What this thread does in the block is part of the act."""
        before = self.act
        self._acts.name = act
        try:
            yield
        finally:
            self._acts.name = before

    @property
    def act(self) -> str:
        """The act that this thread is part of. Threads that nobody told are those that write files side by side."""
        return str(getattr(self._acts, "name", "stage"))

    def at(self, point: str) -> None:
        """A point is reached: wait here, if this is where and when."""
        how = self._due(point)
        if how is None:
            return
        self.tell(at=point)
        if how == "hold":
            self._go.wait()
        else:
            # Sent to this very thread, so that it does not come one step further before the process stands still.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        self.tell(on=point)

    def _due(self, point: str) -> How | None:
        with self._lock:
            order = self._order
            if order is None or order.point != point:
                return None
            self._left -= 1
            if self._left:
                return None
            self._order = None
            self._go.clear()
            return order.how
