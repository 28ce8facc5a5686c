"""Moves events from Kafka to Delta Lake exactly once, and proves it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from landfast.config import Settings
    from landfast.core.report import Outcome, RunReport
    from landfast.errors import Broken, Conflict, Halted, LandfastError, Misconfigured, Rejected, Unavailable
    from landfast.model import Stream, Totals
    from landfast.pipeline import Pipeline
    from landfast.system import stop_on_signals

__all__ = [
    "Broken",
    "Conflict",
    "Halted",
    "LandfastError",
    "Misconfigured",
    "Outcome",
    "Pipeline",
    "Rejected",
    "RunReport",
    "Settings",
    "Stream",
    "Totals",
    "Unavailable",
    "stop_on_signals",
]

_HOMES = {
    "Outcome": "landfast.core.report",
    "Pipeline": "landfast.pipeline",
    "RunReport": "landfast.core.report",
    "Settings": "landfast.config",
    "Stream": "landfast.model",
    "Totals": "landfast.model",
    "stop_on_signals": "landfast.system",
}


def __getattr__(name: str) -> object:
    # A name is imported when it is first asked for: whoever needs one piece must not load all of them.
    if name not in __all__:
        message = f"module 'landfast' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(_HOMES.get(name, "landfast.errors")), name)
