"""Every port in memory: a log, a group, a table, dead letters, and what reads and writes them.

The durable half (`MemoryLog`, `MemoryGroup`, `MemoryTable`, `MemoryLetterStore`) is shared by several processes of the half that a
crash forgets (`MemorySource`, `MemorySink`, `MemoryDeadLetters` or `MemoryRetries`). All of them pass the suites that the real ports pass.
"""

from landfast.testing.memory.group import Acknowledgement, Handover, MemoryGroup
from landfast.testing.memory.letters import Failures, LetterStore, MemoryDeadLetters, MemoryLetterStore, Retriable
from landfast.testing.memory.log import MemoryLog, Partition, Record
from landfast.testing.memory.observer import RecordingObserver
from landfast.testing.memory.retries import MemoryRetries, MemoryRetriesSettings, resolve
from landfast.testing.memory.rows import CountingDecoder, LandedRow, LineDecoder, ListRows
from landfast.testing.memory.sink import MemorySink, MemorySinkSettings, refuse_nothing
from landfast.testing.memory.source import MemorySource, MemorySourceSettings, chunk_of
from landfast.testing.memory.table import AnswerLost, MemoryTable, Snapshot, Table, TableCommit, VersionTaken

__all__ = [
    "Acknowledgement",
    "AnswerLost",
    "CountingDecoder",
    "Failures",
    "Handover",
    "LandedRow",
    "LetterStore",
    "LineDecoder",
    "ListRows",
    "MemoryDeadLetters",
    "MemoryGroup",
    "MemoryLetterStore",
    "MemoryLog",
    "MemoryRetries",
    "MemoryRetriesSettings",
    "MemorySink",
    "MemorySinkSettings",
    "MemorySource",
    "MemorySourceSettings",
    "MemoryTable",
    "Partition",
    "Record",
    "RecordingObserver",
    "Retriable",
    "Snapshot",
    "Table",
    "TableCommit",
    "VersionTaken",
    "chunk_of",
    "refuse_nothing",
    "resolve",
]
