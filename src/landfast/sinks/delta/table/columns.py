"""Columns that a table is given while others write to it."""

from __future__ import annotations

import pyarrow as pa
from deltalake import CommitProperties
from deltalake.schema import Field as DeltaField
from deltalake.schema import Schema

from landfast.errors import Unavailable
from landfast.sinks.delta.errors import Fate, fate_of, mapped
from landfast.sinks.delta.table.place import HOOKS_OFF, Place, shape_of

ADD_ATTEMPTS_MAX = 30
_STEP_OVER = CommitProperties(max_commit_retries=100)
"""deltalake steps over commits that do not concern the columns, inside one attempt."""


def add_columns(place: Place, fields: pa.Schema) -> None:
    """Give the table these columns where it lacks them; several processes may do so at once.

    A column that exists by now, perhaps with another type, is left as it is.

    Raises:
        Unavailable: the table kept changing, or the store does not answer.
    """
    with mapped("adding columns to the table"):
        for _ in range(ADD_ATTEMPTS_MAX if fields.names else 0):
            handle = place.handle()
            taken = {name.lower() for name in shape_of(handle).schema.names}
            missing: list[DeltaField] = [field for field in Schema.from_arrow(fields).fields if field.name.lower() not in taken]
            if not missing:
                return
            try:
                handle.alter.add_columns(missing, commit_properties=_STEP_OVER, post_commithook_properties=HOOKS_OFF)
            except Exception as error:
                if fate_of(error) is Fate.INTERFERENCE:
                    continue
                raise
        if fields.names:
            message = f"the table changed during each of {ADD_ATTEMPTS_MAX} attempts to add columns"
            raise Unavailable("COMMIT_CONFLICT", message, next_step="Nothing: it is tried again.")
