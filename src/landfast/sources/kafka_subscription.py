"""Which topics a pattern stands for, looked up again and again beside reading."""

from __future__ import annotations

from concurrent.futures import Future

from landfast.errors import LandfastError
from landfast.sources.kafka_cluster import KafkaCluster
from landfast.sources.kafka_notices import Notices
from landfast.sources.kafka_settings import KafkaSettings
from landfast.threads import Threads


class Subscription:
    """The names that the settings stand for. A pattern is ours to interpret, so that it means the same in every group protocol."""

    def __init__(self, settings: KafkaSettings, cluster: KafkaCluster, notices: Notices, names: tuple[str, ...]) -> None:
        self._cluster = cluster
        self._notices = notices
        self._names = names
        self._every_seconds = settings.topic_check_seconds
        self._look_at = 0.0
        self._looking: Future[tuple[str, ...]] | None = None
        # Listing topics is the one question that the driver only answers to who waits.
        self._thread = None if settings.topic_pattern is None else Threads("landfast-topics")

    @property
    def names(self) -> tuple[str, ...]:
        """The names as they were last seen."""
        return self._names

    def changed(self, now: float) -> tuple[str, ...] | None:
        """The names, if they are others than before; never waits."""
        if self._thread is None:
            return None
        if self._looking is None:
            if now >= self._look_at:
                self._look_at = now + self._every_seconds
                self._looking = self._thread.submit(self._cluster.subscribed)
            return None
        if not self._looking.done():
            return None
        looked, self._looking = self._looking, None
        try:
            names = looked.result()
        except LandfastError as error:
            self._notices.say(error.code, f"the topics could not be listed: {error.message}", about="pattern")
            return None
        if not names or names == self._names:
            return None
        self._names = names
        return names

    def close(self) -> None:
        """Stop looking. Idempotent."""
        if self._thread is not None:
            self._thread.close()
