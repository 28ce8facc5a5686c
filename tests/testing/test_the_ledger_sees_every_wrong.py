"""The ledger of a test calls each kind of wrong by its name, and nothing right wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from landfast.core.verify import digest
from landfast.model import Letter, Span, Stream
from landfast.testing.ledger import Verdict, ahead, audit, passed_before_buried
from landfast.testing.memory import Acknowledgement, LandedRow, MemoryLog, Record, TableCommit, chunk_of


def world() -> tuple[MemoryLog, Stream, list[TableCommit], list[Letter]]:
    """Five records, landed by two commits: rows at 0, 1 and 4, a dead one at 2, a tombstone at 3."""
    log = MemoryLog()
    (stream,) = log.create("t")
    for value in (b"a", b"b", b"bad", None, b"c"):
        log.append("t", 0, value, key=b"k")
    records = log.read("t", 0, 0, 10)
    commits = [commit(stream, 0, 3, records, first=True, dead=1), commit(stream, 3, 5, records, first=False, skipped={"tombstone": 1})]
    return log, stream, commits, [letter(stream, records[2])]


def commit(
    stream: Stream, start: int, end: int, records: tuple[Record, ...], *, first: bool, dead: int = 0, skipped: dict[str, int] | None = None
) -> TableCommit:
    """A commit of a range, as it should be."""
    covered = [record for record in records if start <= record.offset < end]
    rows = tuple(LandedRow(stream, each.offset, each.value) for each in covered if each.value in {b"a", b"b", b"c"})
    text = digest([chunk_of(stream, 1, start, end, covered)])
    span = Span(stream, start, end, len(covered), len(rows), dead, skipped or {}, text, first)
    return TableCommit(f"token {start}", "run", start, (span,), rows, {stream: end})


def letter(stream: Stream, record: Record) -> Letter:
    """The letter of a record."""
    return Letter(stream, record.offset, record.timestamp, record.key, record.value, record.headers, "decode", "bad_line", "", 1, 0.0)


def test_what_is_right_is_clean() -> None:
    """Every record in its one place: no complaint, and the verdict says so."""
    log, _, commits, letters = world()
    verdict = audit(log.truth(), commits, letters)
    assert verdict.clean
    assert str(verdict) == "nothing lost, nothing twice, nothing changed"


def test_each_wrong_has_its_name() -> None:
    """One thing is put wrong at a time, and exactly that is what the verdict says."""
    log, stream, (one, two), letters = world()
    truth = log.truth()
    first_row, second_row = one.rows
    stranger = LandedRow(stream, 9, b"x")
    cases: dict[str, Verdict] = {
        "lost": audit(truth, [replace(one, rows=(first_row,)), two], letters),
        "pending": audit(truth, [one], letters),
        "twice": audit(truth, [one, replace(two, rows=(*two.rows, first_row))], letters),
        "phantom": audit(truth, [replace(one, rows=(*one.rows, stranger)), two], letters),
        "misplaced": audit(truth, [replace(one, rows=(*one.rows, LandedRow(stream, 2, b"bad"))), two], []),
        "changed": audit(truth, [replace(one, rows=(replace(first_row, row=b"A"), second_row)), two], letters),
        "out_of_order": audit(truth, [replace(one, rows=(second_row, first_row)), two], letters),
        "unaccounted": audit(truth, [replace(one, spans=(replace(one.spans[0], digest="other"),)), two], letters),
    }
    for name, verdict in cases.items():
        assert getattr(verdict, name), name
        assert not verdict.clean
        assert name in str(verdict)


@pytest.mark.parametrize("change", [{"key": None}, {"value": b"bad!"}, {"headers": (("h", b""),)}, {"timestamp": 5}])
def test_a_letter_that_is_not_the_record_is_a_change(change: dict[str, object]) -> None:
    """Value, key, headers and time of a letter are those of the record."""
    log, stream, commits, letters = world()
    changed = [replace(each, **change) for each in letters]  # type: ignore[arg-type]
    assert audit(log.truth(), commits, changed).changed == ((stream, 2),)


def test_spans_that_do_not_account_are_named() -> None:
    """Wrong counts, a hole between spans, a first span that is none, a position that is not the end: each is unaccounted."""
    log, stream, (one, two), letters = world()
    (span,), (later,) = one.spans, two.spans
    for commits in (
        [replace(one, spans=(replace(span, written=3, dead=0),)), two],
        [one, replace(two, spans=(replace(later, first=True),))],
        [one, replace(two, spans=(replace(later, start=4),))],
        [one, replace(two, positions={stream: 9})],
    ):
        assert audit(log.truth(), commits, letters).unaccounted


def test_acknowledging_or_passing_too_early_is_seen() -> None:
    """A position told to the group before it is held, and a commit that passes a record whose letter is not there."""
    log, stream, (one, _), letters = world()
    early, fair = Acknowledgement("m", stream, 4), Acknowledgement("m", stream, 3)
    assert ahead([early, fair], {stream: 3}) == [early]
    assert ahead([fair], {}) == [fair]
    assert passed_before_buried(one, log.truth(), letters) == []
    assert passed_before_buried(one, log.truth(), []) == [(stream, 2)]
