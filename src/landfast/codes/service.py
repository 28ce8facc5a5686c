"""Codes of a service: a function of one's own that is called with batches, and the group's offsets that say how far it got."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from landfast.codes.entry import Code

_NOT_PASSED = "Nothing is lost: the group's offsets stand before what was not handled, and the next start reads it again."

TABLE: Mapping[str, Code] = MappingProxyType(
    {
        "HANDLER_FAILED": Code(
            "The service's function raised an exception that may pass. It is called again with the same records; then the lanes halt.",
            _NOT_PASSED,
            "Mend what the function stands on; the message names its line and the class of the exception. `[retry]` says how long to try.",
        ),
        "HANDLER_HUNG": Code(
            "The service was asked to stop, and its function did not come back within the deadline.",
            "What the function was given last is not marked as handled: the next start gives it again, however far it came.",
            "Give the function's own calls a time limit below `engine.shutdown_seconds`, or raise that.",
        ),
        "HANDLER_REFUSED": Code(
            "The service's function cannot go on: what it raised would come again, or it cannot be found out which record is to blame.",
            _NOT_PASSED,
            "Read the message: it names the line, and the records concerned. For records that can never be handled give `dead_letters` a "
            "topic, or raise `RecordsFailed` with them.",
        ),
        "OFFSETS_NOT_KEPT": Code(
            "The group's offsets could not be moved past what was handled. It is tried again; then the lanes halt.",
            "What was handled is not given again while this process lives. If it ends before, the next start gives that batch again.",
            "Start the brokers, or grant READ on the group.",
        ),
        "PARTITION_LOST": Code(
            "The group has given a partition to another member while its records were read or handled here.",
            "Its offset was not moved by us. What was handled here may be given once more, to the new member.",
            "Nothing, if it is rare. If it comes often, the function takes longer than `source.poll_interval_seconds_max` times "
            "`engine.revoke_share`: give it smaller batches.",
        ),
        "RECORDS_REFUSED": Code(
            "The service's function cannot take some records, and there is no dead-letter topic for them, or they are on their way to it.",
            "Without a dead-letter topic nothing passes them; with one they are durable there before the offset passes.",
            "Look at the records that the message names. Mend the function or the producer, or give `dead_letters` a topic.",
        ),
    }
)
