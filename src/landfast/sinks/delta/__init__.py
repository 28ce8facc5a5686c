"""Delta Lake as a sink, exactly once."""

from landfast.sinks.delta.settings import DeltaSettings, UnknownFields
from landfast.sinks.delta.sink import Checkpoints, DeltaSink, Upkeep
from landfast.sinks.delta.startup import open_table
from landfast.sinks.delta.table import TableHome

__all__ = ["Checkpoints", "DeltaSettings", "DeltaSink", "TableHome", "UnknownFields", "Upkeep", "open_table"]
