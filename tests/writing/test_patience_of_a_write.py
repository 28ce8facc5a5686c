"""What a write of one's own tries again, and what it says at once."""

from __future__ import annotations

from typing import Literal

import pytest
from deltalake.exceptions import DeltaError, SchemaMismatchError
from pyarrow import ArrowInvalid

from landfast.errors import LandfastError, Unavailable
from landfast.sinks.delta.writing.persistence import Persistence
from landfast.sinks.delta.writing.values import DeltaWriteRetryPolicy
from landfast.testing.clock import ManualClock


def attempts_at(error: BaseException, auth: Literal["error", "retry"] = "error") -> int:
    """How often an act is tried that always fails so, of at most four times."""
    made: list[int] = []

    def act(attempt: int) -> None:
        made.append(attempt)
        raise error

    with pytest.raises(LandfastError):
        Persistence(DeltaWriteRetryPolicy(attempts_max=4, auth=auth), ManualClock()).tries("acting", act)
    return len(made)


@pytest.mark.parametrize(
    "error",
    [
        OSError("Generic S3 error: operation timed out"),
        OSError("503 Slow Down"),
        OSError(28, "No space left on device"),
        DeltaError("Invalid table version: 7"),
        RuntimeError("in words that nobody has seen"),
        Unavailable("OUTCOME_UNKNOWN", "m", kind="unknown"),
    ],
    ids=str,
)
def test_what_may_pass_is_tried_again(error: BaseException) -> None:
    """Also what is unknown."""
    assert attempts_at(error) == 4


@pytest.mark.parametrize(
    "error",
    [
        ArrowInvalid("Float value 1.5 was truncated converting to int64"),
        SchemaMismatchError("column a is missing"),
        FileNotFoundError(2, "No such file or directory"),
        OSError("404 Not Found: <Code>NoSuchBucket</Code>"),
        OSError(36, "File name too long"),
        DeltaError("Json error: Truncated record"),
    ],
    ids=str,
)
def test_what_no_waiting_mends_is_said_at_once(error: BaseException) -> None:
    """Whoever calls has to change something, and should not wait five minutes to hear of it."""
    assert attempts_at(error) == 1


@pytest.mark.parametrize(("auth", "attempts"), [("error", 1), ("retry", 4)])
def test_a_refused_credential_is_tried_again_where_the_policy_says_so(auth: Literal["error", "retry"], attempts: int) -> None:
    """Credentials that are rotated may come back; those of a person's job rarely do."""
    assert attempts_at(OSError("403 Forbidden"), auth) == attempts
