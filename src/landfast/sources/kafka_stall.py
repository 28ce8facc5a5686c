"""Streams that have something to read and bring nothing: found out, told, and in the end halted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaException

from landfast.model import Halt, Position, Stream
from landfast.sources.kafka_cluster import KafkaCluster
from landfast.sources.kafka_columns import Key
from landfast.sources.kafka_errors import stuck
from landfast.sources.kafka_notices import Notices
from landfast.sources.kafka_readers import Reader, Standing, current

_LOOKS = 4


@dataclass(frozen=True, slots=True)
class _Look:
    """A question about these standings that may still be on its way: read-committed ends, and those of the logs themselves."""

    standings: tuple[Standing, ...]
    ends: Mapping[Key, Future[Any]]
    highs: Mapping[Key, Future[Any]]

    @property
    def answered(self) -> bool:
        return all(future.done() for answers in (self.ends, self.highs) for future in answers.values())


class StallWatch:
    """Looks at the ends of the log a few times in every `stall_seconds`, without waiting for the answer.

    A stream that waits for a transaction to end is not stuck, but after `stall_seconds` it is told.

    A stream that is seen at the same position below the end in every look for `stall_seconds` is stuck. One that is held is not
    looked at, and a broker that does not answer makes nobody stuck.
    """

    def __init__(self, cluster: KafkaCluster, notices: Notices, stall_seconds: float) -> None:
        self._cluster = cluster
        self._notices = notices
        self._stall_seconds = stall_seconds
        self._asked: _Look | None = None
        self._next_look: float | None = None
        self._since: dict[Standing, float] = {}
        self._open_since: dict[tuple[Stream, Position], float] = {}

    def turn(self, now: float, standings: Collection[Standing], readers: Mapping[Key, Reader]) -> dict[Standing, Halt]:
        """Look again when it is time; what has been stuck for too long. `standings` are the streams that ought to bring records."""
        halted: dict[Standing, Halt] = {}
        if self._asked is not None and self._asked.answered:
            look, self._asked = self._asked, None
            halted = self._judged(now, look, readers)
            self._tell_open(now, look)
        if self._next_look is None:
            self._next_look = now + self._stall_seconds / _LOOKS
        if self._asked is None and now >= self._next_look and standings:
            self._next_look = now + self._stall_seconds / _LOOKS
            keys = [(standing.stream.topic, standing.stream.partition) for standing in standings]
            self._asked = _Look(tuple(standings), *self._cluster.ends(keys))
        return halted

    def _judged(self, now: float, look: _Look, readers: Mapping[Key, Reader]) -> dict[Standing, Halt]:
        behind: dict[Standing, float] = {}
        halted: dict[Standing, Halt] = {}
        for standing in look.standings:
            reader = current(standing, readers)
            end = _offset(look.ends[standing.stream.topic, standing.stream.partition])
            if reader is None or reader.position != standing.position or end is None or end <= standing.position:
                continue
            behind[standing] = self._since.get(standing, now)
            seconds = now - behind[standing]
            halt = stuck(standing.stream, standing.position, end, seconds)
            if seconds >= self._stall_seconds:
                halted[standing] = halt
            elif standing in self._since:
                self._notices.say(halt.code, halt.message, about=str(standing.stream))
        self._since = {standing: since for standing, since in behind.items() if standing not in halted}
        return halted

    def _tell_open(self, now: float, look: _Look) -> None:
        still_open: dict[tuple[Stream, Position], float] = {}
        for standing in look.standings:
            key = (standing.stream.topic, standing.stream.partition)
            end, high = _offset(look.ends[key]), _offset(look.highs[key])
            if end is None or high is None or not end < high or standing.position < end:
                continue
            since = still_open[standing.stream, end] = self._open_since.get((standing.stream, end), now)
            if now - since >= self._stall_seconds:
                message = (
                    f"a transaction in {standing.stream} has been open at offset {end} for {now - since:.0f} s: "
                    f"the {high - end} offsets from there on are read when it ends"
                )
                self._notices.say("LSO_STUCK", message, about=str(standing.stream))
        self._open_since = still_open


def _offset(future: Future[Any]) -> int | None:
    try:
        return int(future.result(0).offset)
    except (KafkaException, TimeoutError):
        return None
