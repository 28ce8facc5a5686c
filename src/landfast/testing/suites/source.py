"""What every `ports.Source` must promise, as checks that any implementer can run: see `landfast.testing.suites` for how.

A check drives the source by polling, as the engine does, and waits on conditions, up to `SourceHarness.patience_seconds` each.
"""

from __future__ import annotations

from collections.abc import Callable

from landfast.model import Bounds, Stream
from landfast.testing.suites.promises import demand, demand_equal
from landfast.testing.suites.source_harness import Draft, Reading, SourceHarness, drafts


def streams_begin_at_their_first_record(harness: SourceHarness) -> None:
    """A stream without a position is read from the earliest record on."""
    one, two = harness.streams()
    harness.produce(one, drafts(5))
    harness.produce(two, drafts(3))
    with Reading(harness) as reading:
        reading.until_read({one: 5, two: 3})
        demand_equal(reading.values(one), [draft.value for draft in drafts(5)], "values of one stream")
        demand_equal(reading.values(two), [draft.value for draft in drafts(3)], "values of the other")


def the_place_where_an_empty_stream_begins_is_confirmed(harness: SourceHarness) -> None:
    """A stream that brings nothing is confirmed up to where it begins: its first position can land beside the others' records."""
    one, two = harness.streams()
    harness.produce(one, drafts(5))
    with Reading(harness) as reading:
        reading.until_read({one: 5})
        reading.until(lambda: reading.confirmed.get(two, -1) >= harness.bounds(two).first, "an empty stream's beginning is confirmed")


def reading_begins_exactly_at_the_assignment(harness: SourceHarness) -> None:
    """The first chunk starts at the position that was assigned, and nothing below it is delivered."""
    one, two = harness.streams()
    offsets = harness.produce(one, drafts(10))
    harness.produce(two, drafts(10))
    with Reading(harness, {one: offsets[7], two: None}) as reading:
        reading.until_read({one: 3, two: 10})
        demand_equal(reading.offsets(one), offsets[7:], "offsets read from the assigned position on")
        demand_equal(reading.chunks[one][0].start, offsets[7], "start of the first chunk")


def chunks_tile_and_leave_nothing_out(harness: SourceHarness) -> None:
    """Per stream, chunks arrive in order without a gap or a repeat, also while more is written."""
    one, two = harness.streams()
    offsets = harness.produce(one, drafts(400))
    with Reading(harness) as reading:
        reading.until_read({one: 100})
        offsets += harness.produce(one, drafts(200))
        harness.produce(two, drafts(50))
        reading.until_read({one: 600, two: 50})
        demand_equal(reading.offsets(one), offsets, "offsets of all chunks")


def records_arrive_whole(harness: SourceHarness) -> None:
    """Keys, values, headers and times arrive as they were written: nulls, empty bytes, order and repeats of headers."""
    one, _ = harness.streams()
    written = [
        Draft(b"value", b"key", (("a", b"1"),), 1_700_000_000_001),
        Draft(None, b"key", (), 1_700_000_000_002),
        Draft(b"", None, (("b", b""), ("a", b"\x00\xff"), ("b", b"2")), 1_700_000_000_003),
        Draft(b"\x00\xff\xfe", b"", (("n", None),), 1_700_000_000_004),
        Draft(b"x" * 50_000, "ключ".encode(), (("Kopf", "世界".encode()),), 1_700_000_000_005),
    ]
    harness.produce(one, written)
    with Reading(harness) as reading:
        reading.until(lambda: reading.count(one) >= len(written), "all records are read")
        demand_equal(reading.drafts(one), written, "records")


def a_held_stream_waits_and_others_go_on(harness: SourceHarness) -> None:
    """A stream in `hold` is not read, and goes on without a gap when it is let go."""
    one, two = harness.streams()
    offsets = harness.produce(one, drafts(20))
    with Reading(harness) as reading:
        reading.until_read({one: 20})
        reading.hold.add(one)
        reading.poll()
        before = reading.count(one)
        offsets += harness.produce(one, drafts(30))
        harness.produce(two, drafts(30))
        reading.until_read({two: 30})
        demand_equal(reading.count(one), before, "records of a held stream")
        reading.hold.clear()
        reading.until_read({one: 50})
        demand_equal(reading.offsets(one), offsets, "offsets across a hold")


def a_rewound_stream_is_read_again_under_its_new_epoch(harness: SourceHarness) -> None:
    """After `rewind` the stream starts exactly there, and nothing of the older epoch follows."""
    one, two = harness.streams()
    offsets = harness.produce(one, drafts(50))
    harness.produce(two, drafts(50))
    with Reading(harness) as reading:
        reading.until_read({one: 30})
        reading.rewind(one, offsets[10])
        reading.until_read({one: 40, two: 50})
        demand_equal(reading.offsets(one), offsets[10:], "offsets read again")
        demand_equal(reading.chunks[one][0].start, offsets[10], "start after a rewind")


def a_rewind_forward_leaves_out_what_lies_between(harness: SourceHarness) -> None:
    """After a `rewind` to a position ahead, nothing below it is delivered."""
    one, _ = harness.streams()
    offsets = harness.produce(one, drafts(300))
    with Reading(harness) as reading:
        reading.until_read({one: 1})
        reading.rewind(one, offsets[290])
        reading.until_read({one: 10})
        demand_equal(reading.offsets(one), offsets[290:], "offsets after a rewind forward")


def a_stream_left_out_is_not_read_until_it_is_started(harness: SourceHarness) -> None:
    """A stream for which `gained` gave no start is ours and is not read, until `rewind` starts it."""
    one, two = harness.streams()
    offsets = harness.produce(one, drafts(10))
    harness.produce(two, drafts(10))
    with Reading(harness, {two: None}) as reading:
        reading.until_read({two: 10})
        demand_equal(reading.count(one), 0, "records of a stream that was not started")
        reading.rewind(one, offsets[4])
        reading.until_read({one: 6})
        demand_equal(reading.offsets(one), offsets[4:], "offsets after the start")


def the_end_is_reached_and_said(harness: SourceHarness) -> None:
    """A reader that stands at the end says so, in empty streams too, and not before."""
    one, two = harness.streams()
    offsets = harness.produce(one, drafts(30))
    with Reading(harness) as reading:
        reading.until(lambda: one in reading.reached and two in reading.reached, "the ends are reached")
        demand_equal(reading.reached, {one: offsets[-1] + 1, two: 0}, "ends reached")
        demand_equal(reading.count(one), 30, "records before the end")


def what_was_read_is_confirmed_in_time(harness: SourceHarness) -> None:
    """Everything that was read is confirmed in the end, and never more than was read."""
    one, _ = harness.streams()
    offsets = harness.produce(one, drafts(30))
    with Reading(harness) as reading:
        reading.until(lambda: reading.confirmed.get(one, 0) >= offsets[-1] + 1, "the records are confirmed")
        demand_equal(reading.confirmed[one], offsets[-1] + 1, "confirmed position")


def a_rewound_stream_is_confirmed_anew(harness: SourceHarness) -> None:
    """A confirmation of the older epoch says nothing about what is read again."""
    one, _ = harness.streams()
    offsets = harness.produce(one, drafts(30))
    with Reading(harness) as reading:
        reading.until(lambda: reading.confirmed.get(one, 0) >= offsets[-1] + 1, "the records are confirmed")
        reading.rewind(one, offsets[5])
        reading.until(lambda: reading.confirmed.get(one, 0) >= offsets[-1] + 1, "the records are confirmed again")
        demand_equal(reading.offsets(one), offsets[5:], "offsets read again")


def bounds_are_known_before_reading(harness: SourceHarness) -> None:
    """First and end of every stream are answered without `open`, and for those that are asked."""
    one, two = harness.streams()
    harness.produce(one, drafts(7))
    source = harness.open_source()
    demand_equal(dict(source.bounds()), {one: Bounds(0, 7), two: Bounds(0, 0)}, "bounds of all streams")
    demand_equal(dict(source.bounds([two])), {two: Bounds(0, 0)}, "bounds of one stream")
    source.close()


def acknowledging_is_only_a_hint(harness: SourceHarness) -> None:
    """Acknowledging changes nothing that is read, here or by the next member."""
    one, _ = harness.streams()
    offsets = harness.produce(one, drafts(10))
    with Reading(harness) as reading:
        reading.until_read({one: 10})
        reading.source.acknowledge({one: offsets[5]})
        reading.poll()
    with Reading(harness, {one: offsets[2]}) as later:
        later.until_read({one: 8})
        demand_equal(later.offsets(one), offsets[2:], "offsets read by the next member")


def closing_a_source_twice_is_closing_once(harness: SourceHarness) -> None:
    """A source may be closed again, and before it was opened."""
    harness.open_source().close()
    one, two = harness.streams()
    with Reading(harness) as reading:
        reading.until(lambda: {one, two} <= set(reading.started), "the streams are assigned")
    reading.source.close()


def members_share_the_streams(harness: SourceHarness) -> None:
    """A second member takes some streams over; each is read by one member at a time, and nothing of it is delivered after `lost`."""
    streams = harness.streams()
    for stream in streams:
        harness.produce(stream, drafts(10))
    with Reading(harness) as one:
        one.until_read(dict.fromkeys(streams, 10))
        with Reading(harness, after=one.next_positions) as two:
            one.beside.append(two)
            one.until(lambda: bool(two.started), "the second member gains a stream")
            moved = sorted(two.started)
            demand(one.started, "the first member keeps a stream")
            ends = {stream: harness.produce(stream, drafts(10))[-1] + 1 for stream in streams}
            one.until(lambda: all(max(one.end_of(stream), two.end_of(stream)) >= ends[stream] for stream in streams), "all is read")
            for stream in streams:
                demand_equal(one.offsets(stream) + two.offsets(stream), list(range(ends[stream])), f"offsets of {stream} by both members")
            for stream in moved:
                demand(stream in one.given_up, f"{stream} was taken over before it was given up")


SOURCE_CHECKS: tuple[Callable[[SourceHarness], None], ...] = (
    streams_begin_at_their_first_record,
    the_place_where_an_empty_stream_begins_is_confirmed,
    reading_begins_exactly_at_the_assignment,
    chunks_tile_and_leave_nothing_out,
    records_arrive_whole,
    a_held_stream_waits_and_others_go_on,
    a_rewound_stream_is_read_again_under_its_new_epoch,
    a_rewind_forward_leaves_out_what_lies_between,
    a_stream_left_out_is_not_read_until_it_is_started,
    the_end_is_reached_and_said,
    what_was_read_is_confirmed_in_time,
    a_rewound_stream_is_confirmed_anew,
    bounds_are_known_before_reading,
    acknowledging_is_only_a_hint,
    closing_a_source_twice_is_closing_once,
    members_share_the_streams,
)


def the_end_lies_behind_what_no_reader_sees(harness: SourceHarness) -> None:
    """Markers and aborted records at the tail are passed: the end is reached behind them, and tiles with what follows."""
    one, two = harness.streams()
    harness.produce(one, drafts(5))
    end = harness.append_gap(one)
    harness.append_gap(two)
    with Reading(harness) as reading:
        reading.until(lambda: reading.reached.get(one) == end and two in reading.reached, "the end behind the gap is reached")
        demand_equal(reading.reached[two], harness.bounds(two).end, "end of a stream that holds only a gap")
        offsets = harness.produce(one, drafts(3))
        reading.until_read({one: 8})
        demand_equal(reading.offsets(one)[5:], offsets, "offsets behind the gap")


def expired_records_halt_their_stream(harness: SourceHarness) -> None:
    """A position below the first record that is left halts the stream with DATA_EXPIRED; nothing is skipped, others go on."""
    one, two = harness.streams()
    harness.produce(one, drafts(20))
    harness.produce(two, drafts(5))
    harness.expire(one, 10)
    _demand_halt(harness, one, 3, "DATA_EXPIRED", two)


def a_position_behind_the_end_halts_its_stream(harness: SourceHarness) -> None:
    """A position above the end halts the stream with LOG_TRUNCATED; others go on."""
    one, two = harness.streams()
    harness.produce(one, drafts(5))
    harness.produce(two, drafts(5))
    _demand_halt(harness, one, 9, "LOG_TRUNCATED", two)


def a_topic_created_again_is_never_confirmed(harness: SourceHarness) -> None:
    """A topic that is deleted and created again while it is read halts its streams; nothing of the new one is confirmed as the old."""
    one, two = harness.streams()
    end = harness.produce(one, drafts(5))[-1] + 1
    with Reading(harness) as reading:
        reading.until(lambda: reading.confirmed.get(one) == end, "the records are confirmed")
        harness.recreate()
        replaced, _ = harness.streams()
        demand(replaced != one, "the harness created the same incarnation again")
        harness.produce(replaced, drafts(20))
        reading.until(lambda: one in reading.halted, "the stream halts")
        demand(reading.halted[one].code in {"TOPIC_REPLACED", "TOPIC_GONE"}, f"a halt with {reading.halted[one].code}")
        demand(reading.halted[one].next_step, "a halt says what to do next")
        demand(reading.confirmed.get(one) == end, "records of another incarnation are confirmed")
        demand(reading.confirmed.get(two, 0) == 0, "an empty stream is confirmed beyond its end")


LOG_CHANGE_CHECKS: tuple[Callable[[SourceHarness], None], ...] = (
    the_end_lies_behind_what_no_reader_sees,
    expired_records_halt_their_stream,
    a_position_behind_the_end_halts_its_stream,
    a_topic_created_again_is_never_confirmed,
)


def _demand_halt(harness: SourceHarness, stream: Stream, position: int, code: str, other: Stream) -> None:
    with Reading(harness, {stream: position, other: None}) as reading:
        reading.until(lambda: stream in reading.halted, "the stream halts")
        reading.until_read({other: 5})
        demand_equal(reading.halted[stream].code, code, "code of the halt")
        demand(reading.halted[stream].next_step, "a halt says what to do next")
        demand_equal(reading.count(stream), 0, "records of the halted stream")
