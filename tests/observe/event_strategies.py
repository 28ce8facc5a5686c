"""Events for property tests: of two flows and a few streams, so that they meet each other."""

from __future__ import annotations

from hypothesis import strategies as st

from landfast import events
from landfast.model import Halt, Receipt, Span, Stream, Totals

FLOWS = ("sensors", "orders")
STREAMS = (Stream("a", "id-a", 0), Stream("a", "id-a", 1), Stream("b", "id-b", 0))
CODES = ("SINK_DOWN", "SOURCE_DOWN", "DATA_EXPIRED")

flows = st.sampled_from(FLOWS)
streams = st.sampled_from(STREAMS)
codes = st.sampled_from(CODES)
counts = st.integers(0, 1_000)
positions = st.integers(0, 2**62)
seconds = st.floats(0, 100, allow_nan=False)
words = st.text(max_size=20)


@st.composite
def spans(draw: st.DrawFn) -> Span:
    """A span whose equation holds."""
    start, written, dead, skipped = draw(positions), draw(counts), draw(counts), draw(st.dictionaries(words, counts, max_size=2))
    read = written + dead + sum(skipped.values())
    return Span(draw(streams), start, start + read, read, written, dead, skipped, "d")


receipts = st.builds(
    Receipt,
    spans=st.lists(spans(), max_size=3).map(tuple),
    rows=counts,
    files=counts,
    nbytes=counts,
    version=counts,
    sequence=counts,
    already=st.booleans(),
    seconds=seconds,
)
halts = st.builds(Halt, code=codes, message=words, next_step=words)

ONE_OF_EACH: dict[type[events.Event], st.SearchStrategy[events.Event]] = {
    events.OpeningBegan: st.builds(events.OpeningBegan, flow=flows | st.just(""), target=words, seconds_max=seconds),
    events.StopAsked: st.builds(events.StopAsked, flow=st.just(""), seconds_max=seconds),
    events.RunStarted: st.builds(events.RunStarted, flow=st.just(""), run_id=words, guarantee=words),
    events.RunEnded: st.builds(events.RunEnded, flow=st.just(""), run_id=words, outcome=words, totals=st.just(Totals()), seconds=seconds),
    events.StreamGained: st.builds(events.StreamGained, flow=flows, stream=streams, position=st.none() | positions, epoch=counts),
    events.StreamLost: st.builds(events.StreamLost, flow=flows, stream=streams, abandoned=counts, drained=st.booleans()),
    events.RecordsRead: st.builds(events.RecordsRead, flow=flows, stream=streams, records=counts, nbytes=counts, position=positions),
    events.StaleDropped: st.builds(events.StaleDropped, flow=flows, stream=streams, records=counts),
    events.BatchCut: st.builds(events.BatchCut, flow=flows, number=counts, records=counts, nbytes=counts),
    events.BatchPrepared: st.builds(events.BatchPrepared, flow=flows, number=counts, rows=counts, seconds=seconds),
    events.LettersBuried: st.builds(
        events.LettersBuried, flow=flows, letters=counts, reasons=st.lists(st.tuples(words, counts), max_size=2).map(tuple)
    ),
    events.LettersRetried: st.builds(events.LettersRetried, flow=flows, landed=counts, refused=counts, given_up=counts),
    events.LettersWaiting: st.builds(events.LettersWaiting, flow=flows, letters=counts, keys=counts, letters_max=st.integers(1, 1_000)),
    events.BatchLanded: st.builds(events.BatchLanded, flow=flows, receipt=receipts, batches=counts),
    events.ServiceCalled: st.builds(
        events.ServiceCalled, flow=flows, records=counts, outcome=st.sampled_from(["finished", "refused", "failed"]), seconds=seconds
    ),
    events.ConflictMet: st.builds(events.ConflictMet, flow=flows, code=codes, message=words),
    events.RetryScheduled: st.builds(
        events.RetryScheduled, flow=flows | st.just(""), code=codes, kind=words, attempt=counts, wait_seconds=seconds, message=words
    ),
    events.LaneHalted: st.builds(events.LaneHalted, flow=flows, stream=streams, position=st.none() | positions, halt=halts),
    events.LaneProgress: st.builds(
        events.LaneProgress, flow=flows, stream=streams, landed=st.none() | positions, end=st.none() | positions, held=st.booleans()
    ),
    events.OutcomeResolved: st.builds(
        events.OutcomeResolved, flow=flows, landed=st.booleans(), message=words, spans=st.lists(spans(), max_size=2).map(tuple)
    ),
    events.MemoryHeld: st.builds(events.MemoryHeld, flow=flows, nbytes=counts, batches=counts, undecoded=counts, nbytes_max=counts),
    events.Maintained: st.builds(events.Maintained, flow=flows, act=words, files=counts, nbytes=counts, seconds=seconds),
    events.Notice: st.builds(
        events.Notice,
        flow=flows | st.just(""),
        code=codes,
        message=words,
        severity=st.sampled_from(["info", "warning", "error", "cleared"]),
    ),
}

any_event = st.one_of(*ONE_OF_EACH.values())
histories = st.lists(any_event, max_size=30)
