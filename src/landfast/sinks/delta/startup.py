"""What is found out before the first read: that the table is there, sound, ours, and safe to write."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from deltalake.schema import Schema

from landfast.errors import Misconfigured, Unavailable, together
from landfast.model import Run
from landfast.ports import Clock, Observer
from landfast.sinks.delta.errors import Fate, fate_of, mapped
from landfast.sinks.delta.evolve import add_columns
from landfast.sinks.delta.files import Disk
from landfast.sinks.delta.ground import check_way, spans_path, strange_contents
from landfast.sinks.delta.letters import letters_path
from landfast.sinks.delta.lineage import former_pipeline_id, newest_break
from landfast.sinks.delta.mending import SYNC_ENTRIES, mend
from landfast.sinks.delta.probe import check_atomic
from landfast.sinks.delta.remains import table_exchanged, table_gone
from landfast.sinks.delta.rows import RESCUED, SYSTEM_SCHEMA
from landfast.sinks.delta.settings import DeltaSettings
from landfast.sinks.delta.suitability import creation_problems, missing_columns, problems
from landfast.sinks.delta.table import (
    HOOKS_OFF,
    PROPERTY,
    Place,
    TableHome,
    lineage_halt,
    open_handle,
    place_of,
    shape_of,
)
from landfast.sinks.delta.tail import has_table, lost_entries, lost_tail

CREATE_ATTEMPTS_MAX = 10
LOG_RETENTION = "delta.logRetentionDuration"
LOG_RETENTION_CREATED = "interval 7 days"
"""Of a table that is created here. On a local disk deltalake lists the whole log several times for each commit: with a commit every five
seconds and the 30 days that are usual, that would be more than a second each. What a version before these days names has been replaced by
compaction and swept by then."""
OTHERS_CLEAN_UP = "delta.enableExpiredLogCleanup"
"""Whether whoever commits cleans the log up too. A table of ours says no, unless its owner said yes: commits carry the spans that a proof
needs, and our own upkeep removes them only after the spans are rolled up."""
_CODES_THAT_STAND = frozenset({"BUCKET_MISSING", "NOT_A_TABLE", "SINK_AUTH"})
"""Codes that say by themselves what to change; what is found out at the start otherwise is PREFLIGHT_FAILED."""


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
        with mapped("reading the end of the table's log"):
            for path in (settings.path, letters_path(settings.path), spans_path(settings.path)):
                mend(path, place.disk, observer)
            lost_entries(settings.path, lost_tail(settings.path, place.files))
        _check_nothing_remains(place)
        schema = None if data_schema is None else full_schema(settings, data_schema)
        marks = {PROPERTY + run.pipeline: str(uuid.uuid4()), OTHERS_CLEAN_UP: "false", LOG_RETENTION: LOG_RETENTION_CREATED}
        handle = create_or_open(place, schema, marks)
        for problem in together(tuple(problems(handle, settings, data_schema))):
            raise problem
        with mapped("racing commits in a throw-away table"):
            check_atomic(settings, place.files)
        pipeline_id = _pipeline_id(place, run)
        add_columns(place, missing_columns(shape_of(handle), settings, data_schema))
        with mapped("opening the table"):
            handle = _opened_in_line(place, pipeline_id)
            return TableHome(place, run, clock, observer, pipeline_id=pipeline_id, opened=handle)


def _opened_in_line(place: Place, pipeline_id: str) -> DeltaTable:
    """A handle on a table whose rows are those that the positions speak of, with the end of its log made durable."""
    for _ in range(CREATE_ATTEMPTS_MAX):
        handle = place.handle()
        broken = newest_break(place.files, handle.version(), pipeline_id, place.settings.accept_lineage_version)
        if broken is not None:
            halt = lineage_halt(broken)
            raise Misconfigured(halt.code, halt.message, next_step=halt.next_step)
        if OTHERS_CLEAN_UP in handle.metadata().configuration:
            break
        # An earlier version marked the table without saying it. Where others commit at each attempt, the next start says it.
        _mark(handle, {OTHERS_CLEAN_UP: "false"})
    tip = handle.version()
    place.files.sync_log(range(max(0, tip - SYNC_ENTRIES), tip + 1))
    place.files.sync_root()
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
        if error.kind not in ("auth", "disk", "unknown") and error.code != "TABLE_MISSING":
            raise
        if error.code in _CODES_THAT_STAND:
            raise Misconfigured(error.code, error.message, next_step=error.next_step) from error
        next_step = "Give this process a path, an endpoint and credentials that can be read and written."
        raise Misconfigured("PREFLIGHT_FAILED", error.message, next_step=next_step) from error


def full_schema(settings: DeltaSettings, data_schema: pa.Schema) -> pa.Schema:
    """The table's schema for these data columns."""
    fields = list(data_schema)
    if settings.unknown_fields != "dead" and RESCUED not in data_schema.names:
        fields.append(pa.field(RESCUED, pa.string()))
    return pa.schema([*fields, *SYSTEM_SCHEMA])


def create_or_open(place: Place, schema: pa.Schema | None, configuration: Mapping[str, str]) -> DeltaTable:
    """Open the table, or create it, with as many attempts as a race of several starters may need.

    Raises:
        Misconfigured: there is no table and no schema to create it with, or the path holds something else.
    """
    files = place.files
    with mapped("opening the table"):
        for _ in range(CREATE_ATTEMPTS_MAX):
            if has_table(files):
                return place.handle()
            if schema is None:
                message = "there is no table at the path, and no columns are set to create it with"
                raise Misconfigured("TABLE_MISSING", message, next_step="Set [decode.columns], or run `landfast init`.")
            strange = strange_contents(place.settings.path, files)
            if strange is not None and not has_table(files):
                raise strange
            for said in creation_problems(schema, place.settings.partition_by):
                raise Misconfigured("SCHEMA_CONFLICT", said, next_step="Correct the columns or partition_by in the settings.")
            try:
                _create(place, schema, configuration)
            except Exception as error:
                if fate_of(error) is Fate.INTERFERENCE:
                    continue
                raise
    message = f"the table could not be created in {CREATE_ATTEMPTS_MAX} attempts, since others changed it each time"
    raise Misconfigured("PREFLIGHT_FAILED", message, next_step="Start one pipeline first, then the others.")


def _create(place: Place, schema: pa.Schema, configuration: Mapping[str, str]) -> None:
    settings = place.settings
    DeltaTable.create(
        settings.path,
        Schema.from_arrow(schema),
        mode="error",
        partition_by=list(settings.partition_by) or None,
        configuration=dict(configuration),
        storage_options=dict(settings.storage_options) or None,
        raise_if_key_not_exists=False,
        # With retries, deltalake would land a lost race as a second creation on top of the first, and swap the pipeline's id under it.
        commit_properties=CommitProperties(max_commit_retries=0),
        post_commithook_properties=HOOKS_OFF,
    )
    place.files.sync_log([0])
    place.files.sync_root()


def _pipeline_id(place: Place, run: Run) -> str:
    """The id under which this pipeline keeps its positions: born with the table, or given to it now."""
    own = PROPERTY + run.pipeline
    for _ in range(CREATE_ATTEMPTS_MAX):
        with mapped("reading whose the table is"):
            # Opened anew each time: whoever else starts at this moment may win, and what the table says then is what holds.
            handle = place.handle()
            owners = _owners(handle)
            if own in owners:
                return owners[own]
            given = _id_to_give(place, run, handle, owners)
        _mark(handle, {own: given, OTHERS_CLEAN_UP: handle.metadata().configuration.get(OTHERS_CLEAN_UP, "false")})
    message = "the table's properties changed at each attempt to mark it as this pipeline's"
    raise Misconfigured("FOREIGN_PIPELINE", message, next_step="Start one pipeline at a time.")


def _id_to_give(place: Place, run: Run, handle: DeltaTable, owners: Mapping[str, str]) -> str:
    settings = place.settings
    if owners:
        adopted = None if settings.adopt is None else owners.get(PROPERTY + settings.adopt)
        if adopted is not None:
            return adopted
        names = sorted(key.removeprefix(PROPERTY) for key in owners)
        message = f"the table belongs to the pipeline {', '.join(names)}, not to {run.pipeline}"
        next_step = f'Choose another path; or, if the pipeline was renamed, set adopt = "{names[0]}".'
        raise Misconfigured("FOREIGN_PIPELINE", message, next_step=next_step)
    former = former_pipeline_id(place.files, handle.version(), run.pipeline)
    if former is not None and settings.accept_lineage_version < 0:
        # A restore to before the mark. A new id would know no position, and everything would land again.
        message = "the table has commits of this pipeline and has lost the property that marks it, as after a restore"
        next_step = f"Restore the version before; to go on as it is, set accept_lineage_version = {handle.version()}."
        raise Misconfigured("LINEAGE_BROKEN", message, next_step=next_step)
    if former is None:
        exchanged = table_exchanged(settings)
        # Looked at once more: another worker may have marked the table and buried letters of its own in between.
        if exchanged is not None and not _owners(place.handle()):
            raise exchanged
    return former or str(uuid.uuid4())


def _owners(handle: DeltaTable) -> dict[str, str]:
    return {key: value for key, value in handle.metadata().configuration.items() if key.startswith(PROPERTY)}


def _mark(handle: DeltaTable, properties: Mapping[str, str]) -> None:
    with mapped("marking the table as this pipeline's"):
        try:
            handle.alter.set_table_properties(
                dict(properties),
                raise_if_not_exists=False,
                commit_properties=CommitProperties(max_commit_retries=0),
                post_commithook_properties=HOOKS_OFF,
            )
        except Exception as error:
            if fate_of(error) is Fate.INTERFERENCE:
                return
            raise
