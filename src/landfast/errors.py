"""Every error Landfast raises. The branches say what the runner does next.

    LandfastError
    ├── Misconfigured   settings or their surroundings are wrong: refused before the first read          exit 2
    ├── Conflict        somebody else moved the sink's position: forget, read it again, go on
    ├── Rejected        these rows cannot land: they become dead letters, the rest lands
    ├── Unavailable     not now: nothing is lost, try again, and halt the lanes when retries end          exit 3
    ├── Halted          this lane cannot go on until an operator decides; others go on                    exit 3
    └── Broken          an invariant does not hold or the table is damaged: stop, never retry             exit 4

Each carries a stable code (`codes.py` explains it), the place (stream, position), what to do next, and survives pickling.
An adapter maps every exception of its driver to one of these in one table, with the cause chained.
"""

from __future__ import annotations

import copy
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

from landfast.model import Halt, Position, Stream


class ErrorClass(enum.StrEnum):
    """What kind of thing went wrong, whoever says so: what may be waited for, and who has to act."""

    TRANSIENT = "transient"
    """Not now: the same call may succeed later, and nobody needs to do anything but free a disk or start a broker."""
    THROTTLED = "throttled"
    """Too much was asked for: the same call succeeds later, and sooner if less is asked."""
    AUTH = "auth"
    """A credential or a right is missing. It may come back by itself, as when credentials are rotated."""
    CONFLICT = "conflict"
    """Somebody else was there first: look again, then decide."""
    DATA = "data"
    """Values that cannot be taken, now or later."""
    SCHEMA = "schema"
    """Columns or types that do not fit together."""
    PERMANENT = "permanent"
    """It stays so until a person changes something."""
    UNKNOWN = "unknown"
    """Nobody knows. It is treated as what may pass, and nothing is ever dropped for it."""


class LandfastError(Exception):
    """What went wrong, where, and what to do next.

    code        stable, upper case: `landfast explain CODE`
    stream      the stream concerned, or None
    position    the position concerned, or None
    next_step   one sentence for the operator
    where       what in the pipeline it concerns, such as the route with its table; empty where nobody knew better than the message
    """

    where: str = ""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        next_step: str = "",
        stream: Stream | None = None,
        position: Position | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.next_step = next_step
        self.stream = stream
        self.position = position

    def __str__(self) -> str:
        return f"{self.code}{f' at {self.place}' if self.place else ''}: {with_next(self.message, self.next_step)}"

    @property
    def place(self) -> str:
        """Where it went wrong, in words: what it concerns, the stream, the position, as far as they are known."""
        stream = "" if self.stream is None else f"{self.stream}" + ("" if self.position is None else f" offset {self.position}")
        return ", ".join(filter(None, (self.where, stream)))

    def at(self, where: str) -> Self:
        """The same error with what it concerns; whoever said so first was nearer."""
        self.where = self.where or where
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restored, (type(self), dict(self.__dict__)))


CLASS_OF_KIND: Mapping[str, ErrorClass] = MappingProxyType({**{one.value: one for one in ErrorClass}, "disk": ErrorClass.TRANSIENT})
"""What the kinds of Unavailable are."""
CLASS_OF_CODE: Mapping[str, ErrorClass] = MappingProxyType(
    {
        "BATCH_CORRUPT": ErrorClass.DATA,
        "KEY_UNUSABLE": ErrorClass.SCHEMA,
        "PARTITIONS_TOO_MANY": ErrorClass.DATA,
        "SCHEMA_CONFLICT": ErrorClass.SCHEMA,
        "SCHEMA_INVALID": ErrorClass.SCHEMA,
        "SINK_AUTH": ErrorClass.AUTH,
        "SOURCE_AUTH": ErrorClass.AUTH,
        "UNEXPECTED": ErrorClass.UNKNOWN,
    }
)
"""Errors that are not tried again (Misconfigured, Halted, Broken) are permanent, but for those with one of these codes."""


def class_of(error: LandfastError) -> ErrorClass:
    """The class of one of our errors."""
    match error:
        case Conflict():
            return ErrorClass.CONFLICT
        case Rejected():
            return ErrorClass.DATA
        case Unavailable():
            return CLASS_OF_KIND.get(error.kind, ErrorClass.UNKNOWN)
        case _:
            return CLASS_OF_CODE.get(error.code, ErrorClass.PERMANENT)


@dataclass(frozen=True, slots=True)
class KnownError:
    """One line of the table of errors.

    driver       who raises it
    name         the exception's class, the error code, or the text by which it is told from others of its class
    error_class  what kind of thing it is
    code         ours, under which the operator meets it; empty where it depends on the error
    reason       what it means
    retried      whether a pipeline tries the same again by itself
    then         what the pipeline does
    """

    driver: str
    name: str
    error_class: ErrorClass
    code: str
    reason: str
    retried: bool
    then: str


def halt_of(error: LandfastError) -> Halt:
    """Why a lane halts that this error stops."""
    return Halt(error.code, error.message, error.next_step)


def with_next(message: str, next_step: str) -> str:
    """What happened, and after a full stop what to do, where there is something to do."""
    if not next_step:
        return message
    stop = "" if message.endswith((".", "!", "?")) else "."
    return f"{message}{stop} Next: {next_step}"


def _restored(kind: type[LandfastError], fields: Mapping[str, Any]) -> LandfastError:
    error = kind.__new__(kind)
    Exception.__init__(error, fields["message"])
    error.__dict__.update(fields)
    return error


class Misconfigured(LandfastError):
    """Settings, or what they point to, are wrong. Raised before the first read; nothing was read or written."""


class Conflict(LandfastError):
    """The sink's position is not where the batch starts: another owner moved it. Nothing of the batch has landed."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row that a sink cannot land: its stream and offset, a stable reason, and words that do not show the value.

    `phase` and `attempts` are what its letter will say of them.
    """

    stream: Stream
    offset: int
    reason: str
    message: str
    phase: str = "write"
    attempts: int = 1


class Rejected(LandfastError):
    """These rows cannot land, ever; nothing of the batch has landed. They become dead letters and the rest is tried again."""

    def __init__(self, code: str, message: str, *, refusals: tuple[Refusal, ...], next_step: str = "") -> None:
        super().__init__(code, message, next_step=next_step)
        self.refusals = refusals


class Unavailable(LandfastError):
    """Not now: broker, store, disk or permission. Nothing is lost and nothing of the batch has landed; trying again is safe.

    `kind` is the error's class, as `ErrorClass` names it, or disk; each class may have a retry policy of its own.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        kind: str = "transient",
        next_step: str = "",
        stream: Stream | None = None,
        position: Position | None = None,
    ) -> None:
        super().__init__(code, message, next_step=next_step, stream=stream, position=position)
        self.kind = kind


class Halted(LandfastError):
    """This lane cannot go on until an operator decides. What was read and not landed is still in the log."""


class Broken(LandfastError):
    """An invariant does not hold, or what we stand on is damaged. The run stops; nothing is retried."""


def check(
    condition: object, message: str, *, code: str = "INVARIANT_BROKEN", stream: Stream | None = None, position: Position | None = None
) -> None:
    """Raise Broken unless `condition` holds. Unlike `assert` it is never compiled away.

    Raises:
        Broken: with `code`, the place and `message`.
    """
    if not condition:
        raise Broken(
            code,
            message,
            stream=stream,
            position=position,
            next_step="Stop, keep the table as it is, run `landfast verify`, and report this.",
        )


def together(errors: Sequence[LandfastError]) -> list[LandfastError]:
    """The errors, in order, with those that share code, place and next step in one that names them all, each in a line of its own."""
    groups: dict[tuple[str, str, str], list[LandfastError]] = {}
    for error in errors:
        groups.setdefault((error.code, error.place, error.next_step), []).append(error)
    return [_joined(group) for group in groups.values()]


def _joined(errors: Sequence[LandfastError]) -> LandfastError:
    if len(errors) == 1:
        return errors[0]
    joined = copy.copy(errors[0])
    joined.message = f"{len(errors)} findings\n" + "\n".join(f"  {error.message}" for error in errors)
    return joined
