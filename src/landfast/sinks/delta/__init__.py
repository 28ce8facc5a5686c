"""Delta Lake as a sink, exactly once."""

from landfast.sinks.delta.dead_letters import DeltaDeadLetters
from landfast.sinks.delta.inspection import Inspection, inspect, positions_of, probe_place
from landfast.sinks.delta.letters import letters_path
from landfast.sinks.delta.settings import DeltaSettings, UnknownFields
from landfast.sinks.delta.sink import DeltaSink, Keeper
from landfast.sinks.delta.startup import open_table
from landfast.sinks.delta.table import TableHome

__all__ = [
    "DeltaDeadLetters",
    "DeltaSettings",
    "DeltaSink",
    "Inspection",
    "Keeper",
    "TableHome",
    "UnknownFields",
    "inspect",
    "letters_path",
    "open_table",
    "positions_of",
    "probe_place",
]
