"""Promises of a sink about what a commit lands."""

from __future__ import annotations

from collections.abc import Callable

from landfast.errors import Rejected
from landfast.model import Level, Receipt, Staged
from landfast.testing.suites.promises import Part, demand, demand_equal, demand_raises
from landfast.testing.suites.sink_harness import A, B, SinkHarness, at_once, demand_landed, land, material_of


def a_fresh_stream_has_no_position(harness: SinkHarness) -> None:
    """A stream that the sink has never seen has the position None."""
    demand_equal(harness.open_sink().positions([A, B]), {A: None, B: None}, "positions of fresh streams")


def positions_answer_for_exactly_what_was_asked(harness: SinkHarness) -> None:
    """Positions are answered for each stream asked, and for no other."""
    sink = harness.open_sink()
    land(harness, sink, Part(A, 0, [b"a"], first=True), Part(B, 0, [b"b"], first=True))
    demand_equal(sink.positions([B]), {B: 1}, "positions of one stream")
    demand_equal(sink.positions([]), {}, "positions of no stream")


def a_commit_moves_positions_exactly_and_lands_its_rows(harness: SinkHarness) -> None:
    """After a commit the position is the end of the span, and exactly its rows are there."""
    sink = harness.open_sink()
    receipt = land(harness, sink, Part(A, 5, [b"a", b"b", b"c"], first=True))
    demand_equal(sink.positions([A]), {A: 8}, "position after the commit")
    demand_landed(harness, [(A, 5, b"a"), (A, 6, b"b"), (A, 7, b"c")])
    demand_equal(receipt.rows, 3, "rows in the receipt")
    demand(not receipt.already, "a first attempt whose answer arrived was not landed already")


def a_second_commit_goes_on_where_the_first_ended(harness: SinkHarness) -> None:
    """Commits of one sink follow each other, with growing versions and consecutive sequence numbers."""
    sink = harness.open_sink()
    one = land(harness, sink, Part(A, 0, [b"a"], first=True))
    two = land(harness, sink, Part(A, 1, [b"b"]))
    demand(two.version > one.version, f"version {two.version} follows {one.version}")
    demand_equal(two.sequence, one.sequence + 1, "sequence of the second commit of a run")
    demand_landed(harness, [(A, 0, b"a"), (A, 1, b"b")])


def a_receipt_names_what_was_committed(harness: SinkHarness) -> None:
    """The spans of the receipt are those of the batches, in their order, and its rows are theirs."""
    sink = harness.open_sink()
    one = sink.stage(material_of(harness).batch(1, Part(A, 0, [b"a", None, b"bad"], first=True)))
    two = sink.stage(material_of(harness).batch(2, Part(A, 3, [b"d"]), Part(B, 0, [b"e"], first=True)))
    receipt = sink.commit([one, two])
    demand_equal(tuple(receipt.spans), one.spans + two.spans, "spans of the receipt")
    demand_equal(receipt.rows, 3, "rows of the receipt")


def positions_survive_the_process(harness: SinkHarness) -> None:
    """A new process over the same store finds the positions, and goes on."""
    land(harness, harness.open_sink(), Part(A, 0, [b"a", b"b"], first=True))
    later = harness.open_sink()
    demand_equal(later.positions([A, B]), {A: 2, B: None}, "positions in a new process")
    land(harness, later, Part(A, 2, [b"c"]))
    demand_landed(harness, [(A, 0, b"a"), (A, 1, b"b"), (A, 2, b"c")])


def staged_work_is_invisible(harness: SinkHarness) -> None:
    """What is staged and not committed is seen by no reader and moves no position, also after the process has ended."""
    sink = harness.open_sink()
    sink.stage(material_of(harness).batch(1, Part(A, 0, [b"a"], first=True)))
    demand_equal(sink.positions([A]), {A: None}, "position after staging")
    demand_landed(harness, [])
    sink.close()
    demand_equal(harness.open_sink().positions([A]), {A: None}, "position after staging, in a new process")


def staging_twice_and_committing_once_lands_once(harness: SinkHarness) -> None:
    """A batch may be staged again: only what is committed lands."""
    sink = harness.open_sink()
    batch = material_of(harness).batch(1, Part(A, 0, [b"a", b"b"], first=True))
    sink.stage(batch)
    sink.commit([sink.stage(batch)])
    demand_landed(harness, [(A, 0, b"a"), (A, 1, b"b")])


def several_batches_land_in_one_act(harness: SinkHarness) -> None:
    """Batches that are committed together land together, in order, under one version."""
    sink = harness.open_sink()
    material = material_of(harness)
    before = land(harness, sink, Part(B, 0, [b"x"], first=True))
    staged = [
        sink.stage(material.batch(2, Part(A, 0, [b"a"], first=True))),
        sink.stage(material.batch(3, Part(A, 1, [b"b"]), Part(B, 1, [b"y"]))),
        sink.stage(material.batch(4, Part(A, 2, [b"c"]))),
    ]
    receipt = sink.commit(staged)
    demand_equal(receipt.version, before.version + 1, "version of a group commit")
    demand_equal(sink.positions([A, B]), {A: 3, B: 2}, "positions after a group commit")
    demand_landed(harness, [(A, 0, b"a"), (A, 1, b"b"), (A, 2, b"c"), (B, 0, b"x"), (B, 1, b"y")])


def a_batch_without_rows_moves_positions(harness: SinkHarness) -> None:
    """Records that are all dead or skipped, and ranges without any record, are passed by a commit too."""
    sink = harness.open_sink()
    land(harness, sink, Part(A, 0, [None, b"bad"], first=True))
    demand_equal(sink.positions([A]), {A: 2}, "position after a batch of dead and skipped records")
    land(harness, sink, Part(A, 2, [], end=9))
    demand_equal(sink.positions([A]), {A: 9}, "position after a gap")
    land(harness, sink, Part(A, 9, [b"a"]))
    demand_landed(harness, [(A, 9, b"a")])


def a_first_batch_without_records_is_remembered(harness: SinkHarness) -> None:
    """A stream that begins with an empty range has a position afterwards, also at 0."""
    sink = harness.open_sink()
    land(harness, sink, Part(A, 0, [], end=0, first=True), Part(B, 0, [b"b"], first=True))
    demand_equal(sink.positions([A, B]), {A: 0, B: 1}, "positions after an empty first range")


def dead_and_skipped_records_are_not_landed(harness: SinkHarness) -> None:
    """Rows keep the offsets of their records, whatever lies between them."""
    sink = harness.open_sink()
    land(harness, sink, Part(A, 10, [b"a", b"bad", None, b"d", None, b"f"], end=20, first=True))
    demand_landed(harness, [(A, 10, b"a"), (A, 13, b"d"), (A, 15, b"f")])


def large_positions_are_exact(harness: SinkHarness) -> None:
    """Positions are int64: none is rounded, none wraps."""
    sink = harness.open_sink()
    start = 2**62 + 1
    land(harness, sink, Part(A, start, [b"a"], first=True))
    demand_equal(harness.open_sink().positions([A]), {A: start + 1}, "a large position")
    demand_landed(harness, [(A, start, b"a")])


def bytes_land_as_they_are(harness: SinkHarness) -> None:
    """Empty values, zero bytes, bytes that are no text and long values arrive unchanged."""
    values = [b"", b"\x00", b"\xff\xfe\x80", "Grüße, 世界".encode(), b"x" * 100_000]
    land(harness, harness.open_sink(), Part(A, 0, values, first=True))
    demand_landed(harness, [(A, offset, value) for offset, value in enumerate(values)])


def stages_run_beside_each_other(harness: SinkHarness) -> None:
    """Several batches are staged at once by several threads, and land in the order of their numbers."""
    sink = harness.open_sink()
    material = material_of(harness)
    staged: dict[int, Staged] = {}

    def stage(number: int) -> str:
        staged[number] = sink.stage(material.batch(number, Part(A, number, [b"%d" % number], first=number == 0)))
        return "staged"

    at_once([lambda number=number: stage(number) for number in range(6)])  # type: ignore[misc]
    sink.commit([staged[number] for number in range(6)])
    demand_landed(harness, [(A, number, b"%d" % number) for number in range(6)])


def refused_rows_are_named_and_nothing_lands(harness: SinkHarness) -> None:
    """A row that cannot land is named by stream and offset; nothing of the batch lands; without it the rest does."""
    poison = harness.refused_value()
    if poison is None:
        return
    sink = harness.open_sink()
    material = material_of(harness)

    def attempt() -> Receipt:
        return sink.commit([sink.stage(material.batch(1, Part(A, 0, [b"a", poison, b"c"], first=True)))])

    error = demand_raises(Rejected, attempt, "a row that cannot land")
    demand_equal([(refusal.stream, refusal.offset) for refusal in error.refusals], [(A, 1)], "refused rows")
    demand(all(refusal.reason for refusal in error.refusals), "a refusal has a reason")
    demand(repr(poison)[2:-1] not in str(error) + "".join(refusal.message for refusal in error.refusals), "a refusal shows the value")
    demand_equal(sink.positions([A]), {A: None}, "position after a refusal")
    land(harness, sink, Part(A, 0, [b"a", b"bad", b"c"], first=True))
    demand_landed(harness, [(A, 0, b"a"), (A, 2, b"c")])


def maintenance_moves_no_position_and_no_row(harness: SinkHarness) -> None:
    """Whatever maintenance does, positions and rows are the same before and after, and commits go on."""
    sink = harness.open_sink()
    for offset in range(5):
        land(harness, sink, Part(A, offset, [b"a"], first=offset == 0))
    late = sink.stage(material_of(harness).batch(9, Part(A, 5, [b"a"])))
    sink.maintain(5.0)
    demand_equal(sink.positions([A]), {A: 5}, "position after maintenance")
    sink.commit([late])
    sink.maintain(0.0)
    demand_landed(harness, [(A, offset, b"a") for offset in range(6)])


def closing_twice_is_closing_once(harness: SinkHarness) -> None:
    """A sink may be closed again, and what landed stays."""
    sink = harness.open_sink()
    land(harness, sink, Part(A, 0, [b"a"], first=True))
    sink.close()
    sink.close()
    demand_landed(harness, [(A, 0, b"a")])


def the_guarantee_is_stated(harness: SinkHarness) -> None:
    """A sink says what it promises, and why."""
    guarantee = harness.open_sink().guarantee
    demand(isinstance(guarantee.level, Level), "a guarantee has a level")
    demand(guarantee.reason, "a guarantee has a reason")


LANDING_CHECKS: tuple[Callable[[SinkHarness], None], ...] = (
    a_fresh_stream_has_no_position,
    positions_answer_for_exactly_what_was_asked,
    a_commit_moves_positions_exactly_and_lands_its_rows,
    a_second_commit_goes_on_where_the_first_ended,
    a_receipt_names_what_was_committed,
    positions_survive_the_process,
    staged_work_is_invisible,
    staging_twice_and_committing_once_lands_once,
    several_batches_land_in_one_act,
    a_batch_without_rows_moves_positions,
    a_first_batch_without_records_is_remembered,
    dead_and_skipped_records_are_not_landed,
    large_positions_are_exact,
    bytes_land_as_they_are,
    stages_run_beside_each_other,
    refused_rows_are_named_and_nothing_lands,
    maintenance_moves_no_position_and_no_row,
    closing_twice_is_closing_once,
    the_guarantee_is_stated,
)
