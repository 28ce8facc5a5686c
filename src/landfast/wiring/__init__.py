"""From settings to a runner: the one place that knows which adapter stands behind which setting."""

from __future__ import annotations

from landfast.wiring.build import assembled, build, new_run, opened_table, patiently
from landfast.wiring.look import concerning, guarantee, look_at_sink, look_at_source, named, samples
from landfast.wiring.parts import (
    Silence,
    Site,
    accepted_losses,
    client_configuration,
    configured_columns,
    decoder_of,
    delta_settings,
    flow_limits,
    kafka_source,
    maintenance_settings,
    rereader,
    secrets,
)

__all__ = [
    "Silence",
    "Site",
    "accepted_losses",
    "assembled",
    "build",
    "client_configuration",
    "concerning",
    "configured_columns",
    "decoder_of",
    "delta_settings",
    "flow_limits",
    "guarantee",
    "kafka_source",
    "look_at_sink",
    "look_at_source",
    "maintenance_settings",
    "named",
    "new_run",
    "opened_table",
    "patiently",
    "rereader",
    "samples",
    "secrets",
]
