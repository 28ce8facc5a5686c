"""Whether a store creates atomically: found out by races, before anything lands."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.schema import Schema

from landfast.errors import Misconfigured
from landfast.sinks.delta.errors import Fate, fate_of, is_foreign
from landfast.sinks.delta.files import Files
from landfast.sinks.delta.settings import DeltaSettings
from landfast.sinks.delta.table import HOOKS_OFF, open_handle

FOLDER = "_landfast_probe"
RACERS = 4
_JOIN_SECONDS_MAX = 120.0


def check_atomic(settings: DeltaSettings, files: Files) -> None:
    """Race several commits for the same version of a throw-away table, a few times over; more than one winner is one too many.

    A local disk is not raced: there a commit is a hard link, which the kernel never makes twice.

    Raises:
        Misconfigured: the store let two writers win the same version.
    """
    if files.local:
        return
    folder = f"{FOLDER}/{uuid.uuid4().hex}"
    throwaway = replace(settings, path=f"{settings.path.rstrip('/')}/{folder}")
    options = dict(settings.storage_options) or None
    try:
        DeltaTable.create(throwaway.path, Schema.from_arrow(pa.schema([("n", pa.int64())])), storage_options=options)
        for number in range(settings.probe_rounds):
            winners = _race([open_handle(throwaway) for _ in range(RACERS)], number)
            if winners > 1:
                message = f"{winners} of {RACERS} writers created the same file at once: the store overwrites where it must refuse"
                raise Misconfigured("UNSAFE_STORE", message, next_step="Use a store with conditional writes.")
    finally:
        files.remove_folder(folder)
        _remove_if_empty(files)


def _race(handles: list[DeltaTable], number: int) -> int:
    """How many of these handles, all on one snapshot, committed the next version."""
    start = threading.Barrier(len(handles))
    outcomes: list[BaseException | None] = [TimeoutError("a commit of the probe did not end")] * len(handles)

    def attempt(index: int) -> None:
        start.wait(_JOIN_SECONDS_MAX)
        try:
            _commit(handles[index], number)
            outcomes[index] = None
        except BaseException as error:  # noqa: BLE001 — carried to the thread that asked
            outcomes[index] = error

    _run_all([lambda index=index: attempt(index) for index in range(len(handles))])  # type: ignore[misc]
    for error in outcomes:
        if error is not None and (not is_foreign(error) or fate_of(error) not in (Fate.RACE_LOST, Fate.INTERFERENCE)):
            raise error
    return outcomes.count(None)


def _commit(handle: DeltaTable, number: int) -> None:
    handle.create_write_transaction(
        [],
        "append",
        handle.schema(),
        commit_properties=CommitProperties(max_commit_retries=0, app_transactions=[Transaction("probe", number)]),
        post_commithook_properties=HOOKS_OFF,
    )


def _run_all(calls: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_JOIN_SECONDS_MAX)


def _remove_if_empty(files: Files) -> None:
    """Another starter's probe may still be at work in the folder."""
    if not files.names(FOLDER):
        files.remove_folder(FOLDER)
