"""`landfast status`."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import typer

from landfast.cli import exits
from landfast.cli.columns import aligned, moment
from landfast.cli.routes import for_each
from landfast.cli.run import AsJson, SettingsFile
from landfast.cli.screen import Screen
from landfast.codes import CODES
from landfast.errors import LandfastError
from landfast.model import Bounds, Halt, Position, Stream

if TYPE_CHECKING:
    from landfast.config import MetricsSettings, RouteSettings, Settings

_WORKER_SECONDS_MAX = 3.0


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """Where one stream stands: the table's position beside what the log has. `lag` is a distance in offsets, not a count of records.

    `state` is a code where a run would halt the stream; `message` and `next_step` are then what the run would say.
    """

    topic: str
    topic_id: str
    partition: int
    position: Position | None
    first: Position | None
    end: Position | None
    lag: int | None
    state: str
    message: str = ""
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """Where one route stands. `problems` are codes that would keep a run from starting; `commit` is the last one of this pipeline.

    `retrying` counts the open dead letters that wait to be tried again, and `retries` is whether the settings have the route try any.

    `looked` is whether its table could be looked at; if not, nothing is known but the problem. `said` holds what each problem says of
    this case, and the next step of it.
    """

    route: str
    table_version: int | None
    streams: tuple[StreamStatus, ...]
    commit: Mapping[str, Any] | None
    dead_letters: Mapping[str, int]
    problems: tuple[str, ...]
    retrying: int = 0
    retries: bool = False
    looked: bool = True
    said: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def status(file: SettingsFile, as_json: AsJson = False) -> None:
    """Show positions, lag, lanes, the last commit, dead letters, and the next step. Changes nothing."""
    from landfast import config, wiring

    settings = config.load(file)
    screen = Screen(as_json=as_json, secrets=wiring.secrets(settings))
    bounds, source_problem = _bounds(settings)
    routes: list[RouteStatus] = []

    def look(route: RouteSettings) -> int:
        try:
            routes.append(status_of(settings, route, bounds))
        except LandfastError as error:
            routes.append(RouteStatus(route.name, None, (), None, {}, (error.code,), looked=False))
            raise
        return exits.WELL

    worst = for_each(settings, screen, look)
    worker = _worker(settings.metrics)
    steps = next_steps(routes, worker, source_problem, str(file))
    if as_json:
        source = None if source_problem is None else {"code": source_problem.code, "message": source_problem.message}
        shown = [asdict(one) for one in routes]
        screen.say({"pipeline": settings.name, "source": source, "worker": worker, "routes": shown, "next": steps})
    else:
        screen.say("\n".join(as_lines(settings.name, routes, worker, source_problem, steps)))
    raise typer.Exit(worst)


def status_of(settings: Settings, route: RouteSettings, bounds: Mapping[Stream, Bounds]) -> RouteStatus:
    """The status of one route, from its table and from what the source was found to have."""
    from landfast import wiring
    from landfast.sinks.delta.proof import inspection, lookup

    sink = wiring.delta_settings(route)
    looked = inspection.inspect(sink, settings.name, wiring.configured_columns(route.decode))
    problems = tuple(problem.code for problem in looked.problems)
    pipeline_id = looked.pipeline_id(settings.name, sink.adopt)
    found = None if pipeline_id is None else lookup.last_commit(sink, pipeline_id)
    commit = None
    if found is not None:
        version, record = found
        at = moment(record.committed_at)
        commit = {"version": version, "run": record.run_id, "sequence": record.sequence, "at": at, "rows": record.rows}
    # What a damaged log has of positions is not known, so no stream is said to be anywhere.
    streams = () if "LOG_CORRUPT" in problems else streams_of(settings, route, bounds, pipeline_id)
    said = {problem.code: (problem.message, problem.next_step) for problem in looked.problems}
    # Those that wait in vain are counted too.
    letters = lookup.letters(replace(sink, retries=True), limit=1)
    retrying, retries = letters.states.get("retrying", 0), bool(route.retry.later.delays_seconds)
    return RouteStatus(route.name, looked.version, streams, commit, letters.reasons, problems, retrying, retries, said=said)


def streams_of(
    settings: Settings, route: RouteSettings, bounds: Mapping[Stream, Bounds], pipeline_id: str | None
) -> tuple[StreamStatus, ...]:
    """How the streams of one route stand, from its table, where the pipeline has this id, and from what the source was found to have."""
    from landfast import wiring
    from landfast.sinks.delta.log.spans import read_spans
    from landfast.sinks.delta.proof import inspection

    sink = wiring.delta_settings(route)
    wanted = {stream: extent for stream, extent in bounds.items() if route.takes(stream.topic)}
    positions: dict[Stream, Position | None] = dict.fromkeys(wanted)
    halts: Mapping[Stream, Halt] = {}
    if pipeline_id is not None:
        # Without the source, the spans of all commits say which streams there are.
        known = wanted or {record.span.stream for record in read_spans(sink.path, sink.storage_options)}
        positions = dict(inspection.positions_of(sink, pipeline_id, sorted(known)))
        halts = inspection.replaced_of(sink, pipeline_id, wanted)
    losses = wiring.accepted_losses(settings)
    accepted = {stream for stream, extent in wanted.items() if losses.accepts(stream, extent)}
    return tuple(
        stream_status(stream, position, wanted.get(stream), halts.get(stream), accepted) for stream, position in sorted(positions.items())
    )


def stream_status(
    stream: Stream, position: Position | None, extent: Bounds | None, halt: Halt | None = None, accepted: Collection[Stream] = ()
) -> StreamStatus:
    """What position and bounds say of a stream, and what the table says of its topic.

    What the log has lost of those in `accepted` is accepted as lost.
    """
    from landfast.sources.kafka_errors import expired, loss_accepted, truncated

    first, end = (None, None) if extent is None else (extent.first, extent.end)
    lag = None if extent is None else max(0, extent.end - max(extent.first, position or 0))
    words = ""
    if halt is None and extent is not None and position is not None and position < extent.first:
        halt = expired(stream, position, extent.first) if stream not in accepted else None
        words = loss_accepted(stream, position, extent.first)
    elif halt is None and extent is not None and position is not None and position > extent.end:
        halt = truncated(stream, position, extent.end)
    state, words, step = (_state(position, extent), words, "") if halt is None else (halt.code, halt.message, halt.next_step)
    return StreamStatus(stream.topic, stream.incarnation, stream.partition, position, first, end, lag, state, words, step)


def _state(position: Position | None, extent: Bounds | None) -> str:
    if extent is None:
        return "source unknown"
    if position is None:
        return "not started" if extent.end > extent.first else "empty"
    if position < extent.first:
        return "loss accepted"
    return "at the end" if position == extent.end else "behind"


def next_steps(routes: list[RouteStatus], worker: Mapping[str, Any] | None, source: LandfastError | None, file: str) -> list[str]:
    """What to do next, the most urgent first. Never empty."""
    streams = [one for route in routes if not route.problems for one in route.streams]
    codes = [(code, one.said.get(code, ("", ""))[1]) for one in routes for code in one.problems]
    codes += [(one.state, one.next_step) for route in routes for one in route.streams]
    codes += [(concern["code"], "") for concern in (worker or {}).get("concerns", ())]
    steps = [f"{code}: {own or CODES[code].next_step}" for code, own in dict.fromkeys(codes) if code in CODES]
    if source is not None:
        steps.append(f"{source.code}: {source.next_step or (CODES[source.code].next_step if source.code in CODES else source.message)}")
    if any(sum(route.dead_letters.values()) > (route.retrying if route.retries else 0) for route in routes):
        steps.append(f"Look at the dead letters: landfast dead-letters list {file}")
    if worker is None and any(one.lag and one.state not in CODES for one in streams):
        # A lane that halted over its records stands in no table: the run that met them is the only one that knows.
        before = (
            " (where a run has left it so, the end of its output says why)" if any(one.table_version is not None for one in routes) else ""
        )
        steps.append(f"There is something to land: landfast run {file}{before}")
    return steps or ["Nothing: all that the log holds has landed."]


def _bounds(settings: Settings) -> tuple[Mapping[Stream, Bounds], LandfastError | None]:
    """What the source has; without it, why it could not be asked."""
    from landfast import wiring
    from landfast.observe.fanout import Fanout
    from landfast.system import SystemClock

    source = wiring.kafka_source(settings, wiring.Site(SystemClock(), Fanout([])))
    try:
        return source.bounds(), None
    except LandfastError as error:
        return {}, error
    finally:
        source.close()


def _worker(metrics: MetricsSettings) -> Mapping[str, Any] | None:
    """The health of a worker on this machine, where the settings say on which port it serves; None where nobody answers."""
    if not metrics.port:
        return None
    request = urllib.request.Request(f"http://{metrics.host}:{metrics.port}/health")
    try:
        with urllib.request.urlopen(request, timeout=_WORKER_SECONDS_MAX) as answer:  # noqa: S310 — an http address of the settings
            body = json.loads(answer.read(1_000_000))
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError, RecursionError):
        return None
    return body if _is_health(body) else None


def _is_health(body: object) -> bool:
    """Whether it is what a worker of ours answers: anybody may serve on that port."""
    if not (isinstance(body, dict) and _is_word(body.get("status")) and isinstance(body.get("concerns"), list)):
        return False
    return all(isinstance(one, dict) and _is_word(one.get("code")) for one in body["concerns"])


def _is_word(value: object) -> bool:
    return isinstance(value, str) and value.isidentifier()


def as_lines(
    pipeline: str, routes: list[RouteStatus], worker: Mapping[str, Any] | None, source: LandfastError | None, steps: list[str]
) -> list[str]:
    """The status for a person."""
    lines = [f"pipeline {pipeline}"]
    if source is not None:
        lines.append(f"  source: {source.code}: {source.message}")
    if worker is not None:
        lines.append(f"  worker: {worker.get('status')}, {'ready' if worker.get('ready') else 'not ready'}")
    for one in routes:
        lines += _route_lines(one)
    return [*lines, *(f"next: {step}" for step in steps)]


def _waiting_words(one: RouteStatus) -> str:
    if not one.retrying:
        return ""
    return f"; {one.retrying:,} of them wait to be tried again" + ("" if one.retries else ", and retry.later has no delays: replay them")


def _route_lines(one: RouteStatus) -> list[str]:
    if not one.looked:
        return [f"route {one.route}: its table could not be looked at: {', '.join(one.problems)}"]
    table = "no table yet" if one.table_version is None else f"table version {one.table_version}"
    if "LOG_CORRUPT" in one.problems:
        table = "its table cannot be read"
    lines = [f"route {one.route}: {table}"]
    if one.commit is not None:
        commit = one.commit
        words = f"version {commit['version']}, {commit['rows']:,} rows, run {commit['run']}, number {commit['sequence']}"
        lines.append(f"  last commit: {commit['at']}, {words}")
    total = sum(one.dead_letters.values())
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in one.dead_letters.items())
    lines.append(f"  dead letters: {total:,}" + (f" ({reasons})" if reasons else "") + _waiting_words(one))
    lines += [f"  problem: {code}: {one.said[code][0] if code in one.said else ''}" for code in one.problems]
    rows = [[f"{stream.topic}[{stream.partition}]", stream.position, stream.end, stream.lag, stream.state] for stream in one.streams]
    return lines + [f"  {line}" for line in aligned(("stream", "position", "end", "lag", "state"), rows) if rows]
