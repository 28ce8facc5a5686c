"""What every exception of every driver means, in one table, and what one exception means.

Each adapter keeps its part beside its driver, where the same rules decide what its exceptions become; this module puts them together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from confluent_kafka import KafkaError

from landfast.codes import CODES
from landfast.errors import (
    CLASS_OF_CODE,
    CLASS_OF_KIND,
    Broken,
    Conflict,
    ErrorClass,
    Halted,
    KnownError,
    LandfastError,
    Misconfigured,
    Rejected,
    Unavailable,
    class_of,
)
from landfast.sinks.delta import errors as delta
from landfast.sources import kafka_errors as kafka


@dataclass(frozen=True, slots=True)
class Classification:
    """What an exception means.

    error_class  what kind of thing it is
    code         ours, as `landfast explain CODE` knows it; empty where no pipeline meets the exception
    reason       in words, without the text of the exception: that may hold a secret or a value
    retried      whether a pipeline tries the same again by itself
    """

    error_class: ErrorClass
    code: str
    reason: str
    retried: bool


_OWN_CODE = "an error of Landfast under a code that is not one of its own"
_REASONS: dict[type[LandfastError], tuple[ErrorClass, str, str]] = {
    Misconfigured: (ErrorClass.PERMANENT, "settings, or their surroundings, are wrong", "refused before the first read"),
    Conflict: (ErrorClass.CONFLICT, "somebody else moved the position", "read again from the sink's position"),
    Rejected: (ErrorClass.DATA, "the sink cannot hold these rows", "they become dead letters, the rest lands"),
    Halted: (ErrorClass.PERMANENT, "a lane cannot go on until an operator decides", "the lane halts, others go on"),
    Broken: (ErrorClass.PERMANENT, "an invariant does not hold, or the table is damaged", "the route stops"),
    Unavailable: (ErrorClass.UNKNOWN, "not now; nothing is lost", "tried again; then the lanes halt"),
}


def table() -> tuple[KnownError, ...]:
    """Every error that is known: ours, then those of the drivers."""
    again = (Conflict, Unavailable)
    ours = [KnownError("landfast", one.__name__, kind, "", why, one in again, then) for one, (kind, why, then) in _REASONS.items()]
    ours += [replace(ours[-1], name=f"Unavailable: {kind}", error_class=one) for kind, one in CLASS_OF_KIND.items()]
    ours += [
        KnownError(
            "landfast", f"{code} as Misconfigured, Halted or Broken", kind, code, CODES[code].meaning, retried=False, then="as those"
        )
        for code, kind in CLASS_OF_CODE.items()
    ]
    return (*ours, *kafka.known_errors(), *delta.known_errors())


def classify(error: BaseException | KafkaError) -> Classification:
    """What an exception means: one of ours, one of a driver, or a stranger's.

    A Kafka error as callbacks get it is taken too. Of a class that neither a driver nor Python defines the text is not looked at: such an
    exception is what the nearest known class above it says, and unknown where that says nothing.
    """
    if isinstance(error, LandfastError):
        # Whoever writes a sink may have codes of their own.
        reason = CODES[error.code].meaning if error.code in CODES else _OWN_CODE
        return Classification(class_of(error), error.code, reason, isinstance(error, Conflict | Unavailable))
    known = kafka.known_code(error) if isinstance(error, KafkaError) else kafka.known_error(error) or delta.known_error(error)
    # A stranger's exception has come out of no call of ours, so nobody has met it under a code.
    code = "" if known.driver == delta.STRANGER else known.code
    return Classification(known.error_class, code, known.reason, known.retried)
