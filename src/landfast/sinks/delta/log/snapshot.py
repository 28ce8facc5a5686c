"""A table at its newest version, as deltalake reads it from the log."""

from __future__ import annotations

from collections.abc import Mapping

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from landfast.sinks.delta.files.names import LOG, checkpoints_among, log_name, versions_of
from landfast.sinks.delta.files.storage import files_of

_HOLE = "found gap"


def snapshot(path: str, storage_options: Mapping[str, str]) -> DeltaTable:
    """A handle on the newest version. Raises what deltalake raises.

    deltalake lists the log, and a listing is no moment: of two entries that are put meanwhile it may show the second alone, which deltalake
    takes for a hole in the log. Asked for by name both are there, and a version whose entries were there before is listed whole.
    """
    options = dict(storage_options) or None
    try:
        return DeltaTable(path, storage_options=options)
    except DeltaError as error:
        newest = _newest_without_hole(path, storage_options) if _HOLE in str(error) else None
        if newest is None:
            raise
    return DeltaTable(path, newest, storage_options=options)


def _newest_without_hole(path: str, storage_options: Mapping[str, str]) -> int | None:
    """The newest version that a listing of the log shows; None where an entry that it does not show is not there either."""
    files = files_of(path, storage_options)
    names = files.names(LOG)
    shown = versions_of(dict.fromkeys(names, 0))
    newest = max(shown, default=-1)
    first = max((version for version, form, _ in checkpoints_among(names) if form.endswith("parquet")), default=-1) + 1
    hidden = (version for version in range(first, newest + 1) if version not in shown)
    return None if newest < 0 or any(files.size(log_name(version)) is None for version in hidden) else newest


def snapshot_or_none(path: str, storage_options: Mapping[str, str]) -> DeltaTable | None:
    """The same; None where there is no table."""
    try:
        return snapshot(path, storage_options)
    except TableNotFoundError:
        return None
