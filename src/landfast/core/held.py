"""Which keys of a stream wait: values that say of each record whether it is decoded, or waits behind an earlier one of its key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from landfast.errors import Refusal
from landfast.model import Chunk, Position

WAIT_PHASE, WAIT_REASON = "wait", "behind_retry"


@dataclass(frozen=True, slots=True)
class Held:
    """What a lane knows of its letters that are to be tried again. All that is in flight of a lane was cut under one and the same.

    keys     behind this offset the records of a key wait
    reasons  of the letters that are to be tried again; None: all of them
    """

    keys: Mapping[bytes, Position]
    reasons: frozenset[str] | None = None

    def later(self, phase: str, reason: str) -> bool:
        """Whether what was refused in this phase and for this reason is to be tried again; what only waits always is."""
        return self.reasons is None or reason in self.reasons or phase == WAIT_PHASE

    def behind(self, chunk: Chunk) -> dict[int, Refusal]:
        """The records of a chunk that wait behind an earlier one of their key, by their offsets."""
        if not self.keys:
            return {}
        return {
            offset: Refusal(chunk.stream, offset, WAIT_REASON, f"waits behind offset {self.keys[key]} of its key", WAIT_PHASE, 0)
            for key, offset in zip(chunk.keys, chunk.offsets, strict=True)
            if key in self.keys and key is not None and offset > self.keys[key]
        }

    def alike(self, other: Held, position: Position) -> bool:
        """Whether both say the same of every record from `position` on."""
        one, two = self.keys, other.keys
        return one.keys() == two.keys() and all(one[key] == two[key] or max(one[key], two[key]) < position for key in one)


def earliest(*several: Mapping[bytes, Position]) -> dict[bytes, Position]:
    """The least offset of each key."""
    least: dict[bytes, Position] = {}
    for keys in several:
        for key, offset in keys.items():
            least[key] = min(offset, least.get(key, offset))
    return least
