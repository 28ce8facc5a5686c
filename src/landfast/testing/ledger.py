"""The ledger of a test: what was written into the log, against what every store holds in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from landfast.core.verify import digest
from landfast.model import Letter, Position, Span, Stream
from landfast.testing.memory.group import Acknowledgement
from landfast.testing.memory.log import Record
from landfast.testing.memory.rows import LandedRow
from landfast.testing.memory.source import chunk_of
from landfast.testing.memory.table import TableCommit

Place = tuple[Stream, int]
Truth = Mapping[Stream, Mapping[int, Record]]

ROW, DEAD, SKIPPED, EITHER = "row", "dead", "skipped", "either"

Fate = Callable[[Record], str]
"""Where a record must end: ROW, DEAD or SKIPPED; or EITHER, a row or dead, whichever the first to land it makes of it."""


def line_fate(record: Record) -> str:
    """What `LineDecoder` makes of a record."""
    if record.value is None:
        return SKIPPED
    return DEAD if record.value.startswith(b"bad") else ROW


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong, by kind; all empty is what we want.

    lost           passed by the table's position and not where it must be
    pending        written and not passed yet: all right in the middle, wrong in the end
    twice          in one store more than once, or in both
    phantom        in a store and never written, or of the wrong incarnation
    misplaced      in the wrong store: a row that should be dead or skipped, or the other way round
    changed        not what was written
    out_of_order   landed after a later record of its stream
    unaccounted    spans whose counts, range or digest are not those of the records they cover
    """

    lost: tuple[Place, ...] = ()
    pending: tuple[Place, ...] = ()
    twice: tuple[Place, ...] = ()
    phantom: tuple[Place, ...] = ()
    misplaced: tuple[Place, ...] = ()
    changed: tuple[Place, ...] = ()
    out_of_order: tuple[Place, ...] = ()
    unaccounted: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong and nothing is pending."""
        return all(not getattr(self, each.name) for each in fields(self))

    def __str__(self) -> str:
        found = {each.name: getattr(self, each.name) for each in fields(self) if getattr(self, each.name)}
        parts = [f"{len(places)} {kind}: {', '.join(_told(place) for place in places[:10])}" for kind, places in found.items()]
        return "; ".join(parts) or "nothing lost, nothing twice, nothing changed"


def audit(truth: Truth, commits: Sequence[TableCommit], letters: Sequence[Letter], fate: Fate = line_fate) -> Verdict:
    """Compare all that was written with all that is held."""
    rows = [row for commit in commits for row in commit.rows]
    in_table = Counter((row.stream, row.offset) for row in rows)
    in_letters = Counter((letter.stream, letter.offset) for letter in letters)
    positions = positions_of(commits)
    written = {(stream, offset): record for stream, records in truth.items() for offset, record in records.items()}
    passed = {place for place in written if place[1] < positions.get(place[0], -1)}
    wanted = {place: fate(record) for place, record in written.items()}
    held = in_table.keys() | in_letters.keys()
    return Verdict(
        lost=_sorted(place for place in passed if wanted[place] != SKIPPED and place not in held),
        pending=_sorted(written.keys() - passed),
        twice=_sorted(place for place in held if in_table[place] + in_letters[place] > 1),
        phantom=_sorted(held - written.keys()),
        misplaced=_sorted(
            {place for place in in_table if wanted.get(place, ROW) not in {ROW, EITHER}}
            | {place for place in in_letters if wanted.get(place, DEAD) not in {DEAD, EITHER}}
        ),
        changed=_sorted({*_changed_rows(rows, written), *_changed_letters(letters, written)}),
        out_of_order=tuple(_out_of_order(rows)),
        unaccounted=tuple(problem for commit in commits for problem in _unaccounted(commit, truth, fate)) + tuple(_untiled(commits)),
    )


def positions_of(commits: Iterable[TableCommit]) -> dict[Stream, Position]:
    """The position of each stream after these commits."""
    positions: dict[Stream, Position] = {}
    for commit in commits:
        positions.update(commit.positions)
    return positions


def ahead(acknowledged: Iterable[Acknowledgement], positions: Mapping[Stream, Position]) -> list[Acknowledgement]:
    """What was told to the group and is more than the table holds."""
    return [each for each in acknowledged if each.position > positions.get(each.stream, -1)]


def passed_before_buried(commit: TableCommit, truth: Truth, letters: Iterable[Letter], fate: Fate = line_fate) -> list[Place]:
    """Records that a commit moves past although they must be dead and are not buried."""
    buried = {(letter.stream, letter.offset) for letter in letters}
    return [
        (span.stream, offset)
        for span in commit.spans
        for offset, record in truth.get(span.stream, {}).items()
        if span.start <= offset < span.end and fate(record) == DEAD and (span.stream, offset) not in buried
    ]


def _changed_rows(rows: Iterable[LandedRow], written: Mapping[Place, Record]) -> Iterable[Place]:
    for row in rows:
        place = (row.stream, row.offset)
        if place in written and row.row != written[place].value:
            yield place


def _changed_letters(letters: Iterable[Letter], written: Mapping[Place, Record]) -> Iterable[Place]:
    for letter in letters:
        place = (letter.stream, letter.offset)
        record = written.get(place)
        kept = (letter.value, letter.key, tuple(letter.headers), letter.timestamp)
        if record is not None and kept != (record.value, record.key, tuple(record.headers), record.timestamp):
            yield place


def _out_of_order(rows: Iterable[LandedRow]) -> Iterable[Place]:
    last: dict[Stream, int] = {}
    for row in rows:
        if row.offset <= last.get(row.stream, -1):
            yield (row.stream, row.offset)
        last[row.stream] = max(row.offset, last.get(row.stream, -1))


def _unaccounted(commit: TableCommit, truth: Truth, fate: Fate) -> Iterable[str]:
    for span in commit.spans:
        covered = [record for offset, record in sorted(truth.get(span.stream, {}).items()) if span.start <= offset < span.end]
        fates = Counter(fate(record) for record in covered)
        found = (span.read, span.written, span.dead, sum(span.skipped.values()))
        # Of the disputed, as many are rows as the span says.
        rows = min(max(span.written - fates[ROW], 0), fates[EITHER])
        expected = (len(covered), fates[ROW] + rows, fates[DEAD] + fates[EITHER] - rows, fates[SKIPPED])
        if found != expected:
            yield f"{_range(span)} counts {found}, and its records {expected}"
        elif span.digest != digest([chunk_of(span.stream, 0, span.start, span.end, covered)]):
            yield f"{_range(span)} has a digest that is not that of its records"


def _untiled(commits: Iterable[TableCommit]) -> Iterable[str]:
    stands: dict[Stream, Position] = {}
    for commit in commits:
        for span in commit.spans:
            if span.first == (span.stream in stands) or stands.get(span.stream, span.start) != span.start:
                yield f"{_range(span)} was landed on position {stands.get(span.stream)}"
            stands[span.stream] = span.end
        for stream, position in commit.positions.items():
            if stands.get(stream) != position:
                yield f"{stream} stands at {position}, and its spans end at {stands.get(stream)}"


def _range(span: Span) -> str:
    return f"{span.stream} {span.start} to {span.end}"


def _sorted(places: Iterable[Place]) -> tuple[Place, ...]:
    return tuple(sorted(places))


def _told(place: Place | str) -> str:
    return place if isinstance(place, str) else f"{place[0]}@{place[1]}"
