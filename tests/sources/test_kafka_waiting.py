"""A worker that the group leaves empty-handed, or does not let in yet, says so."""

from __future__ import annotations

from typing import Any

import pytest

from landfast.events import Notice
from landfast.sources.kafka_notices import Notices
from landfast.sources.kafka_settings import KafkaSettings
from landfast.sources.kafka_waiting import Absence, GroupWait, NameWait
from tests.sources.kafka_world import Noted, WallClock


def waiting(noted: Noted, **changes: Any) -> GroupWait:
    """A wait that tells `noted`, with settings of its own."""
    settings = KafkaSettings(servers="127.0.0.1:1", group="crew", topics=("t",), **changes)
    return GroupWait(settings, Notices(noted, WallClock(), 0.0, {}))


def told(noted: Noted) -> list[Notice]:
    """What was said."""
    return [event for event in noted.events if isinstance(event, Notice)]


@pytest.mark.parametrize(
    ("changes", "session"), [({"session_seconds": 7.5}, "7.5 s"), ({"protocol": "consumer"}, "of the group on the broker")]
)
def test_a_wait_for_partitions_is_told_once_each_time(changes: dict[str, Any], session: str) -> None:
    """After five seconds with nothing, with the group and how long dead members keep theirs; again only after there was something."""
    noted = Noted()
    wait = waiting(noted, **changes)
    for now, ours in [(0.0, 0), (4.9, 0), (5.0, 0), (60.0, 0), (61.0, 2), (62.0, 0), (66.9, 0)]:
        wait.turn(now, ours)
    assert [notice.code for notice in told(noted)] == ["GROUP_WAITING"]
    assert "group crew" in told(noted)[0].message
    assert session in told(noted)[0].message
    wait.turn(67.0, 0)
    assert [notice.code for notice in told(noted)] == ["GROUP_WAITING"] * 2


def test_a_worker_with_partitions_says_nothing() -> None:
    """Being idle is not being without partitions."""
    noted = Noted()
    wait = waiting(noted)
    for now in range(100):
        wait.turn(float(now), 1)
    assert told(noted) == []


def test_a_name_that_is_held_is_asked_for_once_a_second_and_not_for_ever() -> None:
    """It is told once, with name, group and how long we ask; after that time the answer is no. A name that was given ends it."""
    noted = Noted()
    settings = KafkaSettings(
        servers="127.0.0.1:1", group="crew", topics=("t",), protocol="consumer", instance_id="w-1", instance_seconds_max=3.0
    )
    wait = NameWait(settings, Notices(noted, WallClock(), 0.0, {}))
    assert not wait.waiting
    assert not wait.due(0.0)
    assert [wait.refused(now) for now in (0.0, 1.0, 2.9, 3.0)] == [True, True, True, False]
    assert (wait.waiting, wait.due(3.9), wait.due(4.0)) == (True, False, True)
    wait.asked()
    assert (wait.waiting, wait.due(9.0)) == (False, False)
    (notice,) = told(noted)
    assert (notice.code, notice.severity) == ("GROUP_WAITING", "info")
    assert "group crew holds the name w-1" in notice.message
    assert "for 3 s" in notice.message
    wait.over()
    assert wait.refused(100.0)
    assert len(told(noted)) == 2


@pytest.mark.parametrize("said", [{"session_seconds": 2.0}, {"session_seconds": 9.0, "options": {"session.timeout.ms": "2000"}}])
def test_a_standstill_excuses_the_loss_of_a_name_once_and_for_a_while(said: dict[str, Any]) -> None:
    """Who is at work has no excuse; who stood still for most of the session has one, told with the name, and none half a minute later."""
    noted = Noted()
    settings = KafkaSettings(servers="127.0.0.1:1", group="crew", topics=("t",), instance_id="w-1", **said)
    absence = Absence(settings, Notices(noted, WallClock(), 0.0, {}))
    for now in (0.0, 1.0, 2.0):
        absence.polled(now)
    assert not absence.excuses(2.0)
    for now in (3.3, *range(4, 34)):
        absence.polled(now)
    assert [absence.excuses(now) for now in (33.2, 33.3)] == [True, False]
    for now in range(40, 71):
        absence.polled(now)
    assert not absence.excuses(70.1)
    assert absence.excuses(72.0), "it may be told in the very poll that stood still"
    first, _ = told(noted)
    assert (first.code, "the name w-1" in first.message, "for 2 s" in first.message) == ("GROUP_REJOINED", True, True)
