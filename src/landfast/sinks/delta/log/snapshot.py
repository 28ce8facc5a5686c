"""A table at its newest version, as deltalake reads it from the log."""

from __future__ import annotations

from collections.abc import Mapping

from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError


def snapshot(path: str, storage_options: Mapping[str, str]) -> DeltaTable:
    """A handle on the newest version. Raises what deltalake raises."""
    return DeltaTable(path, storage_options=dict(storage_options) or None)


def snapshot_or_none(path: str, storage_options: Mapping[str, str]) -> DeltaTable | None:
    """The same; None where there is no table."""
    try:
        return snapshot(path, storage_options)
    except TableNotFoundError:
        return None
