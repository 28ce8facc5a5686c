"""From settings to a runner: the one place that knows which adapter stands behind which setting."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, TypeVar

from landfast import events
from landfast.config import BatchSettings, DeadLetterSettings, DecodeSettings, EngineSettings, RouteSettings, Settings, SourceSettings
from landfast.core.batching import BatchLimits
from landfast.core.breaker import BreakerLimits
from landfast.core.route import FlowLimits, Route
from landfast.core.retry import Backoff, RetryPolicy
from landfast.core.route import FlowLimits, Route
from landfast.core.runner import Runner, RunnerLimits, Workplace
from landfast.core.upkeep import UpkeepLimits
from landfast.errors import Misconfigured, Unavailable
from landfast.model import Run
from landfast.ports import Clock, Decoder, Extent, Observer, Source
from landfast.system import Threads, committers, cores, jitter

T = TypeVar("T")
_WAIT_TICK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Site:
    """Where a pipeline is put up: time, ears, and whether somebody has asked it to stop meanwhile."""

    clock: Clock
    observer: Observer
    stopping: Callable[[], bool] = bool


def new_run(pipeline: str, settings_digest: str, clock: Clock) -> Run:
    """A run that begins now. Its id sorts by time."""
    started_at = clock.now()
    moment = datetime.fromtimestamp(started_at, UTC)
    return Run(f"{moment:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}", pipeline, settings_digest, started_at)


def secrets(settings: Settings) -> tuple[str, ...]:
    """Every text of the settings that no output may show."""
    source = settings.source.options
    found = set(source.secrets(source.resolve("source.options")))
    for route in settings.routes:
        options = route.sink.storage_options
        found.update(options.secrets(options.resolve("sink.storage_options")))
    return tuple(sorted(found))


def build(settings: Settings, site: Site, decoders: Mapping[str, Decoder] | None = None) -> Runner:
    """The runner of a pipeline: one source, one flow per route. `decoders` stand in for those of the settings, by route.

    Tables are opened, and created where they are missing, so all that is wrong with them is found out here.

    Raises:
        Misconfigured: what the settings point to cannot be used.
        Unavailable: a store did not answer in time.
    """
    run = new_run(settings.name, settings.digest(), site.clock)
    source = kafka_source(settings, site)
    routes = [route_of(settings, route, run, site, (decoders or {}).get(route.name)) for route in settings.routes]
    return assembled(source, source, routes, run, settings.engine, site)


def assembled(source: Source, extent: Extent, routes: Sequence[Route], run: Run, engine: EngineSettings, site: Site) -> Runner:
    """The runner over these parts."""
    pool = Threads("landfast-stage", threads=engine.staging_threads or cores())
    workplace = Workplace(site.clock, pool, committers(), site.observer, jitter())
    return Runner(source, extent, routes, run, runner_limits(engine), workplace)


def route_of(settings: Settings, route: RouteSettings, run: Run, site: Site, decoder: Decoder | None) -> Route:
    """A route with its table open."""
    from landfast.sinks.delta.dead_letters import DeltaDeadLetters
    from landfast.sinks.delta.sink import DeltaSink
    from landfast.sinks.delta.startup import open_table

    opening = partial(open_table, delta_settings(route), run, configured_columns(route.decode), site.clock, site.observer)
    home = patiently(opening, settings.engine, site)
    sink = DeltaSink(home)
    limits = flow_limits(settings.engine, route.batch, route.dead_letters)
    return Route(route.name, route.takes, decoder or decoder_of(route.decode, sink.schema), sink, DeltaDeadLetters(home), limits)


def patiently(call: Callable[[], T], engine: EngineSettings, site: Site) -> T:
    """The result of `call`, tried again while what it needs does not answer, until `engine.open_wait_seconds` have passed.

    Raises:
        Unavailable: the last failure, when the time is over or the pipeline was asked to stop.
    """
    backoff = Backoff(open_policy(engine))
    draw = jitter()
    while True:
        try:
            return call()
        except Unavailable as error:
            wait = backoff.failed(site.clock.monotonic(), draw())
            if wait is None or site.stopping():
                raise
            site.observer.notice(events.RetryScheduled("", error.code, error.kind, backoff.attempt, wait, error.message))
        while backoff.waiting(site.clock.monotonic()) and not site.stopping():
            site.clock.sleep(_WAIT_TICK_SECONDS)


def decoder_of(decode: DecodeSettings, table_schema: Callable[[], Any]) -> Decoder:
    """The decoder of a route; `table_schema` gives the table's data columns as they are now."""
    from landfast.decode.json import JsonDecoder
    from landfast.decode.json_rules import JsonLimits
    from landfast.decode.raw import RawDecoder
    from landfast.decode.schema import from_arrow

    if decode.format == "raw":
        return RawDecoder(tombstones=decode.tombstones)
    columns = configured_columns(decode)
    # With `evolve` the table's columns grow while we run, so they are asked each time; otherwise the settings have the last word.
    schema = columns if columns is not None and decode.unknown_fields != "evolve" else _remembered(table_schema, from_arrow)
    limits = JsonLimits(record_bytes=decode.record_bytes_max, depth=decode.depth_max)
    return JsonDecoder(schema, unknown_fields=decode.unknown_fields, tombstones=decode.tombstones, limits=limits)


def _remembered(schema: Callable[[], Any], translated: Callable[[Any], Any]) -> Callable[[], Any]:
    """`translated(schema())`, worked out again only when the schema is another."""
    last: list[tuple[Any, Any]] = []

    def current() -> Any:
        now = schema()
        if not last or last[0][0] != now:
            last[:] = [(now, translated(now))]
        return last[0][1]

    return current


def configured_columns(decode: DecodeSettings) -> Any:
    """The Arrow schema that the settings describe; None where they leave it to the table.

    Raises:
        Misconfigured: a column's type is not one.
    """
    from landfast.decode.raw import RAW_SCHEMA
    from landfast.decode.schema import parse_columns

    if decode.format == "raw":
        return RAW_SCHEMA
    return parse_columns(decode.columns) if decode.columns else None


def kafka_settings(settings: Settings) -> Any:
    """The Kafka source's settings, secrets resolved."""
    from landfast.sources.kafka_settings import KafkaSettings

    source = settings.source
    return KafkaSettings(
        servers=source.servers,
        group=settings.group,
        topics=source.topics,
        topic_pattern=source.topic_pattern,
        start=_start(source),
        protocol=source.protocol,
        instance_id=source.instance_id,
        options=source.options.resolve("source.options"),
        poll_interval_seconds_max=source.poll_interval_seconds_max,
        poll_bytes_max=source.poll_bytes_max,
        request_seconds_max=source.request_seconds_max,
        revoke_seconds=settings.revoke_seconds,
        stall_seconds=settings.engine.stall_seconds,
        topic_check_seconds=source.topic_check_seconds,
        confirm_seconds=source.confirm_seconds,
        topic_ids=source.topic_ids,
    )


def _start(source: SourceSettings) -> Literal["earliest", "latest"] | int:
    if source.start != "timestamp":
        return source.start
    if source.start_at is None:
        raise Misconfigured("CONFIG_MISSING", 'source.start_at: start = "timestamp" needs the time')
    return int(source.start_at.timestamp() * 1000)


def kafka_source(settings: Settings, site: Site) -> Any:
    """The Kafka source; it connects when the run begins."""
    from landfast.sources.kafka import KafkaSource

    return KafkaSource(kafka_settings(settings), site.clock, site.observer)


def delta_settings(route: RouteSettings) -> Any:
    """The Delta sink's settings, secrets resolved."""
    from landfast.sinks.delta.settings import DeltaSettings

    sink = route.sink
    return DeltaSettings(
        path=sink.path,
        storage_options=sink.storage_options.resolve("sink.storage_options"),
        partition_by=sink.partition_by,
        unknown_fields="dead" if route.decode.format == "raw" else route.decode.unknown_fields,
        adopt=sink.adopt,
        accept_topic_ids=frozenset(sink.accept_topic_ids),
        accept_lineage_version=sink.accept_lineage_version,
        compression_level=sink.compression_level,
        row_group_rows_max=sink.row_group_rows_max,
        file_bytes_target=sink.file_bytes_target,
        checkpoint_commits=sink.checkpoint_commits,
    )


def flow_limits(engine: EngineSettings, batch: BatchSettings, dead_letters: DeadLetterSettings) -> FlowLimits:
    """What bounds a flow."""
    retry = engine.retry
    return FlowLimits(
        batch=BatchLimits(batch.rows, batch.bytes, batch.seconds),
        breaker=BreakerLimits(dead_letters.max_share, dead_letters.max_in_a_row),
        retry=RetryPolicy(retry.attempts, retry.first_wait_seconds, retry.wait_seconds_max, retry.total_seconds),
        upkeep=UpkeepLimits(seconds_max=engine.maintain_seconds),
    )


def runner_limits(engine: EngineSettings) -> RunnerLimits:
    """What bounds a run."""
    return RunnerLimits(
        poll_records=engine.poll_records,
        poll_seconds=engine.poll_seconds,
        memory_bytes_max=engine.memory_bytes,
        shutdown_seconds=engine.shutdown_seconds,
        open=open_policy(engine),
    )


def open_policy(engine: EngineSettings) -> RetryPolicy:
    """How patient to be at the start."""
    return RetryPolicy(attempts_max=1_000_000, wait_seconds_max=5.0, total_seconds_max=engine.open_wait_seconds)
