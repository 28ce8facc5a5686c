"""Batches that you write to Delta tables yourself, each of them once.

    from landfast import write_idempotent

    write_idempotent("lake/orders", rows, app_id="nightly-orders", version=20261122)

Written again, by whomever, at the same moment or a year later, the rows are there once, and each caller is told which call wrote them.
A `RunContext` (`start_run`, `resume_run`) counts the writes of a job, and `check_run` finds what is missing.
"""

from __future__ import annotations

from landfast.delta_api.runs import RunContext, check_run, resume_run, runs_in, start_run, write_attempts
from landfast.delta_api.together import TablesCommit, complete_commits, incomplete_commits, sealed
from landfast.delta_api.writes import write_idempotent
from landfast.sinks.delta.writing.attempts import WriteAttempt
from landfast.sinks.delta.writing.runs import RunCheck
from landfast.sinks.delta.writing.together import Completion
from landfast.sinks.delta.writing.values import DeltaWriteOptions, DeltaWriteResult, DeltaWriteRetryPolicy, IdempotentWriteOptions

__all__ = [
    "Completion",
    "DeltaWriteOptions",
    "DeltaWriteResult",
    "DeltaWriteRetryPolicy",
    "IdempotentWriteOptions",
    "RunCheck",
    "RunContext",
    "TablesCommit",
    "WriteAttempt",
    "check_run",
    "complete_commits",
    "incomplete_commits",
    "resume_run",
    "runs_in",
    "sealed",
    "start_run",
    "write_attempts",
    "write_idempotent",
]
