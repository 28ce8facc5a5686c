"""Chunks and spans as hypothesis draws them: one place, so that every property is tried on the same shapes."""

from __future__ import annotations

from array import array

from hypothesis import strategies as st

from landfast.core.batching import size_of
from landfast.model import Chunk, Headers, Stream

STREAM = Stream("t", "id-1", 0)


@st.composite
def chunks(draw: st.DrawFn, records_max: int = 30) -> Chunk:
    """A chunk with gaps between its offsets, null and empty values and keys, and sometimes headers."""
    gaps = draw(st.lists(st.integers(0, 3), max_size=records_max))
    start = draw(st.integers(0, 1000))
    offsets = array("q")
    place = start
    for gap in gaps:
        place += gap
        offsets.append(place)
        place += 1
    count = len(gaps)
    values = draw(st.lists(st.none() | st.binary(max_size=12), min_size=count, max_size=count))
    keys = draw(st.lists(st.none() | st.binary(max_size=4), min_size=count, max_size=count))
    pair = st.tuples(st.text(max_size=3), st.none() | st.binary(max_size=3))
    headers: list[Headers] | None = draw(st.none() | st.lists(st.lists(pair, max_size=2), min_size=count, max_size=count))
    end = place + draw(st.integers(0, 3))
    timestamps = array("q", draw(st.lists(st.integers(-1, 2**40), min_size=count, max_size=count)))
    return Chunk(STREAM, 1, start, end, values, keys, headers, offsets, timestamps, size_of(values, keys, headers))


def records_of(*several: Chunk) -> list[tuple[object, ...]]:
    """The records of chunks as plain tuples, for comparing."""
    return [
        (
            chunk.offsets[index],
            chunk.values[index],
            chunk.keys[index],
            tuple(chunk.headers[index]) if chunk.headers else (),
            chunk.timestamps[index],
        )
        for chunk in several
        for index in range(len(chunk))
    ]
