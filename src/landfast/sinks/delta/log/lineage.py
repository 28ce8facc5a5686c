"""Whether the table's rows are still those that the positions speak of.

A restore or an overwrite takes rows away and leaves the positions where they are: going on would skip what was taken, silently.
"""

from __future__ import annotations

from landfast.sinks.delta.files.storage import Files
from landfast.sinks.delta.log.entries import Entry, entries_back

LOOK_BACK_ENTRIES_MAX = 2000


def newest_break(files: Files, tip: int, pipeline_id: str, accepted_version: int) -> Entry | None:
    """The newest commit after this pipeline's last one that replaced the table's rows; None where there is none.

    Without any commit of the pipeline there is nothing to break.
    """
    broken: Entry | None = None
    oldest = tip + 1
    for one in entries_back(files, tip, max(0, tip - LOOK_BACK_ENTRIES_MAX)):
        if one.record is not None and one.record.pipeline_id == pipeline_id:
            return broken
        oldest = one.version
        if one.replaces and one.version > accepted_version and broken is None:
            broken = one
    # Where older entries are out of reach, commits of the pipeline may be among them.
    return broken if oldest > 0 else None


def former_pipeline_id(files: Files, tip: int, pipeline: str) -> str | None:
    """The id under which the pipeline of this name has committed before, as far as the log reaches."""
    for one in entries_back(files, tip, max(0, tip - LOOK_BACK_ENTRIES_MAX)):
        if one.record is not None and one.record.pipeline == pipeline:
            return one.record.pipeline_id
    return None
