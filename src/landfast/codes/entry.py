"""What one stable code says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """One stable code: the meaning, what is safe, and the next step."""

    meaning: str
    safe: str
    next_step: str


NOTHING_LOST = "Nothing is lost: what has not landed is still in the log, and the table's own position says where to go on."
NOTHING_DONE = "Nothing was read or written."
OTHERS_GO_ON = "What landed is untouched and what has not landed is not marked as done. The lane concerned stands still; other lanes go on."
