"""Checks on both sides of a boundary: what goes into a commit, and what the receipt says came of it."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import Any

from landfast.core.ledger import balanced
from landfast.errors import check
from landfast.model import Chunk, Decoded, Receipt, Span, Staged

DIGEST_CHARACTERS = 32


class Digest:
    """A digest over the length and bytes of each value in order; the same however the chunks were cut.

    SHA-256 over two streams, the lengths (int64, little endian, -1 for null) and the bytes, so that a long run of records is hashed
    without an object per record.
    """

    __slots__ = ("_contents", "_lengths")

    def __init__(self) -> None:
        self._lengths, self._contents = hashlib.sha256(), hashlib.sha256()

    def update(self, chunk: Chunk) -> None:
        """Go on over the values of `chunk`."""
        values: Any = chunk.values
        try:
            sizes, contents = list(map(len, values)), b"".join(values)
        except TypeError:
            sizes = [-1 if value is None else len(value) for value in values]
            contents = b"".join(filter(None, values))
        self._lengths.update(struct.pack(f"<{len(sizes)}q", *sizes))
        self._contents.update(contents)

    def text(self) -> str:
        """The digest so far: 32 hex characters, 128 bits."""
        return hashlib.sha256(self._lengths.digest() + self._contents.digest()).hexdigest()[:DIGEST_CHARACTERS]


def digest(chunks: Iterable[Chunk]) -> str:
    """The `Digest` of these chunks."""
    whole = Digest()
    for chunk in chunks:
        whole.update(chunk)
    return whole.text()


def check_decoded(decoded: Decoded) -> None:
    """Every record of the chunk became a row, a reject or a skip, and only one of them.

    Raises:
        Broken: the decoder lost or doubled a record.
    """
    chunk = decoded.chunk
    skipped = sum(len(indices) for indices in decoded.skips.values())
    accounted = decoded.rows.num_rows + len(decoded.rejects) + skipped
    check(
        accounted == len(chunk),
        f"a decoder made {decoded.rows.num_rows} rows, {len(decoded.rejects)} rejects and {skipped} skips of {len(chunk)} records",
        stream=chunk.stream,
        position=chunk.start,
    )
    kept = len(chunk) if decoded.kept is None else len(decoded.kept)
    check(kept == decoded.rows.num_rows, f"{decoded.rows.num_rows} rows for {kept} kept records", stream=chunk.stream, position=chunk.start)


def check_spans(spans: Sequence[Span]) -> None:
    """The equation holds in every span.

    Raises:
        Broken: it does not.
    """
    for span in spans:
        counts = f"read {span.read}, written {span.written}, dead {span.dead}, skipped {span.skipped}"
        check(balanced(span), f"the span {span.start} to {span.end} does not balance: {counts}", stream=span.stream, position=span.start)


def check_staged(staged: Staged, spans: Sequence[Span]) -> None:
    """What was staged is what was decoded.

    Raises:
        Broken: the sink staged other spans or another number of rows.
    """
    check(tuple(staged.spans) == tuple(spans), "a sink staged other spans than it was given")
    written = sum(span.written for span in spans)
    check(staged.rows == written, f"{staged.rows} rows were staged where the spans say {written}")


def check_receipt(receipt: Receipt, staged: Sequence[Staged]) -> None:
    """What landed is what was staged.

    Raises:
        Broken: the receipt says otherwise.
    """
    spans = tuple(span for part in staged for span in part.spans)
    check(tuple(receipt.spans) == spans, "a receipt names other spans than were committed")
    rows = sum(part.rows for part in staged)
    check(receipt.rows == rows, f"a receipt counts {receipt.rows} rows where {rows} were staged")
