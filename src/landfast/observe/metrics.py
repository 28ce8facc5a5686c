"""Every metric Landfast exports: one table of name, kind, unit, labels and meaning, each with the function that reads it.

The reference page of metrics is generated from this table. Names are a contract: they do not change within a major version.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from landfast.observe.health import health
from landfast.observe.state import Distribution, FlowState, LaneState, State

Labels = tuple[str, ...]
Sample = tuple[Labels, float]


@dataclass(frozen=True, slots=True)
class Metric:
    """One exported series: `kind` is counter, gauge or histogram; `read` yields its samples, label values in the order of `labels`."""

    name: str
    kind: str
    unit: str
    labels: Labels
    meaning: str
    read: Callable[[State], Iterable[tuple[Labels, float | Distribution]]]


def _of_flows(value: Callable[[FlowState], float | Distribution]) -> Callable[[State], Iterator[tuple[Labels, float | Distribution]]]:
    def read(state: State) -> Iterator[tuple[Labels, float | Distribution]]:
        for name, flow in state.flows.items():
            yield (name,), value(flow)

    return read


def _of_names(counts: Callable[[FlowState], Iterable[tuple[Labels, float]]]) -> Callable[[State], Iterator[Sample]]:
    def read(state: State) -> Iterator[Sample]:
        for name, flow in state.flows.items():
            for labels, count in counts(flow):
                yield (name, *labels), count

    return read


def _of_topics(counts: Callable[[LaneState], Iterable[tuple[Labels, float]]]) -> Callable[[State], Iterator[Sample]]:
    def read(state: State) -> Iterator[Sample]:
        sums: Counter[Labels] = Counter()
        for flow, stream, lane in state.lanes:
            for labels, count in counts(lane):
                sums[flow, stream.topic, *labels] += count  # type: ignore[assignment]
        yield from sums.items()

    return read


def _of_lanes(value: Callable[[LaneState], float | None]) -> Callable[[State], Iterator[Sample]]:
    def read(state: State) -> Iterator[Sample]:
        for flow, stream, lane in state.lanes:
            number = value(lane)
            if lane.assigned and number is not None:
                yield (flow, stream.topic, str(stream.partition)), number

    return read


def _halted(state: State) -> Iterator[Sample]:
    counts = Counter((flow, lane.halt.code) for flow, _, lane in state.lanes if lane.halt is not None)
    yield from counts.items()


def _problems(state: State) -> Iterator[Sample]:
    for problem in state.problems.values():
        yield (problem.flow, problem.code), 1


def _landed_at(state: State) -> Iterator[Sample]:
    for name, flow in state.flows.items():
        if flow.landed_at is not None:
            yield (name,), flow.landed_at


def _version(state: State) -> Iterator[Sample]:
    for name, flow in state.flows.items():
        if flow.last is not None:
            yield (name,), flow.last.version


_F, _FT, _FTP = ("flow",), ("flow", "topic"), ("flow", "topic", "partition")
_C, _G, _H = "counter", "gauge", "histogram"

METRICS: tuple[Metric, ...] = (
    Metric(
        "landfast_batches_cut_total", _C, "batches", _F, "Batches cut and handed to the pool.", _of_flows(lambda flow: flow.batches_cut)
    ),
    Metric(
        "landfast_batches_in_flight", _G, "batches", _F, "Batches cut and not yet landed.", _of_flows(lambda flow: flow.batches_in_flight)
    ),
    Metric("landfast_batches_landed_total", _C, "batches", _F, "Batches landed.", _of_flows(lambda flow: flow.batches_landed)),
    Metric(
        "landfast_conflicts_total",
        _C,
        "commits",
        ("flow", "code"),
        "Commits refused by the fence, because the position had moved.",
        _of_names(lambda flow: [((code,), count) for code, count in flow.conflicts.items()]),
    ),
    Metric(
        "landfast_decodings_waiting",
        _G,
        "calls",
        _F,
        "Calls of the pool that have still to decode records; where there are too many, reading waits.",
        _of_flows(lambda flow: flow.decodings_waiting),
    ),
    Metric("landfast_file_bytes_total", _C, "bytes", _F, "Bytes of the data files committed.", _of_flows(lambda flow: flow.file_bytes)),
    Metric("landfast_files_total", _C, "files", _F, "Data files committed.", _of_flows(lambda flow: flow.files)),
    Metric(
        "landfast_flush_seconds", _H, "seconds", _F, "How long a successful flush (one commit) took.", _of_flows(lambda flow: flow.flush)
    ),
    Metric(
        "landfast_flushes_total",
        _C,
        "commits",
        ("flow", "outcome"),
        "Flushes by outcome: landed, already (an earlier attempt had landed it), conflict, retried.",
        _of_names(lambda flow: [((outcome,), count) for outcome, count in flow.flushes.items()]),
    ),
    Metric(
        "landfast_handler_calls_total",
        _C,
        "calls",
        ("flow", "outcome"),
        "Calls of a service's function by outcome: finished, refused (records that it cannot take), failed.",
        _of_names(lambda flow: [((outcome,), count) for outcome, count in flow.calls.items()]),
    ),
    Metric(
        "landfast_handler_seconds",
        _H,
        "seconds",
        _F,
        "How long one call of a service's function took, whatever came of it.",
        _of_flows(lambda flow: flow.call),
    ),
    Metric(
        "landfast_healthy",
        _G,
        "boolean",
        (),
        "1 while nothing is halted or being retried.",
        lambda state: [((), not health(state).concerns)],
    ),
    Metric(
        "landfast_keys_waiting",
        _G,
        "keys",
        _F,
        "Keys of which later records wait behind a dead letter that is to be tried again.",
        _of_flows(lambda flow: flow.keys_waiting),
    ),
    Metric(
        "landfast_lag_offsets",
        _G,
        "offsets",
        _FTP,
        "Distance from the durable position to the log's end. Not a count of records: logs have gaps.",
        _of_lanes(lambda lane: lane.lag),
    ),
    Metric(
        "landfast_lanes_assigned",
        _G,
        "lanes",
        _F,
        "Streams assigned to this process.",
        _of_flows(lambda flow: sum(lane.assigned for lane in flow.lanes.values())),
    ),
    Metric("landfast_lanes_halted", _G, "lanes", ("flow", "code"), "Lanes that stand still, by code.", _halted),
    Metric(
        "landfast_lanes_held",
        _G,
        "lanes",
        _F,
        "Lanes that are assigned and not read for now: full, halted or backing off.",
        _of_flows(lambda flow: sum(lane.held for lane in flow.lanes.values())),
    ),
    Metric(
        "landfast_letters_buried_total",
        _C,
        "records",
        ("flow", "reason"),
        "Dead letters made durable, by reason. A letter that is buried again after a failed commit counts again.",
        _of_names(lambda flow: [((reason,), count) for reason, count in flow.letters.items()]),
    ),
    Metric(
        "landfast_letters_retried_total",
        _C,
        "attempts",
        ("flow", "outcome"),
        "Attempts on dead letters by outcome: landed, refused (it goes on waiting), given_up (it was the last).",
        _of_names(lambda flow: [((outcome,), count) for outcome, count in flow.letters_retried.items()]),
    ),
    Metric(
        "landfast_letters_waiting",
        _G,
        "records",
        _F,
        "Dead letters that wait to be tried again, those behind another one of their key included.",
        _of_flows(lambda flow: flow.letters_waiting),
    ),
    Metric(
        "landfast_letters_waiting_limit",
        _G,
        "records",
        _F,
        "How many may wait: at that the flow reads nothing.",
        _of_flows(lambda flow: flow.letters_waiting_max),
    ),
    Metric(
        "landfast_maintenance_seconds_total",
        _C,
        "seconds",
        _F,
        "Time spent on maintenance.",
        _of_flows(lambda flow: flow.maintained_seconds),
    ),
    Metric(
        "landfast_maintenance_total",
        _C,
        "acts",
        ("flow", "act"),
        "Acts of maintenance: checkpoint, clean-up, compaction, sweep.",
        _of_names(lambda flow: [((act,), count) for act, count in flow.maintained.items()]),
    ),
    Metric("landfast_memory_bytes", _G, "bytes", _F, "Bytes read and not yet landed.", _of_flows(lambda flow: flow.memory_bytes)),
    Metric(
        "landfast_memory_limit_bytes",
        _G,
        "bytes",
        _F,
        "The flow's share of the memory: at it nothing is read.",
        _of_flows(lambda flow: flow.memory_bytes_max),
    ),
    Metric(
        "landfast_notices_total",
        _C,
        "events",
        ("code",),
        "Notices by code.",
        lambda state: [((code,), count) for code, count in state.notices.items()],
    ),
    Metric(
        "landfast_outcomes_resolved_total",
        _C,
        "commits",
        ("flow", "outcome"),
        "Commits whose answer was lost, by what reading the position back showed: landed or absent.",
        _of_names(lambda flow: [((outcome,), count) for outcome, count in flow.resolved.items()]),
    ),
    Metric("landfast_position", _G, "offset", _FTP, "The durable position: the next offset to land.", _of_lanes(lambda lane: lane.landed)),
    Metric(
        "landfast_prepare_seconds", _H, "seconds", _F, "How long decoding and staging a batch took.", _of_flows(lambda flow: flow.prepare)
    ),
    Metric("landfast_problems", _G, "boolean", ("flow", "code"), "1 for each problem that is open right now.", _problems),
    Metric("landfast_read_bytes_total", _C, "bytes", _FT, "Bytes of records read.", _of_topics(lambda lane: [((), lane.read_bytes)])),
    Metric(
        "landfast_read_position",
        _G,
        "offset",
        _FTP,
        "Where the reader stands: the next offset to read.",
        _of_lanes(lambda lane: lane.reached),
    ),
    Metric(
        "landfast_ready",
        _G,
        "boolean",
        (),
        "1 while streams are assigned and no lane is halted.",
        lambda state: [((), health(state).ready)],
    ),
    Metric(
        "landfast_records_abandoned_total",
        _C,
        "records",
        _FT,
        "Records read and not landed when their stream went to another owner, who reads them again.",
        _of_topics(lambda lane: [((), lane.abandoned)]),
    ),
    Metric(
        "landfast_records_dead_total",
        _C,
        "records",
        _FT,
        "Records that landed as dead letters.",
        _of_topics(lambda lane: [((), lane.totals.dead)]),
    ),
    Metric(
        "landfast_records_landed_total",
        _C,
        "records",
        _FT,
        "Records accounted for by durable commits: written + dead + skipped.",
        _of_topics(lambda lane: [((), lane.totals.read)]),
    ),
    Metric(
        "landfast_records_read_total",
        _C,
        "records",
        _FT,
        "Records that arrived from the source. A record that is read again counts again.",
        _of_topics(lambda lane: [((), lane.read)]),
    ),
    Metric(
        "landfast_records_skipped_total",
        _C,
        "records",
        ("flow", "topic", "reason"),
        "Records skipped by a rule of the settings, by reason.",
        _of_topics(lambda lane: [((reason,), count) for reason, count in lane.totals.skipped.items()]),
    ),
    Metric(
        "landfast_records_stale_total",
        _C,
        "records",
        _FT,
        "Records discarded because they carried the epoch of an earlier assignment.",
        _of_topics(lambda lane: [((), lane.stale)]),
    ),
    Metric(
        "landfast_records_written_total",
        _C,
        "records",
        _FT,
        "Records that landed as rows.",
        _of_topics(lambda lane: [((), lane.totals.written)]),
    ),
    Metric(
        "landfast_retries_total",
        _C,
        "attempts",
        ("flow", "kind", "code"),
        "Attempts that failed for now and were scheduled again, by kind of error.",
        _of_names(lambda flow: list(flow.retries.items())),
    ),
    Metric("landfast_source_end", _G, "offset", _FTP, "The log's end as last seen.", _of_lanes(lambda lane: lane.end)),
    Metric(
        "landfast_streams_gained_total", _C, "streams", _F, "Assignments of streams to this process.", _of_flows(lambda flow: flow.gained)
    ),
    Metric("landfast_streams_lost_total", _C, "streams", _F, "Streams that went to another owner.", _of_flows(lambda flow: flow.lost)),
    Metric("landfast_table_version", _G, "version", _F, "The sink's version of our last commit.", _version),
    Metric(
        "landfast_telemetry_dropped_total",
        _C,
        "events",
        (),
        "Events that the logs could not keep up with. Landing never waits for them.",
        lambda state: [((), state.dropped)],
    ),
    Metric("landfast_written_at_seconds", _G, "seconds", _F, "When our last commit landed, in seconds since the epoch.", _landed_at),
)
