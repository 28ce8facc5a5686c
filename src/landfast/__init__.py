"""Moves events from Kafka to Delta Lake exactly once, and proves it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from landfast.config import Settings
    from landfast.core.report import Outcome, RunReport
    from landfast.delta_api import (
        Completion,
        DeltaWriteOptions,
        DeltaWriteResult,
        DeltaWriteRetryPolicy,
        IdempotentWriteOptions,
        RunCheck,
        RunContext,
        TablesCommit,
        WriteAttempt,
        check_run,
        complete_commits,
        incomplete_commits,
        resume_run,
        runs_in,
        sealed,
        start_run,
        write_attempts,
        write_idempotent,
    )
    from landfast.error_table import Classification, classify
    from landfast.errors import Broken, Conflict, ErrorClass, Halted, LandfastError, Misconfigured, Rejected, Unavailable
    from landfast.model import Stream, Totals
    from landfast.pipeline import Pipeline
    from landfast.redrive import DeadLetter, DiscardReport, LetterFilter, Redrive, ReplayReport, StillOpen
    from landfast.service import Consumer, DeadLetterTopic, consume
    from landfast.sinks.service.records import Record, RecordsFailed
    from landfast.system import stop_on_signals

__all__ = [
    "Broken",
    "Classification",
    "Completion",
    "Conflict",
    "Consumer",
    "DeadLetter",
    "DeadLetterTopic",
    "DeltaWriteOptions",
    "DeltaWriteResult",
    "DeltaWriteRetryPolicy",
    "DiscardReport",
    "ErrorClass",
    "Halted",
    "IdempotentWriteOptions",
    "LandfastError",
    "LetterFilter",
    "Misconfigured",
    "Outcome",
    "Pipeline",
    "Record",
    "RecordsFailed",
    "Redrive",
    "Rejected",
    "ReplayReport",
    "RunCheck",
    "RunContext",
    "RunReport",
    "Settings",
    "StillOpen",
    "Stream",
    "TablesCommit",
    "Totals",
    "Unavailable",
    "WriteAttempt",
    "check_run",
    "classify",
    "complete_commits",
    "consume",
    "incomplete_commits",
    "resume_run",
    "runs_in",
    "sealed",
    "start_run",
    "stop_on_signals",
    "write_attempts",
    "write_idempotent",
]

_HOMES = {
    "StillOpen": "landfast.redrive",
    "ReplayReport": "landfast.redrive",
    "Redrive": "landfast.redrive",
    "LetterFilter": "landfast.redrive",
    "DiscardReport": "landfast.redrive",
    "DeadLetter": "landfast.redrive",
    "Classification": "landfast.error_table",
    "Completion": "landfast.delta_api",
    "Consumer": "landfast.service",
    "DeadLetterTopic": "landfast.service",
    "DeltaWriteOptions": "landfast.delta_api",
    "DeltaWriteResult": "landfast.delta_api",
    "DeltaWriteRetryPolicy": "landfast.delta_api",
    "IdempotentWriteOptions": "landfast.delta_api",
    "Outcome": "landfast.core.report",
    "Pipeline": "landfast.pipeline",
    "RunCheck": "landfast.delta_api",
    "Record": "landfast.sinks.service.records",
    "RecordsFailed": "landfast.sinks.service.records",
    "RunContext": "landfast.delta_api",
    "RunReport": "landfast.core.report",
    "Settings": "landfast.config",
    "Stream": "landfast.model",
    "TablesCommit": "landfast.delta_api",
    "WriteAttempt": "landfast.delta_api",
    "incomplete_commits": "landfast.delta_api",
    "write_attempts": "landfast.delta_api",
    "Totals": "landfast.model",
    "check_run": "landfast.delta_api",
    "classify": "landfast.error_table",
    "complete_commits": "landfast.delta_api",
    "consume": "landfast.service",
    "resume_run": "landfast.delta_api",
    "runs_in": "landfast.delta_api",
    "sealed": "landfast.delta_api",
    "start_run": "landfast.delta_api",
    "stop_on_signals": "landfast.system",
    "write_idempotent": "landfast.delta_api",
}


def __getattr__(name: str) -> object:
    # A name is imported when it is first asked for: whoever needs one piece must not load all of them.
    if name not in __all__:
        message = f"module 'landfast' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(_HOMES.get(name, "landfast.errors")), name)
