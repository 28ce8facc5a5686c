"""What the suites share: how a broken promise is told, and the material of which batches are made."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from landfast.core.verify import digest
from landfast.errors import LandfastError
from landfast.model import Batch, Chunk, Decoded, Position, Rows, Span, Stream

E = TypeVar("E", bound=LandfastError)

MakeRows = Callable[[Sequence[bytes]], Rows]
"""Turns values into rows of the kind that the sink under test understands."""


class PromiseBroken(AssertionError):
    """What is under test does not keep a promise of its port."""


def demand(condition: object, message: str) -> None:
    """Raise PromiseBroken unless `condition` holds."""
    if not condition:
        raise PromiseBroken(message)


def demand_equal(found: object, expected: object, what: str) -> None:
    """Raise PromiseBroken unless both are equal; says what was found."""
    if found != expected:
        message = f"{what}: expected {expected!r}, found {found!r}"
        raise PromiseBroken(message)


def demand_raises(kind: type[E], call: Callable[[], object], what: str) -> E:
    """Call, and raise PromiseBroken unless it raises `kind`, which is returned."""
    try:
        call()
    except kind as error:
        return error
    message = f"{what}: expected {kind.__name__}, and nothing was raised"
    raise PromiseBroken(message)


@dataclass(frozen=True, slots=True)
class Part:
    """What a batch shall hold of one stream: `values` from `start` on, one per offset.

    A value that begins with `bad` is dead, null is skipped as a tombstone, everything else becomes a row. `end` may lie behind the
    last value, over a gap.
    """

    stream: Stream
    start: Position
    values: Sequence[bytes | None] = ()
    end: Position | None = None
    first: bool = False


@dataclass(frozen=True, slots=True)
class Material:
    """Makes batches for a sink out of parts."""

    make_rows: MakeRows
    epochs: Mapping[Stream, int] = field(default_factory=dict)

    def batch(self, number: int, *parts: Part) -> Batch:
        """A batch with one span per part."""
        decoded = tuple(self._decoded(part) for part in parts)
        spans = tuple(_span(part, each) for part, each in zip(parts, decoded, strict=True))
        return Batch(number, spans, {part.stream: self.epochs.get(part.stream, 1) for part in parts}, decoded)

    def _decoded(self, part: Part) -> Decoded:
        kept = [index for index, value in enumerate(part.values) if value is not None and not value.startswith(b"bad")]
        tombstones = [index for index, value in enumerate(part.values) if value is None]
        rows = self.make_rows([value for index in kept if (value := part.values[index]) is not None])
        skips = {"tombstone": tombstones} if tombstones else {}
        return Decoded(chunk_from(part), rows, kept, (), skips)


def chunk_from(part: Part) -> Chunk:
    """The chunk that covers a part."""
    count = len(part.values)
    end = part.start + count if part.end is None else part.end
    return Chunk(
        stream=part.stream,
        epoch=1,
        start=part.start,
        end=end,
        values=list(part.values),
        keys=[None] * count,
        headers=None,
        offsets=array("q", range(part.start, part.start + count)),
        timestamps=array("q", [1_700_000_000_000] * count),
        nbytes=sum(len(value or b"") for value in part.values),
    )


def _span(part: Part, decoded: Decoded) -> Span:
    read = len(part.values)
    written = decoded.rows.num_rows
    skipped = {reason: len(indices) for reason, indices in decoded.skips.items()}
    dead = read - written - sum(skipped.values())
    return Span(part.stream, part.start, decoded.chunk.end, read, written, dead, skipped, digest([decoded.chunk]), part.first)
