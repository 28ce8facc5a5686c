"""The equation, and the checks on both sides of a commit."""

from __future__ import annotations

from array import array
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landfast.core.ledger import Ledger, balanced, total
from landfast.core.verify import check_decoded, check_receipt, check_spans, check_staged, digest
from landfast.errors import Broken
from landfast.model import Chunk, Decoded, Receipt, Reject, Span, Staged, Stream, Totals
from landfast.testing.memory import ListRows
from tests.core.strategies import STREAM, chunks

SPAN = Span(STREAM, 0, 10, 10, 7, 2, {"tombstone": 1}, "digest", first=True)


def test_a_span_balances_only_when_every_record_has_a_fate() -> None:
    """One record more or fewer, a negative count, or more records than offsets: none of it balances."""
    assert balanced(SPAN)
    for change in ({"written": 8}, {"dead": 1}, {"skipped": {}}, {"read": 11}, {"end": -1}, {"written": 12, "dead": -3}, {"end": 9}):
        assert not balanced(replace(SPAN, **change)), change  # type: ignore[arg-type]


def test_the_ledger_settles_only_what_continues() -> None:
    """A span that does not begin where the stream stands is an invariant broken, not a correction."""
    ledger = Ledger()
    ledger.open(STREAM, None)
    ledger.settle(SPAN)
    assert ledger.safe(STREAM) == 10
    ledger.settle(replace(SPAN, start=10, end=20, first=False))
    assert ledger.safe(STREAM) == 20
    for wrong in (replace(SPAN, start=21, end=31, first=False), replace(SPAN, start=20, end=30)):
        with pytest.raises(Broken):
            ledger.settle(wrong)
    with pytest.raises(Broken):
        ledger.settle(replace(SPAN, start=20, end=30, read=9, first=False))
    assert ledger.totals() == {STREAM: Totals(20, 14, 4, {"tombstone": 2})}


def test_a_stream_that_was_let_go_counts_but_has_no_position() -> None:
    """What landed late is in the equation; its position is nobody's business here any more."""
    ledger = Ledger()
    ledger.open(STREAM, None)
    ledger.close(STREAM)
    with pytest.raises(Broken):
        ledger.settle(SPAN)
    ledger.count(SPAN)
    assert ledger.safe(STREAM) is None
    assert total(ledger.totals().values()).read == 10


@given(chunks())
def test_a_digest_notices_any_change(chunk: Chunk) -> None:
    """A byte, a length, a null for an empty value, the order: each gives another digest."""
    if not len(chunk):
        return
    changed = [replace(chunk, values=[*chunk.values[:-1], b"other"]), replace(chunk, values=[*chunk.values, b""])]
    changed.append(replace(chunk, values=[*chunk.values[:-1], None if chunk.values[-1] is not None else b""]))
    for other in changed:
        if other.values != chunk.values:
            assert digest([other]) != digest([chunk])


def test_a_digest_tells_where_records_end() -> None:
    """The same bytes divided otherwise are other records."""
    one, other = _chunk([b"ab", b"c"]), _chunk([b"a", b"bc"])
    assert digest([one]) != digest([other])


@pytest.mark.parametrize(
    "decoded",
    [
        Decoded(Chunk(STREAM, 1, 0, 2, [b"a", b"b"], [None] * 2, None, array("q", [0, 1]), array("q", [0, 0]), 2), ListRows(("a",))),
        Decoded(
            Chunk(STREAM, 1, 0, 1, [b"a"], [None], None, array("q", [0]), array("q", [0]), 1),
            ListRows(("a",)),
            None,
            (Reject(0, "r", "m"),),
        ),
        Decoded(
            Chunk(STREAM, 1, 0, 2, [b"a", b"b"], [None] * 2, None, array("q", [0, 1]), array("q", [0, 0]), 2), ListRows(("a", "b")), [0]
        ),
    ],
)
def test_a_decoder_that_loses_or_doubles_a_record_is_stopped(decoded: Decoded) -> None:
    """Rows, rejects and skips are as many as the records, and each row names its record."""
    with pytest.raises(Broken):
        check_decoded(decoded)


def test_d20_what_a_sink_stages_and_says_is_checked() -> None:
    """Other spans or another number of rows than were given are refused."""
    staged = Staged(1, (SPAN,), 7, 0, None)
    receipt = Receipt((SPAN,), 7, 1, 1, 1, 1, already=False, seconds=0.0)
    check_staged(staged, [SPAN])
    check_receipt(receipt, [staged])
    for wrong in (replace(staged, rows=6), replace(staged, spans=())):
        with pytest.raises(Broken, match="INVARIANT_BROKEN"):
            check_staged(wrong, [SPAN])
    for answer in (replace(receipt, rows=6), replace(receipt, spans=())):
        with pytest.raises(Broken, match="INVARIANT_BROKEN"):
            check_receipt(answer, [staged])
    with pytest.raises(Broken, match="INVARIANT_BROKEN"):
        check_spans([replace(SPAN, read=11)])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), max_size=10))
def test_totals_add_up(counts: list[tuple[int, int, int]]) -> None:
    """The sum of equations that hold is an equation that holds."""
    parts = [Totals(written + dead + skipped, written, dead, {"tombstone": skipped}) for written, dead, skipped in counts]
    assert total(parts).holds
    assert total(parts).read == sum(part.read for part in parts)


def _chunk(values: list[bytes]) -> Chunk:
    places = array("q", range(len(values)))
    return Chunk(Stream("t", "id", 0), 1, 0, len(values), values, [None] * len(values), None, places, places, 0)
