"""Settings: one frozen tree, loaded from one file and the environment, refused whole when anything in it is wrong.

This package alone reads the environment.
"""

from __future__ import annotations

from landfast.config.load import from_mapping, load, section
from landfast.config.maintenance import MaintenanceSettings
from landfast.config.options import MASK, Options
from landfast.config.reference import reference
from landfast.config.retries import OwnRetrySettings, RetrySettings, RouteRetrySettings
from landfast.config.settings import (
    BatchSettings,
    DeadLetterSettings,
    DecodeSettings,
    EngineSettings,
    MetricsSettings,
    RouteSettings,
    Settings,
    SinkSettings,
    SourceSettings,
)

__all__ = [
    "MASK",
    "BatchSettings",
    "DeadLetterSettings",
    "DecodeSettings",
    "EngineSettings",
    "MaintenanceSettings",
    "MetricsSettings",
    "Options",
    "OwnRetrySettings",
    "RetrySettings",
    "RouteRetrySettings",
    "RouteSettings",
    "Settings",
    "SinkSettings",
    "SourceSettings",
    "from_mapping",
    "load",
    "reference",
    "section",
]
