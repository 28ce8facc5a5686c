"""Which rare states a world in which letters are tried again has been in: what `reached` asks of all worlds, asked of these."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from landfast import events
from landfast.errors import Conflict
from landfast.testing.faults import ROUND_MAY_BE_UNAVAILABLE, ROUND_MAY_CONFLICT, ROUND_MAY_LOSE_ITS_ANSWER, Kind, When
from landfast.testing.world.ailing import AILING, SORE
from landfast.testing.world.later import ROUND_PLACES

if TYPE_CHECKING:
    from landfast.testing.world.world import World

STATES = (
    "a letter landed by itself",
    "a letter refused again",
    "a letter given up",
    "a record that waited behind another of its key landed",
    "a record that the decoder refused for a while landed",
    "a record that the table refused for a while landed",
    "a tombstone that waited and was skipped",
    "a letter without a key tried again",
    "a letter replayed by a person",
    "a letter discarded by a person",
    "a letter tried again by another worker than the one that buried it",
    "a former owner stopped by the fence of a round",
    "nothing read since too many letters wait",
    "reading went on since fewer letters wait",
    "a bounded run that left letters waiting",
    "what was in flight read again since a round freed a key",
    "what was in flight read again since a key was found to wait",
)


def expected_later() -> tuple[str, ...]:
    """Every state that such a campaign has to reach: each call of a round failed in every way that it can, and what those lead to."""
    places = sorted(f"{port}.{method}" for port, method in ROUND_PLACES)
    crashes = [f"a crash {when.value} {place}" for place in places for when in When]
    unavailable = [f"{port}.{method} unavailable" for port, method in sorted(ROUND_MAY_BE_UNAVAILABLE)]
    conflicts = [f"{port}.{method} in conflict" for port, method in sorted(ROUND_MAY_CONFLICT)]
    lost = [
        f"an answer of {port}.{method} lost {when.value} the effect" for port, method in sorted(ROUND_MAY_LOSE_ITS_ANSWER) for when in When
    ]
    stood = [f"{kind.value} {when.value} {place}" for kind in (Kind.FROZEN, Kind.SLOW) for place in places for when in When]
    return (*crashes, *unavailable, *conflicts, *lost, *stood, *STATES)


def reached_later(world: World) -> Iterator[str]:
    """Each of these states that was met, as often as it was."""
    yield from _of_letters(world)
    for worker in world.workers:
        yield from _of_events(worker.observer.events)
        if worker.report is not None and world.schedule.sizes.until_end and worker.report.waiting:
            yield "a bounded run that left letters waiting"
        for call, error in worker.plan.raised:
            if isinstance(error, Conflict) and call.port == "retries":
                yield "a former owner stopped by the fence of a round"


def _of_events(heard: tuple[events.Event, ...]) -> Iterator[str]:
    before: events.Event | None = None
    for event in heard:
        match event:
            case events.LettersRetried():
                if event.landed:
                    yield "a letter landed by itself"
                if event.refused:
                    yield "a letter refused again"
                if event.given_up:
                    yield "a letter given up"
            case events.Notice(code="RETRY_BACKLOG"):
                full = event.severity == "warning"
                yield "nothing read since too many letters wait" if full else "reading went on since fewer letters wait"
            case events.StreamGained() if isinstance(before, events.LettersRetried | events.LettersWaiting):
                yield "what was in flight read again since a round freed a key"
            case events.StreamGained() if isinstance(before, events.BatchPrepared):
                yield "what was in flight read again since a key was found to wait"
        if not isinstance(event, events.MemoryHeld | events.RecordsRead | events.StreamGained | events.StaleDropped):
            before = event


def _of_letters(world: World) -> Iterator[str]:
    letters = {(letter.stream, letter.offset): letter for letter in world.store.letters}
    for commit in world.table.commits:
        for place, word in commit.resolved.items():
            letter = letters[place]
            if place in world.by_hand:
                yield "a letter discarded by a person" if word == "discarded" else "a letter replayed by a person"
            elif word == "skipped":
                yield "a tombstone that waited and was skipped"
            else:
                if letter.phase == "wait":
                    yield "a record that waited behind another of its key landed"
                if (letter.value or b"").startswith((AILING, SORE)):
                    ailed = "decoder" if (letter.value or b"").startswith(AILING) else "table"
                    yield f"a record that the {ailed} refused for a while landed"
                if letter.key is None:
                    yield "a letter without a key tried again"
                if world.store.buriers[place] != commit.run_id:
                    yield "a letter tried again by another worker than the one that buried it"
