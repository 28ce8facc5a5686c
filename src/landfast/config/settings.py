"""The settings of a pipeline as one frozen tree: names, defaults, bounds and descriptions. The names are a contract with users.

The reference page `docs/reference/settings.md` is generated from these fields, so a description is written for users.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BeforeValidator, Field, PlainSerializer

from landfast.config.maintenance import MaintenanceSettings
from landfast.config.options import Options, mask_uri
from landfast.config.retries import RetrySettings, RouteRetrySettings
from landfast.config.section import Section
from landfast.config.sizes import GIB, KIB, MIB, ByteSize
from landfast.model import Stream

_STREAM = re.compile(r"([A-Za-z0-9._-]{1,249})\[(0|[1-9][0-9]{0,9})\](?:@([A-Za-z0-9_-]{1,64}))?")

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


def stream_of(name: str) -> Stream | None:
    """The stream of `topic[number]@id`, or of `topic[number]`, whose incarnation is left empty; None where it names none."""
    match = _STREAM.fullmatch(name)
    return None if match is None else Stream(match[1], match[3] or "", int(match[2]))


def _parse_options(value: object) -> object:
    return Options(value) if isinstance(value, Mapping) and not isinstance(value, Options) else value


OptionMap = Annotated[Options, BeforeValidator(_parse_options), PlainSerializer(lambda options: options.masked())]
Location = Annotated[str, PlainSerializer(mask_uri)]


class SourceSettings(Section):
    """Where events come from."""

    kind: Literal["kafka"] = Field(default="kafka", description="The kind of source.")
    servers: str = Field(
        min_length=1, max_length=4096, description="Bootstrap servers, `host:port`, separated by commas; IPv6 in brackets."
    )
    topics: tuple[str, ...] = Field(
        default=(),
        max_length=10_000,
        strict=False,
        description="The topics to read, by name. With routes, the topics that the routes name; if one of them takes topics by a pattern, "
        "give `topic_pattern`.",
    )
    topic_pattern: str | None = Field(
        default=None,
        min_length=2,
        max_length=1000,
        description="A regular expression that is searched for in topic names, so anchor it: `^sensors[.]`. "
        "Topics that match are read, also those made later.",
    )
    group: str | None = Field(
        default=None,
        min_length=1,
        max_length=249,
        description="The consumer group, which only shares out partitions: for the workers of one pipeline. None: `landfast-<name>`.",
    )
    start: Literal["earliest", "latest", "timestamp"] = Field(
        default="earliest",
        description="Where to start a stream that the sink has never seen; otherwise the sink's own position says. "
        "A partition that is added to a topic which is being read is read from its first record; so is, after a restart, one whose place "
        "could not land at the first start (no leader, a halted lane). `READ_FROM_FIRST` names it.",
    )
    start_at: AwareDatetime | None = Field(
        default=None, description='With `start = "timestamp"`: the first record at or after this time, a TOML date-time with its offset.'
    )
    accept_expired: dict[str, Annotated[int, Field(ge=0, le=2**62)]] = Field(
        default_factory=dict,
        max_length=10_000,
        description="Ranges that retention took before they were read, and that are accepted as lost: a partition, its topic's id and the "
        'offset at which the log begins now, `"sensors[0]@<topic id>" = 1500`, as `DATA_EXPIRED` names them. Below it nothing is passed '
        "over that the log still has; if the log begins even later by then, the lane halts again. Without `@<topic id>` the line holds for "
        "whatever topic has the name, but for none whose id is in `sink.accept_topic_ids`.",
    )
    protocol: Literal["classic", "consumer"] = Field(
        default="classic", description="The group protocol: classic with cooperative-sticky assignment, or KIP-848 (brokers from 4.0)."
    )
    instance_id: str | None = Field(
        default=None, min_length=1, max_length=249, description="Static membership: a name of this worker alone that survives restarts."
    )
    instance_seconds_max: float = Field(
        default=90.0,
        ge=0,
        le=3600,
        description='With `protocol = "consumer"`, how long to wait until the group releases the `instance_id`: it holds that of a killed '
        "worker until its session has ended (`consumer.session.timeout.ms` of the group, 45 s on most brokers), so give more than that. "
        "If another worker of this name is still running, this one ends then with `SOURCE_FATAL`.",
    )
    session_seconds: float = Field(
        default=10.0,
        ge=1,
        le=1800,
        description="How long the group keeps the partitions of a worker that died without a word (`session.timeout.ms`; three heartbeats "
        'go into it). With `protocol = "consumer"` this is a setting of the group on the broker (`consumer.session.timeout.ms`).',
    )
    poll_interval_seconds_max: float = Field(
        default=300.0,
        ge=10,
        le=86_400,
        description="The broker gives this worker's partitions away when it has not polled for so long (`max.poll.interval.ms`).",
    )
    poll_bytes_max: ByteSize = Field(
        default=16 * MIB, ge=KIB, le=GIB, description="About how many bytes of values one poll brings at most."
    )
    request_seconds_max: float = Field(default=10.0, ge=0.1, le=300, description="How long to wait for one answer of a broker.")
    topic_check_seconds: float = Field(
        default=10.0, ge=0.1, le=3600, description="How often topics are looked at while nothing is read: ids, new matches of a pattern."
    )
    confirm_seconds: float = Field(
        default=0.1, ge=0.001, le=60, description="How often at most topic ids are checked while records arrive; nothing lands before."
    )
    topic_ids: Literal["checked", "ignored"] = Field(
        default="checked", description="Ignored is for brokers that have no topic ids: that a topic was made anew is then not noticed."
    )
    options: OptionMap = Field(
        default_factory=Options,
        description="librdkafka settings by their own names, such as `security.protocol`; secrets as `env:NAME` or `file:PATH`. "
        "What Landfast owns is refused (auto commit, offset reset, isolation).",
    )

    def accepted(self) -> dict[Stream, int]:
        """The ranges that are accepted as lost, by stream; the incarnation is empty where none is named."""
        named = ((stream_of(name), below) for name, below in self.accept_expired.items())
        return {stream: below for stream, below in named if stream is not None}


class DecodeSettings(Section):
    """How bytes become columns."""

    format: Literal["json", "raw"] = Field(
        default="json", description="`json`: one object per record. `raw`: the value's bytes in one column."
    )
    unknown_fields: Literal["rescue", "dead", "evolve"] = Field(
        default="rescue",
        description="Fields that no column takes: kept as JSON text in `_rescued`, the record refused as a dead letter, "
        "or a column added to the table for each that is a boolean, a number or a string. With `evolve`, what does not fit a "
        "column that may be null and is not named in `columns` is kept in `_rescued`, as [types](../concepts/types.md) tells.",
    )
    tombstones: Literal["skip", "dead", "delete"] = Field(
        default="skip",
        description="Records without a value: skipped and counted under that reason, dead letters, or, in a table with one row per "
        "key, deletions of the key that their Kafka key gives.",
    )
    key_format: Literal["json", "text"] = Field(
        default="json",
        description='How a Kafka key gives the columns of `sink.key`, with `tombstones = "delete"`: as a JSON object with a field for '
        "each, or as the text of the only one.",
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        max_length=10_000,
        description='Column name to type, such as `"string not null"`, `"timestamp"`, `"decimal(12,2)"`. Empty: the '
        "columns of the table, which must exist.",
    )
    record_bytes_max: ByteSize = Field(default=64 * MIB, ge=KIB, le=GIB, description="A larger record is a dead letter.")
    parts_max: int = Field(
        default=200_000,
        ge=10_000,
        le=10_000_000,
        description="A record with more fields and elements is a dead letter: each part of a parsed record takes a few hundred bytes.",
    )
    depth_max: int = Field(default=64, ge=33, le=512, description="A record nested deeper is a dead letter.")


class SinkSettings(Section):
    """Where events land."""

    kind: Literal["delta"] = Field(default="delta", description="The kind of sink.")
    path: Location = Field(
        min_length=1,
        max_length=4096,
        description="The Delta table: a path, relative to the settings file, or a URI such as `s3://bucket/table`.",
    )
    mode: Literal["append", "upsert"] = Field(
        default="append",
        description="`append`: each record is a row. `upsert`: one row per key, the newest. It is the table's for good: another mode, key "
        "or order needs another table.",
    )
    key: tuple[str, ...] = Field(
        default=(),
        max_length=16,
        strict=False,
        description='With `mode = "upsert"`: the columns that tell what a row is about. A record with a null in one is a dead letter.',
    )
    order_by: str | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description='With `mode = "upsert"`: the column that says which of two rows of a key is the newer; where it is equal, the later '
        "position is. `_timestamp` is the time of the record in Kafka. None: the position alone, so keep each key in one partition.",
    )
    delete_when: str | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description='With `mode = "upsert"`: a boolean column; where it is true, the row says that its key is deleted (`_deleted`).',
    )
    partition_by: tuple[str, ...] = Field(
        default=(), max_length=16, strict=False, description="Columns that partition a table which is created here."
    )
    partitions_per_batch_max: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="A batch with rows for more partitions of the table is not written, and the route halts: each takes a file of its own.",
    )
    storage_options: OptionMap = Field(
        default_factory=Options, description="Options of the object store, as deltalake names them; secrets as `env:NAME` or `file:PATH`."
    )
    adopt: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="The former name of this pipeline, to take its table over after a rename.",
    )
    accept_topic_ids: tuple[str, ...] = Field(
        default=(),
        max_length=1000,
        strict=False,
        description="Topic ids that may continue the table although the topic was deleted and created again.",
    )
    accept_lineage_version: int = Field(
        default=-1,
        ge=-1,
        le=2**62,
        description="Restores and overwrites by others up to this table version were looked at and are accepted. -1: none.",
    )
    columns_max: int = Field(
        default=1000, ge=1, le=10_000, description="How many columns `evolve` lets the table have; further fields stay in `_rescued`."
    )
    compression_level: int = Field(default=1, ge=1, le=22, description="The level of ZSTD in the data files.")
    row_group_rows_max: int = Field(default=500_000, ge=1, le=50_000_000, description="Rows in one row group of a data file.")
    file_bytes_target: ByteSize = Field(
        default=512 * MIB, ge=MIB, le=16 * GIB, description="A batch that is larger in memory is split into several files."
    )
    maintenance: MaintenanceSettings = Field(default=MaintenanceSettings(), description="Checkpoints, compaction, sweeps.")


class BatchSettings(Section):
    """When a batch is cut: whichever comes first."""

    rows: int = Field(default=500_000, ge=1, le=50_000_000, description="Records in a batch.")
    bytes: ByteSize = Field(default=128 * MIB, ge=KIB, le=16 * GIB, description="Bytes of keys, values and headers in a batch.")
    seconds: float = Field(default=5.0, ge=0.01, le=3600, description="Age of the oldest record in a batch: this bounds the latency.")


class DeadLetterSettings(Section):
    """When so many records are refused that the lane halts rather than drain a topic into the dead letters."""

    max_share: float = Field(
        default=0.05, ge=0, le=1, description="Share of refused records among the last 10,000, above which the lane halts."
    )
    max_in_a_row: int = Field(default=1000, ge=1, le=100_000_000, description="Refused records in a row at which the lane halts.")


class EngineSettings(Section):
    """The engine: memory, threads, deadlines."""

    memory_bytes: ByteSize = Field(
        default=512 * MIB,
        ge=MIB,
        le=1024 * GIB,
        description="Records read and batches staged that are held at once, by all routes in equal shares; then reading stops.",
    )
    staging_threads: int | None = Field(
        default=None, ge=1, le=256, description="Threads of each route that decode and write files. None: one per core."
    )
    poll_records: int = Field(default=10_000, ge=1, le=1_000_000, description="About how many records one poll asks for.")
    poll_seconds: float = Field(default=0.1, ge=0.001, le=1, description="The longest wait of one poll; membership is kept between two.")
    shutdown_seconds: float = Field(
        default=30.0,
        ge=0,
        le=3600,
        description="On a stop: time to land what is read. What has not landed then is read again at the next start.",
    )
    revoke_share: float = Field(
        default=0.2,
        ge=0.001,
        le=0.5,
        description="On a rebalance: the share of `source.poll_interval_seconds_max` in which to land what is read of a lost stream.",
    )
    stall_seconds: float = Field(
        default=300.0, ge=1, le=86_400, description="A stream with lag that brings nothing for so long is halted: never a silent stop."
    )
    others_seconds: float = Field(
        default=900.0,
        ge=1,
        le=7 * 86_400,
        description="With `--until-end`: how long to wait for a stream that another worker of the group holds while it does not move. "
        "Then the run ends, and names it. More than the `batch.seconds` of those workers.",
    )
    open_wait_seconds: float = Field(
        default=60.0, ge=0, le=86_400, description="How long to wait at the start for a broker or store that does not answer."
    )
    maintain_seconds: float = Field(
        default=5.0, ge=0.01, le=600, description="Time for one round of maintenance; what has begun is finished."
    )
    retry: RetrySettings = Field(default=RetrySettings(), description="Attempts and waits.")


class MetricsSettings(Section):
    """Prometheus metrics, `/health` and `/ready`."""

    port: int | None = Field(default=None, ge=0, le=65_535, description="The port to serve on; 0 takes a free one. None: not served.")
    host: str = Field(default="127.0.0.1", min_length=1, max_length=255, description="The address to serve on.")


class RouteSettings(Section):
    """A route: which topics go to which sink. What it leaves out comes from the sections of the same names at the top."""

    name: str = Field(min_length=1, max_length=100, pattern=NAME_PATTERN, description="The route's name, in logs, metrics and reports.")
    topics: tuple[str, ...] = Field(default=(), max_length=10_000, strict=False, description="The topics of this route, by name.")
    topic_pattern: str | None = Field(
        default=None, min_length=2, max_length=1000, description="A regular expression for topics of this route."
    )
    decode: DecodeSettings = Field(default=DecodeSettings(), description="As `[decode]`.")
    sink: SinkSettings = Field(description="As `[sink]`.")
    batch: BatchSettings = Field(default=BatchSettings(), description="As `[batch]`.")
    dead_letters: DeadLetterSettings = Field(default=DeadLetterSettings(), description="As `[dead_letters]`.")
    retry: RouteRetrySettings = Field(default=RouteRetrySettings(), description="As `[retry]`.")

    def takes(self, topic: str) -> bool:
        """Whether the topic is of this route."""
        return topic in self.topics or (self.topic_pattern is not None and re.search(self.topic_pattern, topic) is not None)


class Settings(Section):
    """A whole pipeline. `routes` is never empty: without `[[routes]]` in the file, the top-level sections make the one route."""

    name: str = Field(
        min_length=1,
        max_length=100,
        pattern=NAME_PATTERN,
        description="The pipeline's name; its consumer group is called after it, so two tables need two names. Renaming it changes no "
        "position, and needs `sink.adopt`.",
    )
    source: SourceSettings = Field(description="Where events come from.")
    engine: EngineSettings = Field(default=EngineSettings(), description="Memory, threads, deadlines.")
    metrics: MetricsSettings = Field(default=MetricsSettings(), description="Metrics, health and readiness.")
    routes: tuple[RouteSettings, ...] = Field(min_length=1, max_length=1000, strict=False, description="The routes.")

    @property
    def group(self) -> str:
        """The consumer group."""
        return self.source.group or f"landfast-{self.name}"

    @property
    def revoke_seconds(self) -> float:
        """How long a revoke may take to land what is in flight."""
        return self.source.poll_interval_seconds_max * self.engine.revoke_share

    def effective(self) -> dict[str, Any]:
        """The whole tree, defaults included, secrets masked."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """A SHA-256 of the effective settings. Secrets have no part in it: a rotated password is the same pipeline."""
        return hashlib.sha256(json.dumps(self.effective(), sort_keys=True, separators=(",", ":")).encode()).hexdigest()
