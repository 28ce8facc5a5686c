"""Why a lane must not go on in a table, and how it can."""

from __future__ import annotations

from landfast.errors import Misconfigured
from landfast.model import Halt, Stream
from landfast.sinks.delta.log.app_ids import incarnation_number
from landfast.sinks.delta.log.entries import Entry
from landfast.sinks.delta.settings import DeltaSettings


def replaced_halt(known: int | None, settings: DeltaSettings, stream: Stream) -> Halt | None:
    """Why a stream must not be read whose topic is another than the one whose rows the table holds, and how to go on.

    `known` is the transaction version of the stream's incarnation in the table.
    """
    if known is None or known == incarnation_number(stream.incarnation) or stream.incarnation in settings.accept_topic_ids:
        return None
    message = f"{stream} is another topic than the one whose rows are in the table: it has the id {stream.incarnation}"
    next_step = f"If the new topic is to follow the old one, put its id {stream.incarnation} into accept_topic_ids."
    return Halt("TOPIC_REPLACED", message, next_step)


def lineage_halt(broken: Entry) -> Halt:
    """Why lanes halt after a restore or an overwrite, and how to go on."""
    message = f"version {broken.version} ({broken.operation}) replaced the table's rows, while the positions stayed where they were"
    next_step = (
        "To bring the rows back, restore the version that held them, and set accept_lineage_version to the version which that makes. "
        "To land everything again, set another sink.path: a new table has no positions. "
        f"To go on as it is, without the rows that were taken, set accept_lineage_version = {broken.version}."
    )
    return Halt("LINEAGE_BROKEN", message, next_step)


def lineage_refusal(broken: Entry) -> Misconfigured:
    """The same, where it is found out before the first read."""
    halt = lineage_halt(broken)
    return Misconfigured(halt.code, halt.message, next_step=halt.next_step)
