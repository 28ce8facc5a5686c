"""What a proof says, and the two parts of it that need no driver: do the spans tile, and does the log still say what they say.

A finding names its exact offsets. Nothing here changes anything, and nothing here decides whether a finding is harmless.
"""

from __future__ import annotations

import bisect
import enum
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from landfast.model import Chunk, OnePerKey, Position, Span, Stream, Totals

RANGES_MAX = 100
"""Ranges that one finding lists; its count is exact all the same."""

Range = tuple[Position, Position]


class Kind(enum.StrEnum):
    """What can be wrong."""

    HOLE = "hole"
    """Between two spans lies a range that no commit accounts for."""
    OVERLAP = "overlap"
    """Two commits account for the same range."""
    EQUATION_BROKEN = "equation_broken"
    """A span's counts do not add up."""
    POSITION_MISMATCH = "position_mismatch"
    """The table's position is not where the last span ends."""
    METADATA_CHANGED = "metadata_changed"
    """A commit's record was edited or cannot be read."""
    LOST_ROW = "lost_row"
    """A commit counts more rows of a range than the table holds."""
    DOUBLED_ROW = "doubled_row"
    """One offset lies in the table more often than once."""
    PHANTOM_ROW = "phantom_row"
    """The table holds a row that no commit counts."""
    KEY_DOUBLED = "key_doubled"
    """In a table with one row per key, a key has more than one."""
    ROW_AND_LETTER = "row_and_letter"
    """One offset lies in the table and among the dead letters."""
    LETTER_MISSING = "letter_missing"
    """A commit counts more dead letters of a range than there are."""
    LETTER_DOUBLED = "letter_doubled"
    """One offset is buried more often than once."""
    LETTER_PHANTOM = "letter_phantom"
    """A dead letter that no commit counts, at an offset that commits have passed."""
    FILE_MISSING = "file_missing"
    """The table names a file that is not there."""
    FILE_CORRUPT = "file_corrupt"
    """A file's bytes are not as they were written."""
    FILE_COUNT_MISMATCH = "file_count_mismatch"
    """A file holds another number of rows than the table's log says."""
    FILE_CHANGED = "file_changed"
    """A file is sound in itself, but not the one that was written: its digest is not the one in the table's log."""
    FOREIGN_FILE = "foreign_file"
    """Rows lie in a file that another writer wrote in a commit that may have changed them: nobody vouches for their values."""
    SOURCE_COUNT_CHANGED = "source_count_changed"
    """The log, read again, holds another number of records in a span."""
    SOURCE_CONTENT_CHANGED = "source_content_changed"
    """The log, read again, holds other bytes in a span."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    ranges   half-open ranges of offsets, at most `RANGES_MAX`
    count    how many offsets, rows, letters or files are concerned, in all
    file     the file concerned, relative to its table
    """

    kind: Kind
    sentence: str
    stream: Stream | None = None
    ranges: tuple[Range, ...] = ()
    count: int = 1
    file: str | None = None


@dataclass(frozen=True, slots=True)
class StreamAccount:
    """What the spans say of one stream: the range they cover, the table's own position, and the equation."""

    stream: Stream
    start: Position
    end: Position
    position: Position | None
    spans: int
    totals: Totals


@dataclass(frozen=True, slots=True)
class Unchecked:
    """A range that could not be compared, and why: what retention has removed is no fault of the table."""

    stream: Stream
    start: Position
    end: Position
    reason: str


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A foreign file, one of another writer, with rows of ours that, by its own word, it did not change; or nobody can tell any more.

    `version` is None where the table's log no longer says who wrote it.
    """

    file: str
    rows: int
    version: int | None
    writer: str


class Proof(enum.StrEnum):
    """How far a proof holds."""

    WHOLE = "proved"
    """Nothing that was looked at is wrong."""
    IN_PART = "proved_in_part"
    """The same, but the values of some rows are another writer's word, or there is no digest, or no log any more, to compare some with."""
    NONE = "not_proved"
    """Something is wrong: the findings say what."""
    NOTHING = "nothing_to_prove"
    """Nothing has landed yet, so there is nothing that could be wrong."""


@dataclass(frozen=True, slots=True)
class Compared:
    """How much was compared with the log, read again."""

    spans: int
    records: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a proof comes to.

    version         the table version that was proved; -1 where only the source was compared
    rows, letters   how many were counted
    foreign_rows    rows without coordinates, which some other writer put into the table; Landfast makes no claim about them
    pending         letters at or above their stream's position: their commit is still to come
    replayed        letters that are rows now, as the trail beside the table says, and `discarded` ones; the others are open
    retrying        of the open letters those that are marked to be tried again, whether or not the settings have that done
    unresolved      letters that are rows now and of which the trail does not say so yet: a replay was stopped in between
    contested       letters that were discarded, and whose rows are in the table: both were done at the same moment
    checked_spans   spans that were compared
    digested        files, those of the dead letters among them, whose bytes were compared with the digest in the table's log
    undigested      files of ours of which the log has no digest: an earlier version wrote them, or somebody named them again without it
    rewritten       files in which rows are in their places, and whose values are another writer's word
    compared        how much was compared with the log; None where it was not asked for
    one_per_key     what became of the written rows in a table with one row per key; None in others
    """

    findings: tuple[Finding, ...]
    accounts: tuple[StreamAccount, ...] = ()
    unchecked: tuple[Unchecked, ...] = ()
    version: int = -1
    rows: int = 0
    foreign_rows: int = 0
    letters: int = 0
    pending: int = 0
    replayed: int = 0
    discarded: int = 0
    retrying: int = 0
    unresolved: int = 0
    contested: int = 0
    files: int = 0
    nbytes: int = 0
    checked_spans: int = 0
    digested: int = 0
    undigested: int = 0
    rewritten: tuple[Rewritten, ...] = ()
    compared: Compared | None = None
    one_per_key: OnePerKey | None = None

    @property
    def proved(self) -> bool:
        """Whether nothing is wrong: also where little could be looked at, as `unchecked`, `undigested` and `rewritten` say."""
        return not self.findings

    @property
    def open_letters(self) -> int:
        """Letters that nobody has replayed or discarded, or of which the trail does not say so yet."""
        return self.letters - self.replayed - self.discarded

    @property
    def outcome(self) -> Proof:
        """How far the proof holds. Who asks for a comparison with the log is told where there was none: that is `unchecked`."""
        if self.findings:
            return Proof.NONE
        if not self.checked_spans and not self.unchecked:
            return Proof.NOTHING
        return Proof.IN_PART if self.rewritten or self.unchecked or self.undigested else Proof.WHOLE

    @property
    def totals(self) -> Totals:
        """The equation over all streams."""
        total = Totals()
        for account in self.accounts:
            total = total.plus(account.totals)
        return total


def account(stream: Stream, spans: Sequence[Span], position: Position | None) -> StreamAccount:
    """Sum the spans of one stream up. There is at least one."""
    totals = Totals()
    for span in spans:
        totals = totals.plus(span)
    return StreamAccount(stream, min(s.start for s in spans), max(s.end for s in spans), position, len(spans), totals)


def tiling(stream: Stream, spans: Sequence[Span], position: Position | None) -> list[Finding]:
    """Whether the spans of one stream cover its range once, from the stream's first span to the table's position."""
    findings: list[Finding] = []
    holes: list[Range] = []
    overlaps: list[Range] = []
    ordered = sorted(spans, key=lambda span: (span.start, span.end))
    reached = ordered[0].start
    for span in ordered:
        if span.start > reached:
            holes.append((reached, span.start))
        if span.start < reached:
            overlaps.append((span.start, min(span.end, reached)))
        reached = max(reached, span.end)
    if not ordered[0].first:
        words = f"the first span known starts at {ordered[0].start}, and it is not the one with which the stream began"
        findings.append(Finding(Kind.HOLE, words, stream, ((0, ordered[0].start),), ordered[0].start))
    if holes:
        findings.append(_ranges_finding(Kind.HOLE, stream, holes, "no commit accounts for these offsets"))
    if overlaps:
        findings.append(_ranges_finding(Kind.OVERLAP, stream, overlaps, "two commits account for these offsets"))
    if position != reached:
        words = f"the table's position is {position}, and the last span ends at {reached}"
        between = ((min(position, reached), max(position, reached)),) if position is not None else ((ordered[0].start, reached),)
        findings.append(Finding(Kind.POSITION_MISMATCH, words, stream, between, between[0][1] - between[0][0]))
    findings.extend(_unbalanced(stream, span) for span in ordered if not balances(span))
    return findings


def balances(span: Span) -> bool:
    """Whether the span's equation holds and its range can hold what it counts."""
    counts = (span.written, span.dead, *span.skipped.values())
    return min(counts) >= 0 and span.read == sum(counts) and span.read <= span.end - span.start


def _unbalanced(stream: Stream, span: Span) -> Finding:
    words = f"read {span.read}, written {span.written}, dead {span.dead}, skipped {sum(span.skipped.values())} do not add up"
    return Finding(Kind.EQUATION_BROKEN, words, stream, ((span.start, span.end),), span.end - span.start)


def _ranges_finding(kind: Kind, stream: Stream, ranges: Sequence[Range], words: str) -> Finding:
    return Finding(kind, words, stream, tuple(ranges[:RANGES_MAX]), sum(end - start for start, end in ranges))


class Rereader(Protocol):
    """A log that is read a second time, for proof only: no group, no position, no effect."""

    def first(self, stream: Stream) -> Position | None:
        """The oldest position that the log still has, or None where this incarnation of the stream is gone."""

    def compacted(self, stream: Stream) -> bool:
        """Whether the log may drop single records: a smaller count then proves nothing."""

    def chunks(self, stream: Stream, start: Position, end: Position) -> Iterator[Chunk]:
        """Everything in `[start, end)`, in order, as the first reader saw it. Ends when `end` is reached."""


@dataclass(slots=True)
class _Comparison:
    """What comparing with the source has found so far."""

    findings: list[Finding] = field(default_factory=list)
    unchecked: list[Unchecked] = field(default_factory=list)
    checked_spans: int = 0
    rows: int = 0


def verify_source(spans: Iterable[Span], reader: Rereader, digest: Callable[[Iterable[Chunk]], str]) -> Verdict:
    """Compare each span's count and digest with the log, read again.

    A digest covers a span, so a change inside is named by its span. What retention has taken is listed as unchecked, not as a finding.
    Holds one span's records in memory at a time.
    """
    comparison = _Comparison()
    by_stream: defaultdict[Stream, list[Span]] = defaultdict(list)
    for span in spans:
        by_stream[span.stream].append(span)
    for stream in sorted(by_stream):
        _compare_stream(stream, sorted(by_stream[stream], key=lambda span: span.start), reader, digest, comparison)
    return Verdict(
        findings=tuple(comparison.findings),
        unchecked=tuple(comparison.unchecked),
        rows=comparison.rows,
        checked_spans=comparison.checked_spans,
        compared=Compared(comparison.checked_spans, comparison.rows),
    )


def _compare_stream(
    stream: Stream, spans: Sequence[Span], reader: Rereader, digest: Callable[[Iterable[Chunk]], str], comparison: _Comparison
) -> None:
    first = reader.first(stream)
    if first is None:
        reason = "the log no longer has this incarnation of the topic"
        comparison.unchecked.append(Unchecked(stream, spans[0].start, max(span.end for span in spans), reason))
        return
    expired = [span for span in spans if span.start < first]
    if expired:
        reason = f"retention has removed what lies below offset {first}"
        comparison.unchecked.append(Unchecked(stream, expired[0].start, expired[-1].end, reason))
    for tiled in _contiguous([span for span in spans if span.start >= first]):
        for span, chunks in _per_span(tiled, reader.chunks(stream, tiled[0].start, tiled[-1].end)):
            found = _difference(span, chunks, digest)
            excuse = None if found is None else _excuse(span, sum(map(len, chunks)), reader)
            if excuse is not None:
                comparison.unchecked.append(Unchecked(stream, span.start, span.end, excuse))
                continue
            comparison.checked_spans += 1
            comparison.rows += span.read
            comparison.findings.extend([] if found is None else [found])


def _excuse(span: Span, count: int, reader: Rereader) -> str | None:
    """Why a difference proves nothing: the log itself may have dropped records, before or while we read."""
    first = reader.first(span.stream)
    if first is None or first > span.start:
        return f"retention has removed what lies below offset {first}"
    if count < span.read and reader.compacted(span.stream):
        return "compaction has removed records"
    return None


def _contiguous(spans: Sequence[Span]) -> Iterator[list[Span]]:
    """Spans in groups that tile, so that a group is read in one go."""
    group: list[Span] = []
    for span in spans:
        if group and group[-1].end != span.start:
            yield group
            group = []
        group.append(span)
    if group:
        yield group


def _per_span(spans: Sequence[Span], chunks: Iterator[Chunk]) -> Iterator[tuple[Span, list[Chunk]]]:
    """Each span with its part of the chunks."""
    rest: Chunk | None = None
    for span in spans:
        parts: list[Chunk] = []
        while True:
            chunk = rest if rest is not None else next(chunks, None)
            rest = None
            if chunk is None:
                break
            inside, rest = _split(chunk, span.end)
            parts.append(inside)
            if rest is not None:
                break
        yield span, parts


def _split(chunk: Chunk, end: Position) -> tuple[Chunk, Chunk | None]:
    """The part of a chunk below `end`, and the rest; no rest where the chunk ends before."""
    if chunk.end < end:
        return chunk, None
    cut = bisect.bisect_left(chunk.offsets, end)
    return _part(chunk, 0, cut, chunk.start, end), _part(chunk, cut, len(chunk), end, chunk.end)


def _part(chunk: Chunk, first: int, last: int, start: Position, end: Position) -> Chunk:
    parts = {name: getattr(chunk, name)[first:last] for name in ("values", "keys", "offsets", "timestamps")}
    headers = None if chunk.headers is None else chunk.headers[first:last]
    return replace(chunk, start=start, end=end, headers=headers, **parts)


def _difference(span: Span, chunks: Sequence[Chunk], digest: Callable[[Iterable[Chunk]], str]) -> Finding | None:
    count = sum(map(len, chunks))
    place = ((span.start, span.end),)
    if count != span.read:
        words = f"the log holds {count} records here, and the commit counted {span.read}"
        return Finding(Kind.SOURCE_COUNT_CHANGED, words, span.stream, place, abs(count - span.read))
    if digest(chunks) != span.digest:
        words = "the log holds other bytes here than were read when this span was committed"
        return Finding(Kind.SOURCE_CONTENT_CHANGED, words, span.stream, place, span.end - span.start)
    return None


def merged(table: Verdict, source: Verdict) -> Verdict:
    """One verdict over table and source."""
    findings, unchecked = table.findings + source.findings, table.unchecked + source.unchecked
    return replace(table, findings=findings, unchecked=unchecked, compared=source.compared)
