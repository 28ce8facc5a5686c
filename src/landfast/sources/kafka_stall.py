"""Streams that have something to read and bring nothing: found out, told, and in the end halted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaException

from landfast.model import Halt
from landfast.sources.kafka_cluster import KafkaCluster
from landfast.sources.kafka_columns import Key
from landfast.sources.kafka_errors import stuck
from landfast.sources.kafka_notices import Notices
from landfast.sources.kafka_readers import Mark, Reader, current

_LOOKS = 4


class StallWatch:
    """Looks at the ends of the log a few times in every `stall_seconds`, without waiting for the answer.

    A stream that is seen at the same position below the end in every look for `stall_seconds` is stuck. One that is held is not
    looked at, and a broker that does not answer makes nobody stuck.
    """

    def __init__(self, cluster: KafkaCluster, notices: Notices, stall_seconds: float) -> None:
        self._cluster = cluster
        self._notices = notices
        self._stall_seconds = stall_seconds
        self._asked: tuple[tuple[Mark, ...], dict[Key, Future[Any]]] | None = None
        self._next_look: float | None = None
        self._since: dict[Mark, float] = {}

    def turn(self, now: float, marks: Collection[Mark], readers: Mapping[Key, Reader]) -> dict[Mark, Halt]:
        """Look again when it is time; what has been stuck for too long. `marks` are the streams that ought to bring records."""
        halted: dict[Mark, Halt] = {}
        if self._asked is not None and all(future.done() for future in self._asked[1].values()):
            asked, answers = self._asked
            self._asked = None
            halted = self._judged(now, asked, answers, readers)
        if self._next_look is None:
            self._next_look = now + self._stall_seconds / _LOOKS
        if self._asked is None and now >= self._next_look and marks:
            self._next_look = now + self._stall_seconds / _LOOKS
            self._asked = (tuple(marks), self._cluster.ends([(mark.stream.topic, mark.stream.partition) for mark in marks]))
        return halted

    def _judged(
        self, now: float, asked: tuple[Mark, ...], answers: Mapping[Key, Future[Any]], readers: Mapping[Key, Reader]
    ) -> dict[Mark, Halt]:
        behind: dict[Mark, float] = {}
        halted: dict[Mark, Halt] = {}
        for mark in asked:
            reader = current(mark, readers)
            end = _end(answers[mark.stream.topic, mark.stream.partition])
            if reader is None or reader.position != mark.position or end is None or end <= mark.position:
                continue
            behind[mark] = self._since.get(mark, now)
            seconds = now - behind[mark]
            halt = stuck(mark.stream, mark.position, end, seconds)
            if seconds >= self._stall_seconds:
                halted[mark] = halt
            elif mark in self._since:
                self._notices.say(halt.code, halt.message, about=str(mark.stream))
        self._since = {mark: since for mark, since in behind.items() if mark not in halted}
        return halted


def _end(future: Future[Any]) -> int | None:
    try:
        return int(future.result(0).offset)
    except (KafkaException, TimeoutError):
        return None
