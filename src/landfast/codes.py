"""Every stable code an operator can meet: what it means, what is safe, what to do next. `landfast explain CODE` prints it.

The reference page `docs/reference/codes.md` is generated from this table, and a house test fails on a code that is used and not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Code:
    """One stable code: the meaning, what is safe, and the next step."""

    meaning: str
    safe: str
    next_step: str


_NOTHING_LOST = "Nothing is lost: what has not landed is still in the log, and the table's own position says where to go on."

CODES: Mapping[str, Code] = MappingProxyType(
    {
        # One entry per line group, sorted by name.
        "CONFIG_UNKNOWN": Code(
            "The settings name a key or a value that does not exist.",
            "Nothing was read or written.",
            "Correct the name; the message shows the nearest known one.",
        ),
        "CONFIG_UNSAFE": Code(
            "A setting would break the promise (auto commit, a silent offset reset, reading uncommitted records).",
            "Nothing was read or written.",
            "Remove the setting; Landfast owns it.",
        ),
        "DATA_EXPIRED": Code(
            "Retention removed records before they were read: the position lies below the log's first offset.",
            "What landed is untouched. The range in the message is gone from the log; other lanes go on.",
            "Restore the range from elsewhere, or accept the gap by setting the stream's position forward explicitly.",
        ),
        "INVARIANT_BROKEN": Code(
            "A check that must always hold did not hold. This is a defect in Landfast, or damage underneath it.",
            "The run stopped before the commit concerned; what had landed before stays as it is.",
            "Run `landfast verify`, keep the table as it is, and report the message.",
        ),
        "PIPELINE_CONFLICT": Code(
            "Another owner moved the position first; the fence refused our commit.",
            _NOTHING_LOST,
            "Nothing: the engine reads the position again. If it repeats, look for a second copy of this pipeline.",
        ),
    }
)
