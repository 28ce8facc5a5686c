"""Records that fail for a while, keys, and what a decoder and a table make of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from landfast.model import Chunk, Decoded
from landfast.ports import Decoder
from landfast.testing.memory import LandedRow

AILING, SORE = b"ailing", b"sore"
"""How a value begins that the decoder refuses, or the table, until the second that follows."""

_KEYS = (b"a", b"a", b"b", None)


def passing(kind: bytes, until_seconds: float, offset: int) -> bytes:
    """A value that fails until then."""
    return b"%s %d %d" % (kind, until_seconds, offset)


def key_of(pick: int, offset: int) -> bytes | None:
    """The key of a record, of a few that come again and again, or none."""
    return _KEYS[(pick + offset) % len(_KEYS)]


def fails(value: object, kind: bytes, now: float) -> bool:
    """Whether a value of this kind fails now."""
    return isinstance(value, bytes) and value.startswith(kind) and now < int(value.split()[1])


class AilingDecoder:
    """Another decoder, to which what ails looks bad until it passes."""

    def __init__(self, decoder: Decoder, now: Callable[[], float]) -> None:
        self._decoder = decoder
        self._now = now

    def decode(self, chunk: Chunk) -> Decoded:
        """As the other, of what is well."""
        now = self._now()
        values = [b"bad" if fails(value, AILING, now) else value for value in chunk.values]
        return self._decoder.decode(replace(chunk, values=values))


def refuse_sore(row: LandedRow, now: float) -> str | None:
    """A constraint of the table that is lifted after a while."""
    return "sore" if fails(row.row, SORE, now) else None
