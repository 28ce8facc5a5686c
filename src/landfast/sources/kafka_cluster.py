"""What a cluster says about topics, their ids and their offsets: everything that is asked beside reading."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient, ConfigResource, OffsetSpec  # type: ignore[attr-defined] # the stubs forget to export it

from landfast.errors import LandfastError, Unavailable
from landfast.model import Position
from landfast.ports import Clock
from landfast.sources.kafka_columns import Key
from landfast.sources.kafka_errors import Act, kafka_error, raised_at_start, verdict
from landfast.sources.kafka_notices import Notices
from landfast.sources.kafka_settings import KafkaSettings, admin_configuration

_NO_LEADER = (KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.OFFSET_NOT_AVAILABLE)

_SERVE_SECONDS = 0.02
_ASK_AGAIN_SECONDS = 0.1
_EARLIEST: Any = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]

NO_TOPIC_ID = "none"
"""The incarnation of every topic where topic ids are ignored."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the cluster knows it today: the id of its incarnation as text, and its partitions."""

    incarnation: str
    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Extents:
    """Offsets of a partition: `[first, end)` for a read-committed reader, and where the log itself ends."""

    first: Position
    end: Position
    high: Position


class Topics:
    """An answer about topics that may still be on its way."""

    def __init__(self, futures: Mapping[str, Future[Any]], known: Mapping[str, Topic], cluster: KafkaCluster) -> None:
        self._futures = futures
        self._known = known
        self._cluster = cluster

    @property
    def done(self) -> bool:
        """Whether every answer is there."""
        return all(future.done() for future in self._futures.values())

    def get(self, topic: str, wait_seconds_max: float) -> Topic | None:
        """The topic, or None where the cluster knows no such topic.

        Raises:
            Misconfigured: it may not be seen with these credentials.
            Unavailable: there is no answer.
        """
        if topic in self._known:
            return self._known[topic]
        try:
            found = self._cluster.wait_for(self._futures[topic], wait_seconds_max)
        except (KafkaException, TimeoutError) as error:
            inside = kafka_error(error)
            if inside is not None and verdict(inside).code == "TOPIC_GONE":
                return None
            raise self._cluster.failed(error, f"asking about topic {topic}") from error
        return Topic(incarnation(found.topic_id), tuple(sorted(partition.id for partition in found.partitions)))


def incarnation(topic_id: object) -> str:
    """A topic id as Kafka's own tools print it: base64 without characters that mean something in a path."""
    return str(topic_id).replace("+", "-").replace("/", "_").rstrip("=")


class KafkaCluster:
    """Asks a cluster. Every wait is bounded by `request_seconds_max`."""

    def __init__(self, settings: KafkaSettings, clock: Clock, notices: Notices) -> None:
        self._settings = settings
        self._clock = clock
        self._heard: KafkaError | None = None
        # Kept referenced as long as answers are awaited: a collected client never answers.
        try:
            logged: Any = {"log_level": 4, "logger": notices.logger(), "error_cb": self._hear}
            self._admin = AdminClient({**admin_configuration(settings), **logged})
        except (KafkaException, ValueError) as error:
            raise raised_at_start(error, "making a client") from error

    def topics(self, names: Collection[str], wait_seconds_max: float | None = None) -> Topics:
        """Ask about topics; returns at once. Where ids are ignored, every topic is what it was, and nobody is asked."""
        if self._settings.topic_ids == "ignored":
            return Topics({}, dict.fromkeys(names, Topic(NO_TOPIC_ID, ())), self)
        if not names:
            return Topics({}, {}, self)
        patience = self._settings.request_seconds_max if wait_seconds_max is None else wait_seconds_max
        return Topics(self._admin.describe_topics(TopicCollection(sorted(names)), request_timeout=patience), {}, self)

    def describe(self, names: Collection[str], wait_seconds_max: float | None = None) -> dict[str, Topic | None]:
        """The topics, None for those that do not exist.

        Raises:
            Misconfigured: a topic may not be seen with these credentials.
            Unavailable: there is no answer.
        """
        if self._settings.topic_ids == "ignored":
            listed = self._listed()
            return {name: Topic(NO_TOPIC_ID, tuple(sorted(listed[name].partitions))) if name in listed else None for name in names}
        patience = self._settings.request_seconds_max if wait_seconds_max is None else wait_seconds_max
        asked = self.topics(names, patience)
        return {name: asked.get(name, patience) for name in names}

    def subscribed(self) -> tuple[str, ...]:
        """The names that the settings stand for today: the topics, or what matches the pattern.

        Raises:
            Unavailable: there is no answer.
        """
        pattern = self._settings.topic_pattern
        if pattern is None:
            return self._settings.topics
        wanted = re.compile(pattern)
        return tuple(sorted(name for name in self._listed() if wanted.search(name) and not name.startswith("__")))

    def extents(self, keys: Collection[Key]) -> dict[Key, Extents]:
        """The offsets of these partitions; one that has no leader or does not exist is left out.

        Raises:
            Misconfigured: access is refused.
            Unavailable: there is no answer.
        """
        firsts = self._ask(keys, _EARLIEST, committed=True)
        ends = self._ask(keys, _LATEST, committed=True)
        highs = self._ask(keys, _LATEST, committed=False)
        answers = [self._offsets(asked) for asked in (firsts, ends, highs)]
        return {key: Extents(*(answer[key] for answer in answers)) for key in keys if all(key in answer for answer in answers)}

    def ends(self, keys: Collection[Key]) -> tuple[dict[Key, Future[Any]], dict[Key, Future[Any]]]:
        """Ask for the read-committed ends, and where the logs themselves end, open transactions included; returns at once."""
        return self._ask(keys, _LATEST, committed=True), self._ask(keys, _LATEST, committed=False)

    def since(self, keys: Collection[Key], milliseconds: int) -> dict[Key, Position | None]:
        """The first offset at or after a time; None where there is none.

        Raises:
            Misconfigured: access is refused.
            Unavailable: there is no answer.
        """
        found = self._offsets(self._ask(keys, OffsetSpec.for_timestamp(milliseconds), committed=True))
        return {key: offset if offset >= 0 else None for key, offset in found.items()}

    def cleanup_policy(self, topic: str) -> str:
        """The topic's `cleanup.policy`; every policy at once where it may not be asked.

        Raises:
            Unavailable: there is no answer.
        """
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        future = next(iter(self._admin.describe_configs([resource], request_timeout=self._settings.request_seconds_max).values()))
        try:
            return str(self.wait_for(future, self._settings.request_seconds_max)["cleanup.policy"].value)
        except (KafkaException, TimeoutError) as error:
            inside = kafka_error(error)
            if inside is not None and verdict(inside).code == "SOURCE_AUTH":
                return "compact,delete"
            raise self.failed(error, f"asking for the settings of topic {topic}") from error

    def unreadable(self, names: Collection[str], group: str) -> list[str]:
        """Which of these topics, and whether the group, may not be read, in words.

        What a broker does not say is taken to be granted: reading will tell.

        Raises:
            Unavailable: there is no answer.
        """
        if self._settings.topic_ids == "ignored":
            return []  # Brokers that know no topic ids do not answer these questions.
        patience = self._settings.request_seconds_max
        collection = TopicCollection(sorted(names))
        topics = self._admin.describe_topics(collection, include_authorized_operations=True, request_timeout=patience)
        lacking = [f"topic {name}" for name, future in topics.items() if not self._may_read(future, f"topic {name}")]
        return lacking if self._may_join(group) else [*lacking, f"group {group}"]

    def _may_join(self, group: str) -> bool:
        """Asked again while the group has no coordinator, as the first one of a new cluster has none for a moment."""
        deadline = self._clock.monotonic() + self._settings.request_seconds_max
        while True:
            patience = max(_SERVE_SECONDS, deadline - self._clock.monotonic())
            asked = self._admin.describe_consumer_groups([group], include_authorized_operations=True, request_timeout=patience)
            try:
                return self._may_read(asked[group], f"group {group}")
            except Unavailable:
                if self._clock.monotonic() >= deadline:
                    raise
                self._clock.sleep(_ASK_AGAIN_SECONDS)

    def _may_read(self, future: Future[Any], what: str) -> bool:
        try:
            operations = self.wait_for(future, self._settings.request_seconds_max).authorized_operations
        except (KafkaException, TimeoutError) as error:
            inside = kafka_error(error)
            if inside is not None and verdict(inside).code == "SOURCE_AUTH":
                return False
            if inside is not None and verdict(inside).act is Act.STOP:
                return True
            raise Unavailable("SOURCE_DOWN", f"asking for the rights on {what}: {error}", next_step="Try again.") from error
        return not operations or AclOperation.READ in operations

    def _ask(self, keys: Collection[Key], spec: Any, *, committed: bool) -> dict[Key, Future[Any]]:
        if not keys:
            return {}
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        asked = {TopicPartition(topic, partition): spec for topic, partition in keys}
        answers = self._admin.list_offsets(asked, isolation_level=level, request_timeout=self._settings.request_seconds_max)
        return {(place.topic, place.partition): future for place, future in answers.items()}

    def _offsets(self, asked: Mapping[Key, Future[Any]]) -> dict[Key, Position]:
        found: dict[Key, Position] = {}
        for (topic, partition), future in asked.items():
            try:
                found[topic, partition] = self.wait_for(future, self._settings.request_seconds_max).offset
            except (KafkaException, TimeoutError) as error:
                inside = kafka_error(error)
                if inside is not None and (verdict(inside).code == "TOPIC_GONE" or inside.code() in _NO_LEADER):
                    continue
                raise self.failed(error, f"asking for the offsets of {topic}[{partition}]") from error
        return found

    def _listed(self) -> Mapping[str, Any]:
        try:
            return self._admin.list_topics(timeout=self._settings.request_seconds_max).topics
        except KafkaException as error:
            # This question is the one that serves nothing while it waits: why nobody answers has still to be heard.
            self.serve()
            raise self.failed(error, "listing topics") from error

    def wait_for(self, future: Future[Any], wait_seconds_max: float) -> Any:
        """The answer, once it is there. A refused login ends the wait: the client would go on trying for ever.

        Raises:
            KafkaException, TimeoutError: for `failed`.
        """
        deadline = self._clock.monotonic() + wait_seconds_max
        while not future.done() and self._clock.monotonic() < deadline and not self._refused():
            self.serve()
            wait([future], timeout=_SERVE_SECONDS)
        answer = future.result(0)
        self._heard = None
        return answer

    def serve(self) -> None:
        """Let the client speak: errors, warnings, tokens to renew. Without this it keeps them to itself."""
        self._admin.poll(0)

    def _hear(self, error: KafkaError) -> None:
        """A refused login is said here only: questions just find no answer."""
        if verdict(error).code == "SOURCE_AUTH" or self._heard is None:
            self._heard = error

    def _refused(self) -> bool:
        return self._heard is not None and verdict(self._heard).code == "SOURCE_AUTH"

    def failed(self, error: BaseException, doing: str) -> LandfastError:
        """Our error for the driver's, with what the client itself had to say."""
        inside = kafka_error(error)
        heard, self._heard = self._heard, None
        if heard is not None and (inside is None or verdict(inside).act is Act.RETRY):
            return raised_at_start(KafkaException(heard), doing)
        if isinstance(error, TimeoutError):
            return Unavailable("SOURCE_DOWN", f"{doing}: no answer in time", next_step="Start the brokers, or correct `servers`.")
        return raised_at_start(error, doing)
