"""What the Delta sink can be told. Wiring maps the configuration onto this; nothing here reads a file or the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

UnknownFields = Literal["rescue", "dead", "evolve"]

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class UpsertSettings:
    """How a table is kept that has one row per key.

    key          the columns that tell what a row is about
    order_by     the column that says which of two rows is the newer; None: where the records lie in their log
    delete_when  a boolean column: where it is true, the record says that what it is about is deleted
    """

    key: tuple[str, ...]
    order_by: str | None = None
    delete_when: str | None = None


@dataclass(frozen=True, slots=True)
class DeltaSettings:
    """One Delta table and how to write it.

    path                      a local folder or a URI
    storage_options           passed to deltalake as they are; never printed
    partition_by              columns of the table; string, integer, boolean or date
    unknown_fields            `rescue` and `evolve` give the table the column `_rescued`; `evolve` also adds columns
    adopt                     the former name of this pipeline, to take its table over after a rename
    accept_topic_ids          topic ids that may follow another incarnation of their topic
    accept_lineage_version    the operator has looked at restores and overwrites up to this table version and goes on behind them
    partitions_per_batch_max  a batch with rows for more partitions of the table is not written: the lanes halt
    columns_max               how many columns `evolve` lets a table have; further fields stay in `_rescued`
    upsert                    one row per key, the newest; None: every record is a row of its own
    retries                   whether letters that are marked to be tried again are; False: to people they are open letters like others
    compression_level         of zstd
    row_group_rows_max        rows in one row group
    file_bytes_target         a batch that holds more than this in memory is split into several files per partition value
    checkpoint_commits        commits between two checkpoints; the handle is opened anew with each
    commit_attempts_max       attempts to make the next version before others, our own workers among them; then it is Unavailable
    resolve_attempts_max      how often an unknown outcome is read back before it is Unavailable
    resolve_wait_seconds      the wait before the second read-back; it doubles with each
    probe_rounds              races run at the start against an object store to see that it creates atomically
    """

    path: str
    storage_options: Mapping[str, str] = field(default_factory=dict, repr=False)
    partition_by: tuple[str, ...] = ()
    unknown_fields: UnknownFields = "rescue"
    adopt: str | None = None
    accept_topic_ids: frozenset[str] = frozenset()
    accept_lineage_version: int = -1
    partitions_per_batch_max: int = 1000
    columns_max: int = 1000
    upsert: UpsertSettings | None = None
    retries: bool = True
    compression_level: int = 1
    row_group_rows_max: int = 500_000
    file_bytes_target: int = 512 * MIB
    checkpoint_commits: int = 50
    commit_attempts_max: int = 20
    resolve_attempts_max: int = 8
    resolve_wait_seconds: float = 0.1
    probe_rounds: int = 8

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that tell what a row is about; none where every record is a row of its own."""
        return () if self.upsert is None else self.upsert.key
