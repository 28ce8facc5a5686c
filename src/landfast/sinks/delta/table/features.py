"""What a table demands: of those who write to it, and of those who read its files themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deltalake import DeltaTable

from landfast.errors import Misconfigured

# Features that change nothing for an append of plain files, as long as `_features_in_use` finds none of their traces.
_HARMLESS = frozenset(
    (
        "appendOnly",
        "changeDataFeed",
        "checkConstraints",
        "columnMapping",
        "generatedColumns",
        "identityColumns",
        "invariants",
        "timestampNtz",
        "vacuumProtocolCheck",
    )
)
_WRITER_VERSION_WITH_FEATURES = 7
_FIELD_TRACES = {
    "delta.generationExpression": "generated columns",
    "delta.identity.start": "identity columns",
    "delta.invariants": "invariants",
    "CURRENT_DEFAULT": "default values",
}
RETENTION = "delta.setTransactionRetentionDuration"


def demands(handle: DeltaTable) -> Iterator[Misconfigured]:
    """Every demand of the table that Landfast does not meet."""
    configuration = handle.metadata().configuration
    for feature in sorted(_unsupported_features(handle) | set(_features_in_use(handle, configuration))):
        message = f"the table uses {feature}, which cannot be written safely"
        yield Misconfigured("PROTOCOL_UNSUPPORTED", message, next_step="Turn the feature off, or land into another table.")
    if RETENTION in configuration:
        message = f"the table lets positions expire: its property {RETENTION} is set"
        yield Misconfigured("TXN_RETENTION_UNSAFE", message, next_step="Remove the property from the table.")


def reading_problems(handle: DeltaTable) -> Iterator[Misconfigured]:
    """Why the rows of the table are not simply the rows in its files, so that whoever reads the files counts something else."""
    features = set(handle.protocol().reader_features or []) - _HARMLESS
    configuration = handle.metadata().configuration
    mapped_columns = ["columnMapping"] if configuration.get("delta.columnMapping.mode", "none") != "none" else []
    for feature in sorted({*features, *mapped_columns}):
        message = f"the table uses the feature {feature}: what readers see of it is not simply what lies in its files"
        next_step = "Turn the feature off (for deletion vectors: and purge them, `REORG TABLE … APPLY (PURGE)`), then ask again."
        yield Misconfigured("PROTOCOL_UNSUPPORTED", message, next_step=next_step)


def _unsupported_features(handle: DeltaTable) -> set[str]:
    protocol = handle.protocol()
    if protocol.min_writer_version < _WRITER_VERSION_WITH_FEATURES:
        return set()
    named = set(protocol.writer_features or []) | set(protocol.reader_features or [])
    return {f"the feature {name}" for name in named - _HARMLESS}


def _features_in_use(handle: DeltaTable, configuration: Mapping[str, str]) -> Iterator[str]:
    if configuration.get("delta.columnMapping.mode", "none") != "none":
        yield "column mapping"
    if configuration.get("delta.enableDeletionVectors", "false").lower() == "true":
        yield "deletion vectors"
    if any(key.startswith("delta.constraints.") for key in configuration):
        yield "CHECK constraints"
    for field in handle.schema().fields:
        for trace, name in _FIELD_TRACES.items():
            if trace in (field.metadata or {}):
                yield f"{name} (column {field.name})"
