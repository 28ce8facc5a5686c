"""What is found out before the first read: that the table is there, sound, ours, and safe to write."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.schema import Schema

from landfast.errors import Misconfigured
from landfast.model import Run
from landfast.ports import Clock, Observer
from landfast.sinks.delta.errors import Fate, fate_of, mapped
from landfast.sinks.delta.files import LOG, Disk, Files, files_of
from landfast.sinks.delta.rows import RESCUED, SYSTEM_SCHEMA
from landfast.sinks.delta.settings import DeltaSettings
from landfast.sinks.delta.table import HOOKS_OFF, PROPERTY, TableHome, commit_properties, open_handle

CREATE_ATTEMPTS_MAX = 10
OWN_PREFIX = "_landfast"


def open_table(
    settings: DeltaSettings,
    run: Run,
    data_schema: pa.Schema | None,
    clock: Clock,
    observer: Observer,
    *,
    disk: Disk | None = None,
) -> TableHome:
    """The pipeline's table, created where it is missing.

    `data_schema` holds the columns the decoder will make; None takes them from the existing table.

    Raises:
        Misconfigured: the table cannot be used as it is, or not by this pipeline; code and next step say why and how.
        Unavailable: the store does not answer.
    """
    disk = disk or Disk()
    files = files_of(settings.path, settings.storage_options, disk)
    schema = None if data_schema is None else full_schema(settings, data_schema)
    handle = create_or_open(settings, schema, {PROPERTY + run.pipeline: str(uuid.uuid4())}, files)
    pipeline_id, handle = _pipeline_id(settings, run, handle)
    return TableHome(settings, files, run, clock, observer, pipeline_id=pipeline_id, opened=handle, disk=disk)


def full_schema(settings: DeltaSettings, data_schema: pa.Schema) -> pa.Schema:
    """The table's schema for these data columns."""
    fields = [field for field in data_schema if field.name not in SYSTEM_SCHEMA.names]
    if settings.unknown_fields != "dead" and RESCUED not in data_schema.names:
        fields.append(pa.field(RESCUED, pa.string()))
    return pa.schema([*fields, *SYSTEM_SCHEMA])


def create_or_open(settings: DeltaSettings, schema: pa.Schema | None, configuration: Mapping[str, str], files: Files) -> DeltaTable:
    """Open the table, or create it, with as many attempts as a race of several starters may need.

    Raises:
        Misconfigured: there is no table and no schema to create it with, or the path holds something else.
    """
    with mapped("opening the table"):
        for _ in range(CREATE_ATTEMPTS_MAX):
            if files.names(LOG):
                return open_handle(settings)
            if schema is None:
                message = "there is no table at the path, and no columns are set to create it with"
                raise Misconfigured("TABLE_MISSING", message, next_step="Set [decode.columns], or run `landfast init`.")
            strange = [name for name in files.names("") if not name.startswith(OWN_PREFIX)]
            if strange and not files.names(LOG):
                message = f"the path holds {len(strange)} files or folders, and no Delta table"
                raise Misconfigured("NOT_A_TABLE", message, next_step="Choose an empty path, or one that holds a Delta table.")
            try:
                _create(settings, schema, configuration, files)
            except Exception as error:
                if fate_of(error) is Fate.INTERFERENCE:
                    continue
                raise
    message = f"the table could not be created in {CREATE_ATTEMPTS_MAX} attempts, since others changed it each time"
    raise Misconfigured("PREFLIGHT_FAILED", message, next_step="Start one pipeline first, then the others.")


def _create(settings: DeltaSettings, schema: pa.Schema, configuration: Mapping[str, str], files: Files) -> None:
    DeltaTable.create(
        settings.path,
        Schema.from_arrow(schema),
        mode="error",
        partition_by=list(settings.partition_by) or None,
        configuration=dict(configuration),
        storage_options=dict(settings.storage_options) or None,
        raise_if_key_not_exists=False,
        commit_properties=commit_properties(settings),
        post_commithook_properties=HOOKS_OFF,
    )
    files.sync_log([0])


def _pipeline_id(settings: DeltaSettings, run: Run, handle: DeltaTable) -> tuple[str, DeltaTable]:
    """The id under which this pipeline keeps its positions: born with the table, or given to it now."""
    own = PROPERTY + run.pipeline
    for _ in range(CREATE_ATTEMPTS_MAX):
        owners = {key: value for key, value in handle.metadata().configuration.items() if key.startswith(PROPERTY)}
        if own in owners:
            return owners[own], handle
        adopted = None if settings.adopt is None else owners.get(PROPERTY + settings.adopt)
        foreign = sorted(key.removeprefix(PROPERTY) for key in owners)
        if foreign and adopted is None:
            message = f"the table belongs to the pipeline {', '.join(foreign)}, not to {run.pipeline}"
            next_step = f'Choose another path; or, if the pipeline was renamed, set adopt = "{foreign[0]}".'
            raise Misconfigured("FOREIGN_PIPELINE", message, next_step=next_step)
        with mapped("marking the table as this pipeline's"):
            try:
                handle.alter.set_table_properties(
                    {own: adopted or str(uuid.uuid4())},
                    raise_if_not_exists=False,
                    commit_properties=commit_properties(settings),
                    post_commithook_properties=HOOKS_OFF,
                )
            except Exception as error:
                if fate_of(error) is not Fate.INTERFERENCE:
                    raise
            # Whoever else started at the same moment may have won: what the table says now is what holds.
            handle = open_handle(settings)
    message = "the table's properties changed at each attempt to mark it as this pipeline's"
    raise Misconfigured("FOREIGN_PIPELINE", message, next_step="Start one pipeline at a time.")
