"""A member that the group gives nothing, or refuses: it says so, and knows whether to ask again."""

from __future__ import annotations

from landfast.sources.kafka_notices import Notices
from landfast.sources.kafka_settings import KafkaSettings, session_seconds_of

_QUIET_SECONDS = 5.0
_ASK_AGAIN_SECONDS = 1.0
_LONG_SHARE = 0.5
"""How much of its session a member has to stand still for: it may have been heard last a third of the session before."""
_FENCED_WITHIN_SECONDS = 30.0
"""How long after a standstill its consequences come: some heartbeats, and an answer that was on its way."""


class GroupWait:
    """Looks how long nothing has been ours, and tells it once each time."""

    def __init__(self, settings: KafkaSettings, notices: Notices) -> None:
        own = f"{session_seconds_of(settings):g} s with source.session_seconds"
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

    def fenced(self, now: float) -> None:
        """Our name went to another member, and we may ask for it at once."""
        self._again_at = now

    def due(self, now: float) -> bool:
        """Whether the group has refused us and it is time to ask it again."""
        return self._again_at is not None and now >= self._again_at

    def asked(self) -> None:
        """The group is asked again: no refusal stands."""
        self._again_at = None

    def over(self) -> None:
        """The group has taken us: what comes later is another story."""
        self._since = None


class Absence:
    """Knows whether the member that has taken our name may be ourselves.

    The group forgets a member that stood still beyond its session. When it goes on the driver joins anew under the same `instance_id`,
    and what its old membership has still on the way is refused as another member's; the driver takes that for its end. Seen with the
    classic protocol of a real broker, by workers that were stopped and continued.
    """

    def __init__(self, settings: KafkaSettings, notices: Notices) -> None:
        self._session_seconds = session_seconds_of(settings)
        self._name = settings.instance_id
        self._notices = notices
        self._polled_at: float | None = None
        self._back_at: float | None = None

    def polled(self, now: float) -> None:
        """Take note that we are at work; or that we are again."""
        if self._polled_at is not None and now - self._polled_at > _LONG_SHARE * self._session_seconds:
            self._back_at = now
        self._polled_at = now

    def excuses(self, now: float) -> bool:
        """Whether losing our name may come of having stood still a moment ago; each standstill excuses it once."""
        self.polled(now)
        back_at, self._back_at = self._back_at, None
        if back_at is None or now - back_at > _FENCED_WITHIN_SECONDS:
            return False
        self._notices.say(
            "GROUP_REJOINED",
            f"the name {self._name} went to another member, perhaps to ourselves: we had stood still, and the group waits for a "
            f"member for {self._session_seconds:g} s (source.session_seconds). What was ours is let go, and the group is joined anew, once",
        )
        return True
