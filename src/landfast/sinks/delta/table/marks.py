"""The mark by which a table is a pipeline's: the id under which the pipeline keeps its positions there."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from deltalake import CommitProperties, DeltaTable

from landfast.errors import Misconfigured
from landfast.model import Run
from landfast.sinks.delta.errors import mapped
from landfast.sinks.delta.fates import Fate, fate_of
from landfast.sinks.delta.log.lineage import former_pipeline_id
from landfast.sinks.delta.table.entities import entity_properties
from landfast.sinks.delta.table.place import HOOKS_OFF, Place
from landfast.sinks.delta.table.remains import table_exchanged

_PROPERTY = "landfast.pipeline."
"""What the name of a mark begins with: the property of a table, then the pipeline."""
MARK_ATTEMPTS_MAX = 10
OTHERS_CLEAN_UP = "delta.enableExpiredLogCleanup"
"""Whether whoever commits cleans the log up too. A table of ours says no, unless its owner said yes: commits carry the spans that a proof
needs, and our own upkeep removes them only after the spans are rolled up."""
_LOG_RETENTION = "delta.logRetentionDuration"
_LOG_RETENTION_CREATED = "interval 7 days"
"""Of a table that is created here. On a local disk deltalake lists the whole log several times for each commit: with a commit every five
seconds and the 30 days that are usual, that would be more than a second each. What a version before these days names has been replaced by
compaction and swept by then."""


def properties_of_a_new_table(pipeline: str) -> dict[str, str]:
    """The properties that a table of this pipeline is born with, its mark among them."""
    return {_PROPERTY + pipeline: str(uuid.uuid4()), OTHERS_CLEAN_UP: "false", _LOG_RETENTION: _LOG_RETENTION_CREATED}


def pipeline_id_in(place: Place, run: Run) -> str:
    """The id under which this pipeline keeps its positions: born with the table, or given to it now."""
    for _ in range(MARK_ATTEMPTS_MAX):
        with mapped("reading whose the table is"):
            # Opened anew each time: whoever else starts at this moment may win, and what the table says then is what holds.
            handle = place.handle()
            pipelines = pipelines_of(handle)
            if run.pipeline in pipelines:
                return pipelines[run.pipeline]
            given = _id_to_give(place, run, handle, pipelines)
        kept = {OTHERS_CLEAN_UP: handle.metadata().configuration.get(OTHERS_CLEAN_UP, "false")}
        # In one act with the pipeline's mark: from then on the key of a table's rows never changes.
        mark(handle, {_PROPERTY + run.pipeline: given, **kept, **entity_properties(place.settings)})
    message = "the table's properties changed at each attempt to mark it as this pipeline's"
    raise Misconfigured("FOREIGN_PIPELINE", message, next_step="Start one pipeline at a time.")


def _id_to_give(place: Place, run: Run, handle: DeltaTable, pipelines: Mapping[str, str]) -> str:
    settings = place.settings
    if pipelines:
        adopted = None if settings.adopt is None else pipelines.get(settings.adopt)
        if adopted is not None:
            return adopted
        names = sorted(pipelines)
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
        if exchanged is not None and not pipelines_of(place.handle()):
            raise exchanged
    return former or str(uuid.uuid4())


def pipelines_of(handle: DeltaTable) -> dict[str, str]:
    """The pipelines that the table is marked with: the id of each, by its name."""
    configuration = handle.metadata().configuration
    return {key.removeprefix(_PROPERTY): value for key, value in configuration.items() if key.startswith(_PROPERTY)}


def mark(handle: DeltaTable, properties: Mapping[str, str]) -> None:
    """Set these properties of the table, unless somebody else changes it first: whoever marks it looks again."""
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
