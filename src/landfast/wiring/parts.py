"""Each part of a pipeline from its settings: the one place that knows which adapter stands behind which setting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from landfast.config import (
    BatchSettings,
    DeadLetterSettings,
    DecodeSettings,
    EngineSettings,
    RetrySettings,
    RouteRetrySettings,
    RouteSettings,
    Settings,
    SourceSettings,
)
from landfast.config.options import secrets_of_uri
from landfast.core.batching import BatchLimits
from landfast.core.breaker import BreakerLimits
from landfast.core.pieces import PieceLimits
from landfast.core.retry import RetryPolicy
from landfast.core.route import FlowLimits, Later
from landfast.core.runner import RunnerLimits
from landfast.core.upkeep import UpkeepLimits
from landfast.errors import Misconfigured
from landfast.events import Event
from landfast.ports import Clock, Decoder, Observer
from landfast.system import SystemClock, cores


class Silence:
    """An observer that takes note of nothing."""

    def notice(self, event: Event) -> None:
        """See `ports.Observer`."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a pipeline is put up: time, ears, and whether somebody has asked it to stop meanwhile."""

    clock: Clock
    observer: Observer
    stopping: Callable[[], bool] = bool


def secrets(settings: Settings) -> tuple[str, ...]:
    """Every text of the settings that no output may show."""
    source = settings.source.options
    found = set(source.secrets(source.resolve("source.options")))
    for route in settings.routes:
        options = route.sink.storage_options
        found.update(options.secrets(options.resolve("sink.storage_options")))
        found.update(secrets_of_uri(route.sink.path))
    return tuple(sorted(found))


def kafka_source(settings: Settings, site: Site) -> Any:
    """The Kafka source; it connects when the run begins."""
    from landfast.sources.kafka import KafkaSource

    return KafkaSource(kafka_settings(settings), site.clock, site.observer)


def accepted_losses(settings: Settings) -> Any:
    """Which losses of the log the settings accept."""
    from landfast.sources.kafka_losses import AcceptedLosses

    return AcceptedLosses(settings.source.accepted(), frozenset(one for route in settings.routes for one in route.sink.accept_topic_ids))


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
        accept_expired=accepted_losses(settings),
        protocol=source.protocol,
        instance_id=source.instance_id,
        instance_seconds_max=source.instance_seconds_max,
        options=source.options.resolve("source.options"),
        session_seconds=source.session_seconds,
        poll_interval_seconds_max=source.poll_interval_seconds_max,
        poll_bytes_max=source.poll_bytes_max,
        request_seconds_max=source.request_seconds_max,
        revoke_seconds=settings.revoke_seconds,
        stall_seconds=settings.engine.stall_seconds,
        topic_check_seconds=source.topic_check_seconds,
        confirm_seconds=source.confirm_seconds,
        topic_ids=source.topic_ids,
    )


def client_configuration(settings: Settings) -> dict[str, Any]:
    """What a client of the same brokers is made with that is no consumer, secrets resolved."""
    from landfast.sources.kafka_settings import admin_configuration

    return admin_configuration(kafka_settings(settings))


def unguarded(settings: Settings) -> str:
    """What the connection to the brokers leaves open, in words; empty where there is nothing."""
    from landfast.sources.kafka_settings import unguarded as left_open

    return left_open(settings.source.options.resolve("source.options"))


def _start(source: SourceSettings) -> Literal["earliest", "latest"] | int:
    if source.start != "timestamp":
        return source.start
    if source.start_at is None:
        raise Misconfigured("CONFIG_MISSING", 'source.start_at: start = "timestamp" needs the time')
    return int(source.start_at.timestamp() * 1000)


def rereader(settings: Settings, site: Site | None = None) -> Any:
    """What reads ranges of the log again, without joining the group: an `audit.Rereader`."""
    from landfast.sources.kafka_reread import KafkaRereader

    site = site or Site(SystemClock(), Silence())
    return KafkaRereader(kafka_settings(settings), site.clock, site.observer)


def decoder_of(decode: DecodeSettings, table_schema: Callable[[], Any], key: Sequence[str] = ()) -> Decoder:
    """The decoder of a route; `table_schema` gives the table's data columns as they are now, `key` those that its rows are told apart by.

    Raises:
        Misconfigured: the Kafka keys of records that delete cannot give the key.
    """
    from landfast.decode.json import JsonDecoder
    from landfast.decode.json_rules import JsonLimits
    from landfast.decode.raw import RawDecoder
    from landfast.decode.schema import from_arrow
    from landfast.decode.tombstones import DeletingDecoder, check_key_format

    if decode.format == "raw":
        return RawDecoder(tombstones=decode.tombstones)
    columns = configured_columns(decode)
    # With `evolve` the table's columns grow while we run, so they are asked each time; otherwise the settings have the last word.
    schema = columns if columns is not None and decode.unknown_fields != "evolve" else _remembered(table_schema, from_arrow)
    limits = JsonLimits(record_bytes=decode.record_bytes_max, depth=decode.depth_max, parts=decode.parts_max)
    wanted = [] if columns is None else columns.names
    deletes = decode.tombstones == "delete"
    tombstones = "skip" if decode.tombstones == "delete" else decode.tombstones
    decoder = JsonDecoder(schema, unknown_fields=decode.unknown_fields, tombstones=tombstones, limits=limits, wanted=wanted)
    if not deletes:
        return decoder
    check_key_format(table_schema(), key, decode.key_format)
    return DeletingDecoder(decoder, table_schema, key, decode.key_format)


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


def delta_settings(route: RouteSettings) -> Any:
    """The Delta sink's settings, secrets resolved."""
    from landfast.sinks.delta.settings import DeltaSettings, UpsertSettings

    sink = route.sink
    return DeltaSettings(
        upsert=UpsertSettings(sink.key, sink.order_by, sink.delete_when) if sink.mode == "upsert" else None,
        retries=bool(route.retry.later.delays_seconds),
        path=sink.path,
        storage_options=sink.storage_options.resolve("sink.storage_options"),
        partition_by=sink.partition_by,
        partitions_per_batch_max=sink.partitions_per_batch_max,
        unknown_fields="dead" if route.decode.format == "raw" else route.decode.unknown_fields,
        adopt=sink.adopt,
        accept_topic_ids=frozenset(sink.accept_topic_ids),
        accept_lineage_version=sink.accept_lineage_version,
        compression_level=sink.compression_level,
        row_group_rows_max=sink.row_group_rows_max,
        file_bytes_target=sink.file_bytes_target,
        columns_max=sink.columns_max,
        checkpoint_commits=sink.maintenance.checkpoint_commits,
    )


def maintenance_settings(route: RouteSettings) -> Any:
    """How often the route's table is tidied up, and with which limits."""
    from landfast.sinks.delta.upkeep.maintenance import MaintenanceSettings

    wanted = route.sink.maintenance
    return MaintenanceSettings(
        checkpoint_commits=wanted.checkpoint_commits,
        cleanup_interval_seconds=wanted.cleanup_seconds,
        compaction_interval_seconds=wanted.compaction_seconds,
        file_bytes_small=wanted.file_bytes_small,
        compaction_files_min=wanted.compaction_files_min,
        compaction_bytes_max=wanted.compaction_bytes_max,
        sweep_interval_seconds=wanted.sweep_seconds,
        sweep_grace_seconds=wanted.sweep_grace_seconds,
    )


def maintenance_of(route: RouteSettings, site: Site) -> Any:
    """What keeps the route's table fast and small."""
    from landfast.sinks.delta.upkeep.maintenance import Maintenance

    return Maintenance(maintenance_settings(route), delta_settings(route), site.clock, site.observer, flow=route.name)


def staging_threads(engine: EngineSettings) -> int:
    """How many threads decode and stage."""
    return engine.staging_threads or cores()


def flow_limits(engine: EngineSettings, batch: BatchSettings, dead_letters: DeadLetterSettings, retry: RouteRetrySettings) -> FlowLimits:
    """What bounds a flow."""
    return FlowLimits(
        batch=BatchLimits(batch.rows, batch.bytes, batch.seconds),
        # Every thread has a piece in hand and one waiting, with a few to spare for the time between two looks of the main thread.
        piece=PieceLimits(waiting_max=2 * staging_threads(engine) + 4),
        breaker=BreakerLimits(dead_letters.max_share, dead_letters.max_in_a_row),
        retry=_policy(retry.over(engine.retry)),
        retry_by_class={error_class: _policy(own) for error_class, own in retry.by_class(engine.retry).items()},
        upkeep=UpkeepLimits(seconds_max=engine.maintain_seconds),
        later=Later(frozenset(retry.later.reasons) or None, retry.later.waiting_records_max),
    )


def _policy(retry: RetrySettings) -> RetryPolicy:
    return RetryPolicy(retry.attempts, retry.first_wait_seconds, retry.wait_seconds_max, retry.total_seconds)


def runner_limits(engine: EngineSettings) -> RunnerLimits:
    """What bounds a run."""
    return RunnerLimits(
        poll_records=engine.poll_records,
        poll_seconds=engine.poll_seconds,
        memory_bytes_max=engine.memory_bytes,
        shutdown_seconds=engine.shutdown_seconds,
        others_seconds_max=engine.others_seconds,
        open=open_policy(engine),
    )


def open_policy(engine: EngineSettings) -> RetryPolicy:
    """How patient to be at the start."""
    return RetryPolicy(attempts_max=1_000_000, wait_seconds_max=5.0, total_seconds_max=engine.open_wait_seconds)
