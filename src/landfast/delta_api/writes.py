"""One write, once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TypedDict, Unpack

from landfast.errors import Misconfigured
from landfast.events import Event
from landfast.sinks.delta.writing.values import DeltaWriteOptions, DeltaWriteResult, DeltaWriteRetryPolicy, IdempotentWriteOptions
from landfast.sinks.delta.writing.write import target_of, write
from landfast.system import SystemClock


class Identity(TypedDict, total=False):
    """The ways to name a write: `app_id` with `version`, or `run_id` with `commit_sequence`."""

    app_id: str
    version: int
    run_id: str
    commit_sequence: int


class _Silence:
    def notice(self, event: Event) -> None:
        """Nobody listens: what a caller has to know is in the result, or in the error."""


SILENCE = _Silence()


def write_idempotent(
    table: str | os.PathLike[str],
    data: object,
    identity: IdempotentWriteOptions | None = None,
    *,
    options: DeltaWriteOptions | None = None,
    retry: DeltaWriteRetryPolicy | None = None,
    storage_options: Mapping[str, str] | None = None,
    **named: Unpack[Identity],
) -> DeltaWriteResult:
    """Write rows to a Delta table once, and say whether it was now or before.

    table            a folder or a URI; a table that is not there is made, with the columns of the rows
    data             anything that gives an Arrow stream: a table or a `RecordBatchReader` of pyarrow, Polars, DuckDB, DataFusion. It is
                     read once, and never as a whole into memory
    identity         as whom, and which write: an `IdempotentWriteOptions`, or in its place `app_id=` and `version=`, or `run_id=` and
                     `commit_sequence=`
    options          how: append or overwrite, columns, partitions, sizes of files
    retry            how long it is tried
    storage_options  how an object store is reached, as deltalake takes it

    The rows and the version land in one commit, or nothing does. When this returns, they are durable. When it raises, or the process
    ends in it, call it again with the same identity.

    Raises:
        Misconfigured: the call, or the table, is not what it has to be; nothing was written.
        Rejected: a value does not fit its column without loss; nothing was written.
        Conflict: under this identity other rows have landed.
        Unavailable: it was tried for as long as `retry` says; the write may still have landed: calling again finds out.
        Broken: the table is damaged, or the disk does not keep what it was given.
    """
    options = options or DeltaWriteOptions()
    target = target_of(os.fspath(table), storage_options or {}, options, SystemClock(), SILENCE)
    return write(target, data, identity_of(identity, named), options, retry or DeltaWriteRetryPolicy())


def identity_of(identity: IdempotentWriteOptions | None, named: Identity) -> IdempotentWriteOptions:
    """The one identity that a call gives, in whichever way.

    Raises:
        Misconfigured: it gives none, or more than one.
    """
    if identity is not None and not named:
        return identity
    if identity is None and named.keys() == {"app_id", "version"}:
        return IdempotentWriteOptions(named["app_id"], named["version"])
    if identity is None and named.keys() == {"run_id", "commit_sequence"}:
        return IdempotentWriteOptions.of_run(named["run_id"], named["commit_sequence"])
    message = "a write needs one identity: IdempotentWriteOptions, or app_id and version, or run_id and commit_sequence"
    raise Misconfigured("WRITE_INVALID", message, next_step="Give one of them. Nothing was read or written.")
