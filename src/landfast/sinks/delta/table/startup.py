"""What is found out before the first read: that the table is there, sound, ours, and safe to write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyarrow as pa
from deltalake import DeltaTable

from landfast.errors import Misconfigured, Unavailable, together
from landfast.model import Run
from landfast.ports import Clock, Observer
from landfast.sinks.delta.errors import mapped
from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.files.paths import check_way, letters_path, spans_path
from landfast.sinks.delta.files.probe import check_atomic
from landfast.sinks.delta.log.entries import has_table
from landfast.sinks.delta.log.lineage import newest_break
from landfast.sinks.delta.log.mending import make_certain, mend
from landfast.sinks.delta.log.tail import lost_tail
from landfast.sinks.delta.settings import DeltaSettings
from landfast.sinks.delta.table.columns import add_columns, column_conflicts, missing_columns
from landfast.sinks.delta.table.creation import create_or_open, full_schema
from landfast.sinks.delta.table.entities import entity_properties, mode_conflicts
from landfast.sinks.delta.table.features import demands
from landfast.sinks.delta.table.halts import lineage_refusal
from landfast.sinks.delta.table.home import TableHome
from landfast.sinks.delta.table.marks import (
    MARK_ATTEMPTS_MAX,
    OTHERS_CLEAN_UP,
    mark,
    pipeline_id_in,
    pipelines_of,
    properties_of_a_new_table,
)
from landfast.sinks.delta.table.place import Place, open_handle, place_of, shape_of
from landfast.sinks.delta.table.remains import table_gone

_CODES_THAT_STAND = frozenset({"BUCKET_MISSING", "NOT_A_TABLE", "SINK_AUTH"})
"""Codes that say by themselves what to change; what is found out at the start otherwise is PREFLIGHT_FAILED."""
_WAITED_FOR = frozenset({"conflict", "throttled", "transient"})
"""Kinds of Unavailable that pass by themselves."""


def open_table(
    settings: DeltaSettings,
    run: Run,
    data_schema: pa.Schema | None,
    clock: Clock,
    observer: Observer,
    *,
    disk: Disk | None = None,
    opener: Callable[[DeltaSettings], DeltaTable] = open_handle,
) -> TableHome:
    """The pipeline's table, created where it is missing, marked as this pipeline's where it is not yet.

    `data_schema` holds the columns the decoder will make; None takes them from the existing table. `disk` and `opener` are for tests.

    Raises:
        Misconfigured: the table cannot be used as it is, or not by this pipeline; code and next step say why and how.
        Broken: the end of the table's log is damaged.
        Unavailable: the store does not answer.
    """
    with at_start():
        with mapped("writing to the table's place"):
            check_way(settings.path)
            place = place_of(settings, disk, opener)
            place.files.probe()
        certain, letters_certain = _mended(place, observer)
        _check_nothing_remains(place)
        schema = None if data_schema is None else full_schema(settings, data_schema)
        handle = create_or_open(place, schema, properties_of_a_new_table(run.pipeline) | entity_properties(settings))
        for problem in together(tuple(problems(handle, settings, data_schema))):
            raise problem
        with mapped("racing commits in a throw-away table"):
            check_atomic(settings, place.files)
        pipeline_id = pipeline_id_in(place, run)
        add_columns(place, missing_columns(shape_of(handle), settings, data_schema))
        with mapped("opening the table"):
            handle = _opened_in_line(place, pipeline_id)
            if handle.version() != certain:
                # A mark or a column of ours came since, a commit of somebody else, or the table itself: deltalake syncs nothing.
                make_certain(place.files, handle.version())
            return TableHome(place, run, clock, observer, pipeline_id=pipeline_id, opened=handle, letters_certain=letters_certain)


def _mended(place: Place, observer: Observer) -> tuple[int, int]:
    """Make the logs of the table and of those beside it whole; up to which version its own is certain, and that of its dead letters."""
    path = place.settings.path
    with mapped("reading the end of the table's log"):
        certain, letters_certain, _ = (mend(one, place.disk, observer) for one in (path, letters_path(path), spans_path(path)))
        if not place.files.local:
            # A store loses nothing by itself, so there is nothing to fill; whatever is damaged is refused.
            lost_tail(path, place.files)
    return certain, letters_certain


def problems(handle: DeltaTable, settings: DeltaSettings, data_schema: pa.Schema | None) -> Iterator[Misconfigured]:
    """Everything about the table that forbids landing in it, most basic first."""
    yield from demands(handle)
    yield from mode_conflicts(handle, settings, pipelines_of(handle))
    yield from column_conflicts(handle, settings, data_schema)


def _opened_in_line(place: Place, pipeline_id: str) -> DeltaTable:
    """A handle on a table whose rows are those that the positions speak of."""
    for _ in range(MARK_ATTEMPTS_MAX):
        handle = place.handle()
        broken = newest_break(place.files, handle.version(), pipeline_id, place.settings.accept_lineage_version)
        if broken is not None:
            raise lineage_refusal(broken)
        if OTHERS_CLEAN_UP in handle.metadata().configuration:
            return handle
        # An earlier version marked the table without saying it. Where others commit at each attempt, the next start says it.
        mark(handle, {OTHERS_CLEAN_UP: "false"})
    return handle


def _check_nothing_remains(place: Place) -> None:
    """See that no table is created beside the letters of a former one.

    Raises:
        Misconfigured: it would be.
    """
    with mapped("looking for letters of a former table"):
        if has_table(place.files):
            return
        gone = table_gone(place.settings)
        # Looked at once more: another worker may have created the table and buried letters of its own in between.
        if gone is not None and not has_table(place.files):
            raise gone


@contextmanager
def at_start() -> Iterator[None]:
    """Before the first read, what an operator has to change is a setting or its surroundings; only an outage is waited for."""
    try:
        yield
    except Unavailable as error:
        if error.kind in _WAITED_FOR and error.code != "TABLE_MISSING":
            raise
        if error.code in _CODES_THAT_STAND:
            raise Misconfigured(error.code, error.message, next_step=error.next_step) from error
        next_step = "Give this process a path, an endpoint and credentials that can be read and written."
        raise Misconfigured("PREFLIGHT_FAILED", error.message, next_step=next_step) from error
