"""What a replay says of itself in its commit: which records that had been dead letters are rows from then on.

It tells a proof whose these rows are until their resolutions do: a replay may be killed between the two.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from landfast.model import Position, Stream

KEY = "landfast.replay"
FORMAT = 1
Range = tuple[Position, Position]


def replay_metadata(run_id: str, places: Iterable[tuple[Stream, int]]) -> dict[str, str]:
    """What the commit of a replay says of itself in its `commitInfo`, for the letters of these streams and offsets."""
    by_stream: dict[Stream, list[int]] = {}
    for stream, offset in places:
        by_stream.setdefault(stream, []).append(offset)
    told = [[*stream, _ranges(offsets)] for stream, offsets in sorted(by_stream.items())]
    rows = sum(map(len, by_stream.values()))
    return {KEY: json.dumps({"format": FORMAT, "run": run_id, "rows": rows, "letters": told}, separators=(",", ":"))}


def told_by_replay(info: Mapping[str, Any]) -> dict[Stream, list[Range]]:
    """The offsets that a replay has landed, as ranges; nothing where the commit is none, or says something that we do not write."""
    if KEY not in info:
        return {}
    try:
        told = json.loads(str(info[KEY]))["letters"]
        return {Stream(str(topic), str(topic_id), int(number)): _checked(ranges) for topic, topic_id, number, ranges in told}
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}


def _ranges(offsets: Iterable[int]) -> list[list[int]]:
    ranges: list[list[int]] = []
    for offset in sorted(set(offsets)):
        if ranges and ranges[-1][1] == offset:
            ranges[-1][1] = offset + 1
        else:
            ranges.append([offset, offset + 1])
    return ranges


def _checked(ranges: Sequence[Sequence[int]]) -> list[Range]:
    return [(int(start), int(end)) for start, end in ranges]
