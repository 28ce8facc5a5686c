"""Codes of the run itself: retries, dead letters, shutting down, proof."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from landfast.codes.entry import NOTHING_LOST, OTHERS_GO_ON, Code

TABLE: Mapping[str, Code] = MappingProxyType(
    {
        "DEMO_FAILED": Code(
            "The demo could not be told to its end.",
            "It works on an embedded broker and a temporary folder only.",
            "Read the worker's last words in the message, and run it again.",
        ),
        "DLQ_DOWN": Code(
            "The dead letters cannot be written.",
            "No position passes a record whose letter is not durable.",
            "Make the dead-letter table writable (its path is in the message), then start again.",
        ),
        "DLQ_RATE": Code(
            "Too large a share of the records is refused; most likely the producer or the settings changed.",
            OTHERS_GO_ON,
            "Look at `landfast dead-letters list`. Correct the decoding, or raise `[dead_letters] max_share` on purpose.",
        ),
        "HELD_ELSEWHERE": Code(
            "A bounded run has landed its own part and waits for streams that another worker of the group holds; they do not move.",
            NOTHING_LOST,
            "Look at the other workers of the group: a halted lane says there why. Mend or end that worker, and start again. If it is a "
            "sound pipeline of the same name with a table of its own, give one of the two another `name` or `source.group`.",
        ),
        "INVARIANT_BROKEN": Code(
            "A check that must always hold did not hold. This is a defect in Landfast, or damage underneath it.",
            "The run stopped before the commit concerned; what had landed before stays as it is.",
            "Run `landfast verify`, keep the table as it is, and report the message.",
        ),
        "MEMORY_EXHAUSTED": Code(
            "The process asked for memory and did not get it. What it was for is tried again, or the route ended without landing it.",
            NOTHING_LOST,
            "Lower `engine.memory_bytes` or `batch.bytes`, or give the process more memory, then start again. A record much larger than "
            "the others can be refused by `decode.record_bytes_max`.",
        ),
        "RETRY_BACKLOG": Code(
            "As many dead letters wait to be tried again as may, so the route reads nothing. A run to the end of the log halts there.",
            "Nothing is evicted: they are durable, and reading goes on when fewer wait. Other routes go on.",
            "Look at `landfast dead-letters list` for why they fail. Mend the cause, or discard what is not worth another try; or raise "
            "the limit of those that may wait.",
        ),
        "SHUTDOWN_CLEAN": Code(
            "The run was asked to stop and landed all it had read.",
            "Nothing will be read twice.",
            "Nothing.",
        ),
        "SHUTDOWN_FORCED": Code(
            "A second signal ended the run at once.",
            NOTHING_LOST,
            "Nothing: the next start reads again what had not landed.",
        ),
        "SHUTDOWN_PARTIAL": Code(
            "The run was asked to stop and could not land all it had read within the deadline.",
            NOTHING_LOST,
            "Nothing: the next start reads the rest again. A longer deadline avoids it.",
        ),
        "TELEMETRY_DROPPED": Code(
            "Logs or metrics could not keep up, so some events were not reported. The records themselves are not concerned.",
            "Landing never waits for telemetry; positions and the table are exact.",
            "Check what reads the logs (a full disk, a stuck pipe). Counters of landed records stay exact.",
        ),
        "THREAD_LIMIT": Code(
            "The system lets this process start no further thread.",
            NOTHING_LOST,
            "Raise the limit of processes and threads (`ulimit -u`, or of the container), or give the process more memory.",
        ),
        "TORTURE_FAILED": Code(
            "The torture could not be carried to its end.",
            "It works in topics, a group and a table of its own.",
            "Read the last words of what ended in the message, and run it again; with --keep everything is left to look at.",
        ),
        "VERIFY_FAILED": Code(
            "The proof found a hole, an overlap or a change.",
            "Nothing was changed by looking.",
            "Each finding names its exact offsets. Stop writers, keep the table as it is, and read the range again from the log.",
        ),
        "UNEXPECTED": Code(
            "An exception reached the engine that no adapter knows: a defect in Landfast or in what it stands on.",
            NOTHING_LOST,
            "Report it with its traceback: it is in the log, and for a program in `report.error.__cause__`. If a part of your own raised "
            "it, such as an observer, mend that part. Other routes of a run went on.",
        ),
    }
)
