"""A member that the group gives nothing says so: nobody should have to guess why a worker stands still."""

from __future__ import annotations

from landfast.sources.kafka_notices import Notices
from landfast.sources.kafka_settings import KafkaSettings

_QUIET_SECONDS = 5.0


class GroupWait:
    """Looks how long nothing has been ours, and tells it once each time."""

    def __init__(self, settings: KafkaSettings, notices: Notices) -> None:
        own = f"{settings.session_seconds:g} s with source.session_seconds"
        self._session = own if settings.protocol == "classic" else "a setting of the group on the broker"
        self._group = settings.group
        self._notices = notices
        self._since: float | None = None
        self._told = False

    def turn(self, now: float, ours: int) -> None:
        """Take note of how many partitions are ours now."""
        if ours:
            self._since, self._told = None, False
            return
        if self._since is None:
            self._since = now
        if not self._told and now - self._since >= _QUIET_SECONDS:
            self._told = True
            self._notices.say(
                "GROUP_WAITING",
                f"the group {self._group} has given us no partition for {_QUIET_SECONDS:g} s: members that died keep theirs until their "
                f"session ends ({self._session}), and a member more than there are partitions gets none",
                severity="info",
            )
