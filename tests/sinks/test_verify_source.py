"""The proof against the log: every span read again, and what the log itself has dropped is no fault of the table."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from landfast.audit import Compared, Kind, Proof, Verdict, account, merged, verify_source
from landfast.cli.verify import as_lines, as_object
from landfast.core.verify import digest
from landfast.model import Chunk, Span, Stream
from tests.sinks.delta_world import stream

LANE = stream(0)
EACH = "every offset that was read is in exactly one place, once"


@dataclass
class Shelf:
    """A log in memory that can be read again, in chunks of any size."""

    values: dict[int, bytes | None]
    end: int
    chunk_rows: int = 7
    oldest: int | None = 0
    loses_records: bool = False
    reads: list[tuple[int, int]] = field(default_factory=list)

    def first(self, lane: Stream) -> int | None:
        return self.oldest

    def compacted(self, lane: Stream) -> bool:
        return self.loses_records

    def chunks(self, lane: Stream, start: int, end: int) -> Iterator[Chunk]:
        self.reads.append((start, end))
        offsets = [offset for offset in sorted(self.values) if start <= offset < end]
        for at in range(0, len(offsets), self.chunk_rows):
            part = offsets[at : at + self.chunk_rows]
            last = offsets[at + self.chunk_rows] if at + self.chunk_rows < len(offsets) else end
            yield self.chunk(lane, part, start if at == 0 else part[0], last)

    def chunk(self, lane: Stream, offsets: list[int], start: int, end: int) -> Chunk:
        values = [self.values[offset] for offset in offsets]
        return Chunk(lane, 1, start, end, values, [None] * len(values), None, array("q", offsets), array("q", [-1] * len(values)), 0)

    def spans(self, *ends: int) -> list[Span]:
        starts = [0, *ends[:-1]]
        return [self.span(start, end) for start, end in zip(starts, ends, strict=True)]

    def span(self, start: int, end: int) -> Span:
        chunk = self.chunk(LANE, [offset for offset in sorted(self.values) if start <= offset < end], start, end)
        return Span(LANE, start, end, len(chunk), len(chunk), 0, {}, digest([chunk]), start == 0)


def shelf() -> Shelf:
    """A hundred offsets, of which some are missing as markers are, with null and empty values among them."""
    values: dict[int, bytes | None] = {offset: str(offset).encode() for offset in range(100) if offset % 9}
    return Shelf({**values, 10: None, 11: b""}, 100)


@pytest.mark.parametrize("chunk_rows", [1, 3, 7, 1000])
def test_an_unchanged_log_agrees_however_it_is_cut(chunk_rows: int) -> None:
    """Counts and digests agree whatever the chunks are, and tiled spans are read in one go."""
    log = replace(shelf(), chunk_rows=chunk_rows, reads=[])
    verdict = verify_source(log.spans(1, 30, 31, 64, 100), log, digest)
    assert verdict.proved
    assert (verdict.checked_spans, verdict.rows) == (5, len(log.values))
    assert verdict.compared == Compared(5, len(log.values))
    assert log.reads == [(0, 100)]


def test_changed_bytes_are_named_by_their_span() -> None:
    """One byte that differs is found, in the span that holds it and in no other."""
    log = shelf()
    spans = log.spans(30, 60, 100)
    log.values[40] = b"4O"
    (finding,) = verify_source(spans, log, digest).findings
    assert (finding.kind, finding.stream, finding.ranges) == (Kind.SOURCE_CONTENT_CHANGED, LANE, ((30, 60),))


def test_null_and_empty_are_not_the_same() -> None:
    """A value that became null is a change although not one byte differs."""
    log = shelf()
    spans = log.spans(100)
    log.values[11] = None
    assert [finding.kind for finding in verify_source(spans, log, digest).findings] == [Kind.SOURCE_CONTENT_CHANGED]


def test_a_record_that_was_not_read_is_found() -> None:
    """A record in the log that no commit counts is what a table alone can never show."""
    log = shelf()
    spans = log.spans(50, 100)
    log.values[54] = b"late"
    (finding,) = verify_source(spans, log, digest).findings
    assert (finding.kind, finding.ranges, finding.count) == (Kind.SOURCE_COUNT_CHANGED, ((50, 100),), 1)


def test_a_record_that_is_gone_from_a_log_that_keeps_all_is_found() -> None:
    """Nothing excuses a log that has fewer records than were read, where it neither expires nor compacts."""
    log = shelf()
    spans = log.spans(50, 100)
    del log.values[55]
    verdict = verify_source(spans, log, digest)
    (finding,) = verdict.findings
    assert (finding.kind, finding.ranges, finding.count, verdict.unchecked) == (Kind.SOURCE_COUNT_CHANGED, ((50, 100),), 1, ())


def test_what_retention_removed_is_unchecked_and_no_finding() -> None:
    """Spans below the log's first offset are listed as such; the others are compared."""
    log = shelf()
    spans = log.spans(30, 60, 100)
    log.oldest = 40
    verdict = verify_source(spans, log, digest)
    assert verdict.proved
    assert [(one.start, one.end) for one in verdict.unchecked] == [(0, 60)]
    assert (verdict.checked_spans, verdict.outcome) == (1, Proof.IN_PART)
    assert last_line(spans, verdict) == f"PROVED IN PART: {EACH}; 1 of 3 spans could be compared with the log"


def test_an_incarnation_that_is_gone_is_unchecked() -> None:
    """A topic that was deleted cannot be read again, which is no finding against the table."""
    log = shelf()
    spans = log.spans(100)
    log.oldest = None
    verdict = verify_source(spans, log, digest)
    assert verdict.proved
    assert [(one.start, one.end) for one in verdict.unchecked] == [(0, 100)]
    assert log.reads == []


def test_a_compacted_log_excuses_fewer_records_but_not_more() -> None:
    """Compaction drops records: fewer prove nothing, more do."""
    log = shelf()
    spans = log.spans(50, 100)
    log.loses_records = True
    del log.values[20]
    log.values[54] = b"late"
    verdict = verify_source(spans, log, digest)
    assert [(one.start, one.end) for one in verdict.unchecked] == [(0, 50)]
    assert [finding.kind for finding in verdict.findings] == [Kind.SOURCE_COUNT_CHANGED]


def test_retention_that_moves_while_we_read_is_no_finding() -> None:
    """A log that expires between the look at its first offset and the read is asked again before anything is said."""

    class Expiring(Shelf):
        def first(self, lane: Stream) -> int | None:
            return 0 if not self.reads else 50

    log = shelf()
    spans = log.spans(40, 100)
    late = Expiring({offset: value for offset, value in log.values.items() if offset >= 50}, 100)
    verdict = verify_source(spans, late, digest)
    assert verdict.proved
    assert [(one.start, one.end) for one in verdict.unchecked] == [(0, 40), (40, 100)]


def test_without_a_span_there_is_nothing_to_prove() -> None:
    """Nothing has landed, so nothing is wrong, and that is no proof; where all has expired it is said as that."""
    log = shelf()
    nothing = verify_source([], log, digest)
    assert (nothing.outcome, nothing.proved, nothing.compared) == (Proof.NOTHING, True, Compared(0, 0))
    log.oldest = 50
    expired = verify_source(log.spans(20), log, digest)
    assert (expired.outcome, expired.compared, len(expired.unchecked)) == (Proof.IN_PART, Compared(0, 0), 1)


@pytest.mark.parametrize(("oldest", "why"), [(500, "retention has removed what lies below"), (None, "no longer has this incarnation")])
def test_a_log_of_which_nothing_is_left_proves_in_part(oldest: int | None, why: str) -> None:
    """The table is proved from itself; that nothing could be compared with the log, and why, is said on the screen and in JSON."""
    log = shelf()
    spans = log.spans(30, 60, 100)
    log.oldest = oldest
    verdict = merged(proof_of(spans), verify_source(spans, log, digest))
    assert last_line(spans, verdict) == f"PROVED IN PART: {EACH}; 0 of 3 spans could be compared with the log"
    (line,) = [line for line in as_lines("numbers", verdict) if "not compared" in line]
    assert why in line
    said = as_object(verdict)
    assert (said["proved"], said["outcome"], said["compared"]) == (True, "proved_in_part", {"spans": 0, "records": 0})


def test_a_log_that_is_all_there_proves_the_whole() -> None:
    """Where every span was compared, nothing is held back."""
    log = shelf()
    spans = log.spans(30, 60, 100)
    verdict = verify_source(spans, log, digest)
    assert (verdict.outcome, last_line(spans, verdict)) == (Proof.WHOLE, f"PROVED: {EACH}")


def proof_of(spans: list[Span]) -> Verdict:
    """What a proof of the table alone says of spans in which nothing is wrong."""
    return Verdict((), (account(LANE, spans, spans[-1].end),), checked_spans=len(spans))


def last_line(spans: list[Span], source: Verdict) -> str:
    """What a person reads of the whole."""
    return as_lines("numbers", merged(proof_of(spans), source))[-1]
