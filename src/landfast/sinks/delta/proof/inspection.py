"""A look at a table that changes nothing: for `check` and `status`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable

from landfast.errors import LandfastError, Misconfigured
from landfast.model import Halt, Position, Stream
from landfast.sinks.delta.errors import looked, mapped
from landfast.sinks.delta.files.names import log_name
from landfast.sinks.delta.files.paths import check_way, local_path
from landfast.sinks.delta.files.probe import check_atomic
from landfast.sinks.delta.files.storage import Files, files_of
from landfast.sinks.delta.log.app_ids import incarnation_app_id, position_app_id
from landfast.sinks.delta.log.entries import has_table
from landfast.sinks.delta.log.lineage import former_pipeline_id, newest_break
from landfast.sinks.delta.log.tail import lost_tail
from landfast.sinks.delta.settings import DeltaSettings
from landfast.sinks.delta.table.creation import creation_refusals, full_schema, no_columns, strange_contents
from landfast.sinks.delta.table.halts import lineage_refusal, replaced_halt
from landfast.sinks.delta.table.marks import pipelines_of
from landfast.sinks.delta.table.place import Shape, open_handle, shape_of
from landfast.sinks.delta.table.remains import table_exchanged, table_gone
from landfast.sinks.delta.table.startup import at_start, problems


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is at a table's path.

    `version` and `shape` are None where there is no table yet. `pipelines` maps the name of each pipeline that the table is marked
    with to its id. `problems` holds what would keep a run from starting. `hollow` are the entries of its log that a power cut
    emptied or tore, which a run fills.
    """

    version: int | None = None
    shape: Shape | None = None
    pipelines: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[LandfastError, ...] = ()
    hollow: tuple[str, ...] = ()

    def pipeline_id(self, pipeline: str, adopt: str | None) -> str | None:
        """The id under which a pipeline, or the one that it adopts, is marked in the table."""
        return _id_of(self.pipelines, pipeline, adopt)


def inspect(settings: DeltaSettings, pipeline: str, data_schema: pa.Schema | None = None) -> Inspection:
    """Look, and write nothing.

    Raises:
        Unavailable: the store does not answer.
    """
    with looked("looking at the table"):
        try:
            check_way(settings.path)
        except Misconfigured as error:
            return Inspection(problems=(error,))
        folder = local_path(settings.path)
        if folder is not None and not folder.exists():
            return Inspection(problems=tuple(_problems_of_creation(settings, data_schema)))
        files = files_of(settings.path, settings.storage_options)
        if not has_table(files):
            strange = strange_contents(settings.path, files)
            problems_there = () if strange is None else (strange,)
            return Inspection(problems=(*problems_there, *_problems_of_creation(settings, data_schema)))
        try:
            hollow = tuple(Path(log_name(version)).name for version in lost_tail(settings.path, files))
            handle = open_handle(settings)
        except LandfastError as error:
            return Inspection(problems=(error,))
        pipelines = pipelines_of(handle)
        found = tuple(_problems(settings, pipeline, data_schema, files, handle, pipelines))
        return Inspection(handle.version(), shape_of(handle), pipelines, found, hollow)


def probe_place(settings: DeltaSettings) -> None:
    """Write and remove what is needed to know that the place can be written and creates atomically. Leaves nothing.

    Raises:
        Misconfigured: the store is unsafe, or the place cannot be written.
        Unavailable: the store does not answer.
    """
    with at_start(), mapped("writing to the table's place"):
        check_way(settings.path)
        files = files_of(settings.path, settings.storage_options)
        files.probe()
        check_atomic(settings, files)


def positions_of(settings: DeltaSettings, pipeline_id: str, streams: Collection[Stream]) -> Mapping[Stream, Position | None]:
    """The durable positions of a pipeline, without opening its table for writing."""
    with looked("reading positions"):
        handle = open_handle(settings)
        return {stream: handle.transaction_version(position_app_id(pipeline_id, stream)) for stream in streams}


def replaced_of(settings: DeltaSettings, pipeline_id: str, streams: Collection[Stream]) -> Mapping[Stream, Halt]:
    """Those of the streams that the log has today which a run would halt, since the table holds rows of a former topic of that name."""
    with looked("reading the topics' ids"):
        handle = open_handle(settings)
        known = {stream: handle.transaction_version(incarnation_app_id(pipeline_id, stream)) for stream in streams}
        halts = {stream: replaced_halt(known[stream], settings, stream) for stream in streams}
    return {stream: halt for stream, halt in halts.items() if halt is not None}


def _id_of(pipelines: Mapping[str, str], pipeline: str, adopt: str | None) -> str | None:
    return pipelines.get(pipeline) or pipelines.get(adopt or "")


def _problems_of_creation(settings: DeltaSettings, data_schema: pa.Schema | None) -> Iterator[LandfastError]:
    gone = table_gone(settings)
    if gone is not None:
        yield gone
    if data_schema is None:
        yield no_columns()
        return
    yield from creation_refusals(settings, full_schema(settings, data_schema))


def _problems(
    settings: DeltaSettings,
    pipeline: str,
    data_schema: pa.Schema | None,
    files: Files,
    handle: DeltaTable,
    pipelines: Mapping[str, str],
) -> Iterator[LandfastError]:
    yield from problems(handle, settings, data_schema)
    pipeline_id = _id_of(pipelines, pipeline, settings.adopt)
    if pipelines and pipeline_id is None:
        message = f"the table belongs to the pipeline {', '.join(sorted(pipelines))}, not to {pipeline}"
        yield Misconfigured("FOREIGN_PIPELINE", message, next_step="Choose another path; or, after a rename, set adopt to the former name.")
    if not pipelines and former_pipeline_id(files, handle.version(), pipeline) is None:
        exchanged = table_exchanged(settings)
        if exchanged is not None:
            yield exchanged
    if pipeline_id is not None:
        broken = newest_break(files, handle.version(), pipeline_id, settings.accept_lineage_version)
        if broken is not None:
            yield lineage_refusal(broken)
