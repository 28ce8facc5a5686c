"""Whether what was read belongs to the topic we think it does: the topic-id check that is later than the read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from landfast.errors import LandfastError, Misconfigured
from landfast.model import Halt
from landfast.sources.kafka_cluster import KafkaCluster, Topic, Topics
from landfast.sources.kafka_errors import gone, replaced
from landfast.sources.kafka_notices import Notices
from landfast.sources.kafka_readers import Standing


@dataclass(frozen=True, slots=True)
class Findings:
    """What a check found: standings that hold, standings that we may not ask about, and streams that cannot go on."""

    confirmed: tuple[Standing, ...] = ()
    forbidden: tuple[Standing, ...] = ()
    halted: Mapping[Standing, Halt] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Question:
    standings: tuple[Standing, ...]
    answers: Topics


class IdentityCheck:
    """Asks for topic ids, one question at a time, without waiting.

    Everything that was delivered before a question was asked and that got the expected id for an answer came from that incarnation: a
    topic that is created again gets another id, for good. A topic that no broker knows is gone only after `gone_seconds`, since a
    broker that has just started may not know it yet; until then nothing is confirmed.
    """

    def __init__(self, cluster: KafkaCluster, notices: Notices, gone_seconds: float) -> None:
        self._cluster = cluster
        self._notices = notices
        self._gone_seconds = gone_seconds
        self._question: _Question | None = None
        self._missing_since: dict[str, float] = {}

    @property
    def asking(self) -> bool:
        """Whether a question is on its way."""
        return self._question is not None

    def ask(self, standings: Collection[Standing]) -> None:
        """Ask about these standings; the answer comes through `answered`."""
        topics = {standing.stream.topic for standing in standings}
        self._question = _Question(tuple(standings), self._cluster.topics(topics))

    def answered(self, now: float) -> Findings:
        """What the last question brought, if its answer is there by now."""
        question = self._question
        if question is None or not question.answers.done:
            return Findings()
        self._question = None
        return self._judged(question, 0.0, now)

    def ask_and_wait(self, standings: Collection[Standing], wait_seconds_max: float, now: float) -> Findings:
        """Ask and wait for the answer, for a moment: before streams are given up."""
        topics = {standing.stream.topic for standing in standings}
        return self._judged(_Question(tuple(standings), self._cluster.topics(topics, wait_seconds_max)), wait_seconds_max, now)

    def missing(self, topic: str) -> bool:
        """Whether the last answer about the topic was that it does not exist."""
        return topic in self._missing_since

    def _judged(self, question: _Question, wait_seconds_max: float, now: float) -> Findings:
        today: dict[str, Topic | None] = {}
        forbidden: set[str] = set()
        for topic in {standing.stream.topic for standing in question.standings}:
            try:
                today[topic] = question.answers.get(topic, wait_seconds_max)
            except LandfastError as error:
                if isinstance(error, Misconfigured):
                    forbidden.add(topic)
                self._notices.say(
                    error.code, f"the id of topic {topic} could not be checked, so nothing of it lands: {error.message}", about=topic
                )
                continue
            if today[topic] is None:
                self._missing_since.setdefault(topic, now)
            else:
                self._missing_since.pop(topic, None)
        confirmed = []
        halted = {}
        for standing in question.standings:
            topic = standing.stream.topic
            if topic not in today:
                continue
            found = today[topic]
            if found is None:
                away = now - self._missing_since[topic]
                if away >= self._gone_seconds:
                    halted[standing] = gone(standing.stream, away)
            elif found.incarnation == standing.stream.incarnation:
                confirmed.append(standing)
            else:
                halted[standing] = replaced(standing.stream, found.incarnation)
        return Findings(tuple(confirmed), tuple(standing for standing in question.standings if standing.stream.topic in forbidden), halted)
