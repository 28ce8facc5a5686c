"""What a former table has left beside the path: its dead letters, which a new table would bury once more.

A letter is known by the id that its table was born with. A table with another id does not find the letters of the former one, and what
they hold would be refused and buried again.
"""

from __future__ import annotations

from landfast.errors import Misconfigured
from landfast.sinks.delta.files.paths import letters_path, shown
from landfast.sinks.delta.log.active import active_files
from landfast.sinks.delta.log.snapshot import snapshot_or_none
from landfast.sinks.delta.settings import DeltaSettings


def table_gone(settings: DeltaSettings) -> Misconfigured | None:
    """Why no table is created at a path where there is none; None where no letter of a former one is left. Raises what deltalake raises."""
    return _refusal(settings, "TABLE_MISSING", f"there is no table at {shown(settings.path)}, and")


def table_exchanged(settings: DeltaSettings) -> Misconfigured | None:
    """Why a table that no pipeline has marked is not taken on; None where a former one left no letter. Raises what deltalake raises."""
    return _refusal(settings, "TABLE_REPLACED", f"the table at {shown(settings.path)} is not the one whose records were buried, since")


def _refusal(settings: DeltaSettings, code: str, before: str) -> Misconfigured | None:
    if not _has_letters(settings):
        return None
    letters = shown(letters_path(settings.path))
    message = (
        f"{before} {letters} holds dead letters of a former table; starting anew beside them would bury the same records again. "
        "Nothing was read, and the letters are whole"
    )
    next_step = f"Bring the former table back to {shown(settings.path)}. To start anew, move {letters} away, or set another sink.path."
    return Misconfigured(code, message, next_step=next_step)


def _has_letters(settings: DeltaSettings) -> bool:
    table = snapshot_or_none(letters_path(settings.path), settings.storage_options)
    return table is not None and any(file.rows != 0 for file in active_files(table))
