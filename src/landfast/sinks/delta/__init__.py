"""Delta Lake as a sink, exactly once.

Imports point down only:

retrying   letters that the pipeline tries again by itself; above `redrive`
redrive    what people do with dead letters: replayed, edited, discarded, with a trail; above `landing`
landing    what lands rows, positions and dead letters: begin at `landing.sink`, then `landing.commit`
upserting  what becomes of rows of the same key; below `landing`, and only where a table has one row per key
writing    batches that people write themselves, each of them once; beside `landing`
proof      what only looks: the proof of a table from itself, and what people ask of it
upkeep     what keeps a table fast and small, between commits
table      the table as a whole: created or found suitable, marked as a pipeline's, opened, watched for what others do to it
log        what the table's log says, what is written into it, and how its end is made whole after a power cut
files      the files of a table: what they are called, where they lie, what is in them, when they are durable

`settings` is what the sink can be told, `fates` what an exception of a driver means, `errors` what becomes of it. What proves a table
shares no code with what lands in it above the table itself.
"""

from landfast.sinks.delta.files.paths import letters_path
from landfast.sinks.delta.landing.dead_letters import DeltaDeadLetters
from landfast.sinks.delta.landing.sink import DeltaSink, Keeper
from landfast.sinks.delta.proof.inspection import Inspection, inspect, positions_of, probe_place
from landfast.sinks.delta.settings import DeltaSettings, UnknownFields, UpsertSettings
from landfast.sinks.delta.table.home import TableHome
from landfast.sinks.delta.table.startup import open_table

__all__ = [
    "DeltaDeadLetters",
    "DeltaSettings",
    "DeltaSink",
    "Inspection",
    "Keeper",
    "TableHome",
    "UnknownFields",
    "UpsertSettings",
    "inspect",
    "letters_path",
    "open_table",
    "positions_of",
    "probe_place",
]
