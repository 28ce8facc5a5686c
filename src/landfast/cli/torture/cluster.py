"""What a torture has on the brokers: topics, a group and the group's settings, and nothing of them left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from landfast.errors import Misconfigured, Unavailable
from landfast.system import SystemClock

ANSWER_SECONDS_MAX = 10.0
REMOVE_SECONDS_MAX = 90.0
"""The group waits for those of its members that were killed, as long as their session."""


_KEPT = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1", "segment.bytes": str(4 * 1024 * 1024)}
"""How long the brokers keep a topic that is made without a word is for them to say; here nothing may go before it is judged.

For each fetch a broker looks through every transaction that was called off in the segment, and this load calls off many: in segments of
a gibibyte, after ten minutes, that took a quarter of two cores.
"""

_SESSION, _HEARTBEAT = "consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"
_HEARTBEATS_PER_SESSION = 3
_SESSION_SECONDS = 45.0
"""Of a group of the newer protocol, where the brokers do not say: what they come with."""

_GONE = ("", "UNKNOWN_TOPIC_OR_PART", "GROUP_ID_NOT_FOUND")
"""What is not there, or never was, is as good as deleted."""

_NO_ANSWER = ("_TIMED_OUT", "_TRANSPORT", "REQUEST_TIMED_OUT")

_NOT_YET = ("NON_EMPTY_GROUP", "COORDINATOR_NOT_AVAILABLE", "COORDINATOR_LOAD_IN_PROGRESS", "NOT_COORDINATOR")
"""A group that waits for its dead, and brokers that have had no group so far."""


@contextmanager
def connected(client: Mapping[str, str], servers: str) -> Iterator[Any]:
    """Somebody who may change things there, once they answer.

    Raises:
        Unavailable: the brokers do not answer.
    """
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({**client, "log_level": "0"})
    try:
        admin.list_topics(timeout=ANSWER_SECONDS_MAX)
    except KafkaException as error:
        message = f"no broker at {servers} answers within {ANSWER_SECONDS_MAX:g} s ({error.args[0].name()})"
        next_step = "Check --servers and, for a cluster with logins or TLS, the options. Without --servers an embedded broker is used."
        raise Unavailable("SOURCE_DOWN", message, next_step=next_step) from error
    yield admin


@contextmanager
def topics(admin: Any, names: Sequence[str], partitions: int, group: str, tell: Callable[[str], None]) -> Iterator[None]:
    """These topics, and in the end no topics and no group; `tell` hears of what could not be deleted.

    Raises:
        Misconfigured: the brokers refuse.
    """
    try:
        _make(admin, names, partitions)
        yield
    finally:
        left = _removed(admin, group, names)
        if left:
            tell(f"These could not be deleted, delete them yourself: {', '.join(left)}")


@contextmanager
def lasting_topics(admin: Any, names: Sequence[str], partitions: int) -> Iterator[None]:
    """These topics, to stay.

    Raises:
        Misconfigured: the brokers refuse.
    """
    _make(admin, names, partitions)
    yield


def _make(admin: Any, names: Sequence[str], partitions: int) -> None:
    from confluent_kafka.cimpl import NewTopic

    made = admin.create_topics([NewTopic(name, partitions, config=_KEPT) for name in names], request_timeout=ANSWER_SECONDS_MAX)
    for name, future in made.items():
        refusal = _refusal(future)
        if refusal in _NO_ANSWER:
            message = f"topic {name} cannot be made: no broker has answered within {ANSWER_SECONDS_MAX:g} s"
            raise Unavailable("SOURCE_DOWN", message, next_step="Look at the brokers, and delete the topic if it came into being.")
        if refusal:
            message = f"topic {name} cannot be made ({refusal})"
            next_step = (
                "Use a login that may create and delete topics, groups and transactional ids whose names begin with landfast-torture."
            )
            raise Misconfigured("SOURCE_AUTH", message, next_step=next_step)


def _removed(admin: Any, group: str, names: Sequence[str]) -> list[str]:
    """Delete topics and group; the names of what could not be deleted."""
    left = [name for name, future in admin.delete_topics(list(names)).items() if _refusal(future) not in _GONE]
    clock = SystemClock()
    deadline = clock.monotonic() + REMOVE_SECONDS_MAX
    while (refusal := _refusal(admin.delete_consumer_groups([group])[group])) in _NOT_YET and clock.monotonic() < deadline:
        clock.sleep(0.5)
    return left if refusal in _GONE else [*left, f"{group} ({refusal})"]


def _refusal(future: Any) -> str:
    """The name of the error with which a request ended; empty where it did not."""
    from confluent_kafka import KafkaException

    try:
        future.result(ANSWER_SECONDS_MAX)
    except KafkaException as error:
        return str(error.args[0].name())
    except TimeoutError:
        return _NO_ANSWER[0]
    return ""


@contextmanager
def session_of(admin: Any, group: str, wanted_seconds: float | None, tell: Callable[[str], None]) -> Iterator[float]:
    """How long a group of the newer protocol waits for a member that went without a word: for the brokers to say, and for the group.

    `wanted_seconds` is asked of them, if given, and taken back at the end; `tell` hears of a refusal.
    """
    if wanted_seconds is None:
        yield _told_session_seconds(admin, group)
        return
    milliseconds = int(wanted_seconds * 1000)
    refusal = _configured(admin, group, {_SESSION: str(milliseconds), _HEARTBEAT: str(milliseconds // _HEARTBEATS_PER_SESSION)})
    if refusal:
        tell(f"The brokers do not let the group have a session of {wanted_seconds:g} s ({refusal}).")
    clock = SystemClock()
    deadline = clock.monotonic() + (0.0 if refusal else ANSWER_SECONDS_MAX)
    try:
        # What was altered is seen a moment later.
        while (told := _told_session_seconds(admin, group)) != wanted_seconds and clock.monotonic() < deadline:
            clock.sleep(0.1)
        yield told
    finally:
        _configured(admin, group, {_SESSION: None, _HEARTBEAT: None})


def _told_session_seconds(admin: Any, group: str) -> float:
    from confluent_kafka import KafkaException

    resource = _resource(group)
    try:
        found = admin.describe_configs([resource])[resource].result(ANSWER_SECONDS_MAX)
    except (KafkaException, TimeoutError):
        return _SESSION_SECONDS
    return int(found[_SESSION].value) / 1000 if _SESSION in found else _SESSION_SECONDS


def _configured(admin: Any, group: str, values: Mapping[str, str | None]) -> str:
    """Set these of the group, None: as the brokers have it. The name of the error with which they refuse; empty where they do not."""
    api = _admin_api()
    acts = {True: api.AlterConfigOpType.DELETE, False: api.AlterConfigOpType.SET}
    entries = [api.ConfigEntry(name, value or "", incremental_operation=acts[value is None]) for name, value in values.items()]
    resource = _resource(group, incremental_configs=entries)
    return _refusal(admin.incremental_alter_configs([resource])[resource])


def _resource(group: str, **more: Any) -> Any:
    api = _admin_api()
    return api.ConfigResource(api.ResourceType.GROUP, group, **more)


def _admin_api() -> Any:
    """The client's module, of which its types know half."""
    import confluent_kafka.admin

    return confluent_kafka.admin
