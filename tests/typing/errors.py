"""What a program that embeds Landfast may rely on, as types: checked by mypy, never run."""

from __future__ import annotations

from typing import assert_type

from landfast import Classification, ErrorClass, classify
from landfast.errors import Conflict, Halted, LandfastError, Misconfigured, Rejected, Unavailable
from landfast.model import Position, Stream


def next_step_of(error: LandfastError) -> str:
    """Every error carries its code, its place and the next step as fields."""
    assert_type(error.code, str)
    assert_type(error.stream, Stream | None)
    assert_type(error.position, Position | None)
    return error.next_step


def what_to_do(error: LandfastError) -> str:
    """The branches of the tree tell apart what can be done."""
    match error:
        case Rejected():
            return ", ".join(refusal.reason for refusal in error.refusals)
        case Unavailable():
            return error.kind
        case Misconfigured() | Conflict() | Halted():
            return error.next_step
        case _:
            return error.message


def worth_waiting(error: Exception) -> bool:
    """Any exception has a class; the classes are known by name."""
    found = classify(error)
    assert_type(found, Classification)
    assert_type(found.error_class, ErrorClass)
    return found.retried and found.error_class not in {ErrorClass.AUTH, ErrorClass.PERMANENT}
