"""What a replay says of itself in its commit: which records that had been dead letters are rows from then on.

It tells a proof whose these rows are until their resolutions do: a replay may be killed between the two. In a table with one row per key,
where a row may make way for another, it says what became of them too, and is all that there is to tell that they have landed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from landfast.model import Position, Stream
from landfast.sinks.delta.log.record import Effect, effect_from_json, effect_to_json

KEY = "landfast.replay"
FORMAT = 1
Range = tuple[Position, Position]


UNKNOWN = "unknown"
"""Who has made a replay that does not say, as those of earlier versions do not."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who has made a replay, and in which run."""

    by: str = UNKNOWN
    run_id: str = UNKNOWN


@dataclass(frozen=True, slots=True)
class Told:
    """What a replay says of one stream: the offsets of the letters that it has landed.

    `effect` says what became of their rows in a table with one row per key; None in others.
    """

    stream: Stream
    ranges: tuple[Range, ...]
    effect: Effect | None = None

    @property
    def letters(self) -> int:
        """How many letters it has landed."""
        return sum(end - start for start, end in self.ranges)


@dataclass(frozen=True, slots=True)
class Actions:
    """How many actions of each kind the commit of a replay has: transactions that move, files taken out, files put in."""

    moved: int
    removed: int
    added: int


def replay_metadata(author: Author, told: Iterable[Told], actions: Actions) -> dict[str, str]:
    """What the commit of a replay says of itself in its `commitInfo`."""
    in_order = sorted(told, key=lambda one: one.stream)
    body: dict[str, Any] = {
        "format": FORMAT,
        "run": author.run_id,
        "by": author.by,
        "rows": sum(one.letters for one in in_order),
        "letters": [[*one.stream, list(one.ranges)] for one in in_order],
        "actions": [actions.moved, actions.removed, actions.added],
    }
    effects = [effect_to_json(one.effect) for one in in_order if one.effect is not None]
    if effects:
        body["effects"] = effects
    return {KEY: json.dumps(body, separators=(",", ":"))}


def told_by_replay(info: Mapping[str, Any]) -> tuple[Told, ...]:
    """What a replay says in its `commitInfo`; nothing where the commit is none, or says something that we do not write."""
    if KEY not in info:
        return ()
    try:
        body = json.loads(str(info[KEY]))
        effects = [effect_from_json(effect) for effect in body["effects"]] if "effects" in body else [None] * len(body["letters"])
        return tuple(
            Told(Stream(str(topic), str(topic_id), int(number)), checked_ranges(ranges), effect)
            for (topic, topic_id, number, ranges), effect in zip(body["letters"], effects, strict=True)
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return ()


def author_of_replay(info: Mapping[str, Any]) -> Author:
    """Who has made the replay, as far as its `commitInfo` says."""
    try:
        body = json.loads(str(info[KEY]))
        return Author(str(body.get("by", UNKNOWN)), str(body.get("run", UNKNOWN)))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Author()


def actions_of_replay(info: Mapping[str, Any]) -> Actions | None:
    """How many actions the commit of a replay has by its own word; None where it is none, or does not say."""
    try:
        moved, removed, added = json.loads(str(info[KEY]))["actions"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return Actions(moved, removed, added)


def ranges_among(offsets: Iterable[int]) -> tuple[Range, ...]:
    """The offsets as ranges, ascending."""
    ranges: list[Range] = []
    for offset in sorted(set(offsets)):
        if ranges and ranges[-1][1] == offset:
            ranges[-1] = (ranges[-1][0], offset + 1)
        else:
            ranges.append((offset, offset + 1))
    return tuple(ranges)


def checked_ranges(ranges: Sequence[Sequence[int]]) -> tuple[Range, ...]:
    """Ranges as JSON has them. Raises ValueError or TypeError for what is none."""
    return tuple((int(start), int(end)) for start, end in ranges)
