"""Where a dead letter comes from, and the short id by which people name it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from landfast.model import Stream

_OFFSET_MAX = 2**63 - 1
_PARTITION_MAX = 2**31 - 1
_SHORT = re.compile(r"([A-Za-z0-9._-]{1,249})-([0-9]{1,10})-([0-9]{1,19})(?:@([A-Za-z0-9_-]{1,64}))?")


class Coordinates(NamedTuple):
    """Where a letter comes from, in the order in which letters are gone through: by offset, so that each stream's come in its order."""

    offset: int
    topic: str
    partition: int
    topic_id: str

    @property
    def stream(self) -> Stream:
        """The stream."""
        return Stream(self.topic, self.topic_id, self.partition)


def coordinates_of(row: Mapping[str, Any]) -> Coordinates:
    """The coordinates in a row of letters."""
    return Coordinates(row["offset"], row["topic"], row["partition"], row["topic_id"])


class Named(NamedTuple):
    """What an id of a letter says. Either `whole`, the id in the letters' own table, or the rest; without `topic_id` any incarnation."""

    whole: str | None
    topic: str = ""
    partition: int = -1
    offset: int = -1
    topic_id: str | None = None

    def names(self, row: Mapping[str, Any]) -> bool:
        """Whether it names this letter."""
        if self.whole is not None:
            return bool(row["id"] == self.whole)
        place = (row["topic"], row["partition"], row["offset"])
        return place == (self.topic, self.partition, self.offset) and self.topic_id in (None, row["topic_id"])


def short_id(row: Mapping[str, Any], *, of_its_topic_id: bool = False) -> str:
    """The id of a letter as people are shown it: topic, partition, offset; `of_its_topic_id`: also which incarnation of the topic.

    Where a name of the topic would make it another's, the whole id of the letters' own table.
    """
    text = f"{row['topic']}-{row['partition']}-{row['offset']}" + (f"@{row['topic_id']}" if of_its_topic_id else "")
    said = parsed_id(text)
    return text if said is not None and said.whole is None and said.names(row) else str(row["id"])


def parsed_id(text: str) -> Named | None:
    """What an id says; None where no letter can have it. Takes any text: what comes from a command line may be any bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return None
    if "/" in text:
        return Named(text)
    match = _SHORT.fullmatch(text)
    if match is None:
        return None
    topic, partition, offset, topic_id = match.groups()
    known = int(partition) <= _PARTITION_MAX and int(offset) <= _OFFSET_MAX
    plain = partition == str(int(partition)) and offset == str(int(offset))
    return Named(None, topic, int(partition), int(offset), topic_id) if known and plain else None
