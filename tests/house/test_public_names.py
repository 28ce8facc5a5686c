"""The public names are a promise: adding one is a decision, and removing one breaks somebody's program."""

from __future__ import annotations

import landfast

PUBLIC = [
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


def test_the_public_names_are_these_and_sorted() -> None:
    """What `from landfast import …` offers, sorted, and nothing else."""
    assert landfast.__all__ == PUBLIC
    assert sorted(PUBLIC) == PUBLIC


def test_every_public_name_says_what_it_promises() -> None:
    """Each has a docstring of its own."""
    assert not [name for name in PUBLIC if not getattr(landfast, name).__doc__]
