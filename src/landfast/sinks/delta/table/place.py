"""Where a table lies, how to reach it, and the columns that it has there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa
from deltalake import DeltaTable, PostCommitHookProperties

from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.files.own_columns import DELETED, SYSTEM_COLUMNS
from landfast.sinks.delta.files.storage import Files, files_of
from landfast.sinks.delta.log.snapshot import snapshot
from landfast.sinks.delta.settings import DeltaSettings

UPSERT_PROPERTY = "landfast.upsert"
"""The property of a table with one row per key: what its key is, and its order."""
HOOKS_OFF = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
"""For commits through deltalake: checkpoints and clean-up are upkeep's, which makes them durable and keeps the spans."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns of a table as rows must have them, system columns included, and those it is partitioned by.

    `deletes`: it has one row per key, and a column that says which of them are deleted.
    """

    schema: pa.Schema
    partition_by: tuple[str, ...]
    deletes: bool = False

    @property
    def data_schema(self) -> pa.Schema:
        """The columns without the system columns."""
        own = (*SYSTEM_COLUMNS, DELETED) if self.deletes else SYSTEM_COLUMNS
        return pa.schema([field for field in self.schema if field.name not in own])


def shape_of(handle: DeltaTable) -> Shape:
    """The shape that a handle's snapshot has."""
    known = handle.metadata()
    return Shape(pa.schema(cast("Any", handle.schema().to_arrow())), tuple(known.partition_columns), UPSERT_PROPERTY in known.configuration)


def open_handle(settings: DeltaSettings) -> DeltaTable:
    """A handle on the newest snapshot of the table."""
    return snapshot(settings.path, settings.storage_options)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a table lies and how to reach it. `opener` gives a handle on the newest snapshot."""

    settings: DeltaSettings
    files: Files
    disk: Disk
    opener: Callable[[DeltaSettings], DeltaTable] = open_handle

    def handle(self) -> DeltaTable:
        """A fresh handle. Raises what deltalake raises."""
        return self.opener(self.settings)


def place_of(settings: DeltaSettings, disk: Disk | None = None, opener: Callable[[DeltaSettings], DeltaTable] = open_handle) -> Place:
    """The place that the settings name."""
    disk = disk or Disk()
    return Place(settings, files_of(settings.path, settings.storage_options, disk), disk, opener)
