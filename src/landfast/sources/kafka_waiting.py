"""A member that the group gives nothing says so: nobody should have to guess why a worker stands still."""

from __future__ import annotations

from landfast.sources.kafka_notices import Notices
from landfast.sources.kafka_settings import KafkaSettings

_QUIET_SECONDS = 5.0
_ASK_AGAIN_SECONDS = 1.0


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


class NameWait:
    """Waits for a name that the group still holds for a worker before us.

    The newer protocol lets nobody take over an `instance_id` before the session of its last owner has ended: a worker that was killed is
    refused for so long when it comes back. A second living worker of that name is refused for ever.
    """

    def __init__(self, settings: KafkaSettings, notices: Notices) -> None:
        self._settings = settings
        self._notices = notices
        self._since: float | None = None
        self._again_at: float | None = None

    @property
    def waiting(self) -> bool:
        """Whether the group has refused us and was not asked again yet."""
        return self._again_at is not None

    def refused(self, now: float) -> bool:
        """The group has refused us; answers whether to ask it again, or whether that went on for too long."""
        if self._since is None:
            self._since = now
            group, name, bound = self._settings.group, self._settings.instance_id, self._settings.instance_seconds_max
            self._notices.say(
                "GROUP_WAITING",
                f"the group {group} holds the name {name} for a worker that was here before, until that one's session ends (a setting of "
                f"the group on the broker): asking again for {bound:g} s (source.instance_seconds_max)",
                about="name",
                severity="info",
            )
        self._again_at = now + _ASK_AGAIN_SECONDS
        return now - self._since < self._settings.instance_seconds_max

    def due(self, now: float) -> bool:
        """Whether the group has refused us and it is time to ask it again."""
        return self._again_at is not None and now >= self._again_at

    def asked(self) -> None:
        """The group is asked again: no refusal stands."""
        self._again_at = None

    def over(self) -> None:
        """The group has taken us: what comes later is another story."""
        self._since = None
