"""A batch that a sink cannot take, without saying why: halved until the rows that it cannot take are alone.

Only where the error speaks of the data. What is wrong with a store, a right or a whole table is no row's fault, and buries none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from landfast.errors import ErrorClass, Refusal, Rejected, Unavailable, class_of
from landfast.model import Batch, Decoded, Stream
from landfast.ports import Sink

CALLS_MAX = 200
"""Calls of the sink for the search in one batch: a row in a million takes 40. What is not found by then is found when the rest is staged.

Each row that was found costs one call more.
"""

REASON = "refused_alone"


@dataclass(frozen=True, slots=True)
class _Part:
    """Some of the rows of one decoded chunk, as what a decoder might have made."""

    decoded: Decoded
    first: int
    end: int

    @property
    def places(self) -> Sequence[int]:
        """The index in the chunk of each row's record."""
        kept = self.decoded.kept
        return range(self.first, self.end) if kept is None else kept[self.first : self.end]

    @property
    def cut(self) -> Decoded:
        """The same as a decoded chunk of its own."""
        return Decoded(self.decoded.chunk, self.decoded.rows.slice(self.first, self.end - self.first), self.places)

    @property
    def place(self) -> tuple[Stream, int]:
        """Stream and offset of the first row."""
        return self.decoded.chunk.stream, self.decoded.chunk.offsets[self.places[0]]


def isolated(batch: Batch, sink: Sink, error: Unavailable) -> Unavailable | Rejected:
    """What to raise in the place of the error with which `sink` refused to stage the batch.

    That is an error that names the rows which the sink takes neither among others nor alone; or `error` itself, where it does not speak of
    the data, where every row is refused (then it is the table's fault), or where each row alone is taken.

    Raises:
        Rejected: the sink names rows after all.
        Unavailable: it fails for another reason meanwhile.
    """
    count = sum(decoded.rows.num_rows for decoded in batch.decoded)
    if class_of(error) is not ErrorClass.DATA or count < 2:  # noqa: PLR2004 — one row is alone, and nothing is known of others
        return error
    suspects: list[int] = []
    calls, taken = 0, False
    refused = [(0, count)]
    while refused and calls < CALLS_MAX:
        first, end = refused.pop()
        if end - first == 1:
            suspects.append(first)
            continue
        middle = (first + end) // 2
        # Both halves before either is looked into: that something is taken has to be found before the calls are used up.
        for half in ((middle, end), (first, middle)):
            calls += 1
            if _takes(sink, _among(batch, *half)):
                taken = True
            else:
                refused.append(half)
    if not taken:
        return error
    # Asked again after something was taken: a failure that has passed meanwhile buries no row that is sound.
    alone = [row for row in suspects if not _takes(sink, _among(batch, row, row + 1))]
    if not alone:
        return error
    calls += len(suspects)
    message = f"{error.code} of {count:,} rows: {len(alone)} of them are refused alone, found in {calls} calls of the sink"
    words = f"the sink takes other records of the batch, and not this one ({error.code})"
    refusals = [Refusal(*part.place, REASON, words) for row in alone for part in _parts(batch, row, row + 1)]
    return Rejected("ROWS_ISOLATED", message, refusals=tuple(refusals), next_step="Look at the dead letters.")


def _takes(sink: Sink, batch: Batch) -> bool:
    try:
        sink.stage(batch)
    except Unavailable as error:
        if class_of(error) is not ErrorClass.DATA:
            raise
        return False
    return True


def _among(batch: Batch, first: int, end: int) -> Batch:
    """A batch of these rows alone, counted over all chunks of `batch`; its spans count no other records."""
    parts = [part.cut for part in _parts(batch, first, end)]
    written = {span.stream: 0 for span in batch.spans}
    for part in parts:
        written[part.chunk.stream] += part.rows.num_rows
    spans = [replace(span, read=written[span.stream], written=written[span.stream], dead=0, skipped={}) for span in batch.spans]
    return replace(batch, spans=tuple(spans), decoded=tuple(parts))


def _parts(batch: Batch, first: int, end: int) -> Iterator[_Part]:
    base = 0
    for decoded in batch.decoded:
        low, high = max(first - base, 0), min(end - base, decoded.rows.num_rows)
        if low < high:
            yield _Part(decoded, low, high)
        base += decoded.rows.num_rows
