"""What a write can be told, and what it says of itself in the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from landfast.errors import Misconfigured

MIB = 1024 * 1024
APP_ID_BYTES_MAX = 500
TOLD_BYTES_MAX = 64 * 1024
VERSION_MAX = 2**63 - 1
SECONDS_MAX = 86_400
WAIT_SECONDS_MAX = 3600
RESERVED = "landfast/"
"""What the application ids begin with under which pipelines keep their positions."""
RUN = "landfast-run/"
"""What the application id of a run begins with."""

Outcome = Literal["written", "already there"]
Mode = Literal["append", "overwrite"]
Attempts = Literal["table"] | None
"""What becomes of the rows that the table has."""


@dataclass(frozen=True, slots=True)
class IdempotentWriteOptions:
    """As whom a write is made, and which of its writes this is: of each version of an `app_id`, one write lands.

    app_id      the name of the writer, such as a job, the same in each of its executions: 1 to 500 bytes
    version     the number of the write, 0 to 2^63 - 1; a version below the newest that has landed counts as landed
    told        what the commit says besides in its `commitInfo`, for people: text by name
    other_rows  what becomes of a repeated write whose rows are not the ones that have landed, in their order: it is an error, or it is
                taken for the same. The latter is for rows whose order, or whose last digits, differ from one computation to the next

    Raises:
        Misconfigured: a value is out of its bounds, or the app_id is one of those that pipelines keep their positions under.
    """

    app_id: str
    version: int
    other_rows: Literal["refuse", "skip"] = "refuse"
    told: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _demand(_text(self.app_id) and 0 < len(self.app_id.encode()) <= APP_ID_BYTES_MAX, "app_id", "1 to 500 bytes of text")
        _demand(not self.app_id.startswith(RESERVED), "app_id", f"another name than those that begin with {RESERVED!r}")
        _demand(_whole(self.version) and 0 <= self.version <= VERSION_MAX, "version", "a whole number from 0 to 2^63 - 1")
        _demand(self.other_rows in ("refuse", "skip"), "other_rows", '"refuse" or "skip"')
        _demand(all(_text(one) for pair in self.told.items() for one in pair), "told", "text by name")
        _demand(sum(len(one.encode()) for pair in self.told.items() for one in pair) <= TOLD_BYTES_MAX, "told", "at most 64 KiB of text")

    @classmethod
    def of_run(cls, run_id: str, commit_sequence: int, told: Mapping[str, str] | None = None) -> IdempotentWriteOptions:
        """The write with this number of a run."""
        return cls(run_app_id(run_id), commit_sequence, told=told or {})


def run_app_id(run_id: str) -> str:
    """The name under which a run writes."""
    return RUN + run_id


@dataclass(frozen=True, slots=True)
class DeltaWriteOptions:
    """How the rows are written.

    mode                append, overwrite, or error: the write is refused where the table is there, unless this very write has made it
    predicate           of overwrite, in SQL: only the rows that it finds are replaced, and it has to hold for each new one
    schema_mode         None: columns that the table lacks are refused. merge: it is given them. Missing columns are null either way
    partition_by        of a table that is not there yet; of one that is, it has to agree
    configuration       properties of a table that is not there yet
    attempts            table: what came of each attempt is kept as a row of `<table>__attempts`, where it can be; None: it is not kept
    target_file_bytes   rows of this size in memory make a file: 1 MiB to 4 GiB. Files are about half as large
    memory_bytes_max    of rows that wait for their file: 16 MiB to 64 GiB
    partitions_max      of the table that one write may touch, each with a file of its own: 1 to 100,000
    compression_level   of zstd: 1 to 22
    row_group_rows_max  rows in a row group of a file: 1,000 to 10,000,000

    Raises:
        Misconfigured: a value is out of its bounds.
    """

    mode: Literal["append", "overwrite", "error"] = "append"
    predicate: str | None = None
    schema_mode: Literal["merge"] | None = None
    partition_by: tuple[str, ...] = ()
    configuration: Mapping[str, str] = field(default_factory=dict)
    attempts: Attempts = None
    target_file_bytes: int = 128 * MIB
    memory_bytes_max: int = 512 * MIB
    partitions_max: int = 1000
    compression_level: int = 1
    row_group_rows_max: int = 500_000

    def __post_init__(self) -> None:
        _demand(self.mode in ("append", "overwrite", "error"), "mode", '"append", "overwrite" or "error"')
        fits = self.predicate is None or (self.mode == "overwrite" and _text(self.predicate) and self.predicate.strip())
        _demand(fits, "predicate", 'a condition in SQL, and mode "overwrite"')
        _demand(self.schema_mode in (None, "merge"), "schema_mode", 'None or "merge"')
        _demand(self.attempts in (None, "table"), "attempts", 'None or "table"')
        _demand(not isinstance(self.partition_by, str), "partition_by", "a sequence of column names, not one text")
        object.__setattr__(self, "partition_by", tuple(self.partition_by))
        _bounded("target_file_bytes", self.target_file_bytes, MIB, 4096 * MIB)
        _bounded("memory_bytes_max", self.memory_bytes_max, 16 * MIB, 65536 * MIB)
        _bounded("partitions_max", self.partitions_max, 1, 100_000)
        _bounded("compression_level", self.compression_level, 1, 22)
        _bounded("row_group_rows_max", self.row_group_rows_max, 1000, 10_000_000)


@dataclass(frozen=True, slots=True)
class DeltaWriteRetryPolicy:
    """How long a write is tried. What no waiting would mend, such as a wrong type, is not tried again.

    attempts_max        at writing one file, and at putting the commit, each: 1 to 10,000
    seconds_max         for all of it, from the first attempt: 0 to 86,400; no attempt begins after that
    wait_seconds_first  before the second attempt, at most; it doubles with each: 0 to 3,600. The wait is drawn from zero up
    wait_seconds_max    no wait is longer: 0 to 3,600
    auth                whether a refused credential is tried again, or is an error at once

    Raises:
        Misconfigured: a value is out of its bounds.
    """

    attempts_max: int = 20
    seconds_max: float = 300.0
    wait_seconds_first: float = 0.05
    wait_seconds_max: float = 10.0
    auth: Literal["error", "retry"] = "error"

    def __post_init__(self) -> None:
        _bounded("attempts_max", self.attempts_max, 1, 10_000)
        _demand(0 <= self.seconds_max <= SECONDS_MAX, "seconds_max", "a number from 0 to 86,400")
        _demand(0 <= self.wait_seconds_first <= WAIT_SECONDS_MAX, "wait_seconds_first", "a number from 0 to 3,600")
        _demand(0 <= self.wait_seconds_max <= WAIT_SECONDS_MAX, "wait_seconds_max", "a number from 0 to 3,600")
        _demand(self.auth in ("error", "retry"), "auth", '"error" or "retry"')


@dataclass(frozen=True, slots=True)
class DeltaWriteResult:
    """What became of a write.

    outcome         written: by this call. already there: by an earlier one, or by another process
    table_version   the version of the table that the rows came with; None where its log does not reach back so far
    rows            that the write holds; None where they were written earlier and the log does not tell of them
    files, nbytes   that this call has added to the table; 0 where the rows were already there
    attempts        at putting the commit; 0 where the rows were already there when the call began
    seconds         that the call took
    """

    outcome: Outcome
    options: IdempotentWriteOptions
    table_version: int | None
    rows: int | None
    files: int
    nbytes: int
    attempts: int
    seconds: float


def _text(value: object) -> bool:
    """Whether a table's log can hold it. Half of a surrogate pair cannot be written as UTF-8."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _bounded(name: str, value: object, low: int, high: int) -> None:
    _demand(_whole(value) and low <= value <= high, name, f"a whole number from {low:,} to {high:,}")  # type: ignore[operator]


def _demand(holds: object, name: str, wanted: str) -> None:
    if not holds:
        raise Misconfigured("WRITE_INVALID", f"{name} has to be {wanted}", next_step="Correct the call. Nothing was read or written.")
