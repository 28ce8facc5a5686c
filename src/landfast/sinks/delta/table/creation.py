"""How a table comes to be, whoever else creates it at the same moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from deltalake.schema import Schema

from landfast.errors import Misconfigured
from landfast.sinks.delta.errors import mapped
from landfast.sinks.delta.fates import Fate, fate_of
from landfast.sinks.delta.files.names import LOG, OWN_PREFIX
from landfast.sinks.delta.files.own_columns import DELETED, RESCUED, SYSTEM_SCHEMA
from landfast.sinks.delta.files.paths import folders_above, local_path, shown
from landfast.sinks.delta.files.storage import Files, files_of
from landfast.sinks.delta.log.entries import has_table
from landfast.sinks.delta.settings import DeltaSettings
from landfast.sinks.delta.table.columns import creation_problems
from landfast.sinks.delta.table.entities import upsert_problems
from landfast.sinks.delta.table.place import HOOKS_OFF, Place

CREATE_ATTEMPTS_MAX = 10


def full_schema(settings: DeltaSettings, data_schema: pa.Schema) -> pa.Schema:
    """The table's schema for these data columns."""
    fields = list(data_schema)
    if settings.unknown_fields != "dead" and RESCUED not in data_schema.names:
        fields.append(pa.field(RESCUED, pa.string()))
    if settings.upsert is not None:
        fields.append(pa.field(DELETED, pa.bool_()))
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
                raise no_columns()
            strange = strange_contents(place.settings.path, files)
            if strange is not None and not has_table(files):
                raise strange
            for problem in creation_refusals(place.settings, schema):
                raise problem
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


def no_columns() -> Misconfigured:
    """Why no table is created without columns."""
    message = "there is no table at the path, and no columns are set to create it with"
    return Misconfigured("TABLE_MISSING", message, next_step="Set [decode.columns], or run `landfast init`.")


def creation_refusals(settings: DeltaSettings, schema: pa.Schema) -> Iterator[Misconfigured]:
    """Why no table of this schema can be created there."""
    # Whoever cleans a table up takes what lies in its folder and is not named by its log: deltalake when asked for a full vacuum.
    outer = next((folder for folder in folders_above(settings.path) if _holds_log(folder, settings)), None)
    if outer is not None:
        message = f"{shown(settings.path)} lies inside the Delta table at {shown(outer)}, for which its files would be left over"
        yield Misconfigured("NOT_A_TABLE", message, next_step="Choose a path that is inside no table.")
    for said in creation_problems(schema, settings.partition_by):
        yield Misconfigured("SCHEMA_CONFLICT", said, next_step="Correct the columns or partition_by in the settings.")
    yield from upsert_problems(schema, settings.upsert)


def _holds_log(folder: str, settings: DeltaSettings) -> bool:
    """Whether a folder is a table's. Who may not look there cannot tell, and is let through: rights often end at a prefix of a bucket."""
    root = local_path(folder)
    if root is not None:
        return (root / LOG).is_dir()
    try:
        return bool(files_of(folder, settings.storage_options).names(LOG))
    except Exception as error:
        if fate_of(error) not in {Fate.TRANSIENT, Fate.THROTTLED}:
            return False
        raise


def strange_contents(path: str, files: Files) -> Misconfigured | None:
    """Why no table is created at a path where there is none yet: something else is there. None where the place is free."""
    strange = [name for name in files.names("") if not name.startswith(OWN_PREFIX) and name != LOG]
    if not strange:
        return None
    count = f"{len(strange)} files or folders" if len(strange) > 1 else "a file or folder"
    message = f"{shown(path)} holds {count}, and no Delta table"
    next_step = "Choose an empty path, or one that holds a Delta table. If one lay here, restore it, or remove what is left of it."
    return Misconfigured("NOT_A_TABLE", message, next_step=next_step)
