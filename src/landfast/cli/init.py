"""`landfast init`."""

from __future__ import annotations

from landfast.cli.run import SettingsFile


def init(file: SettingsFile) -> None:
    """Not there yet."""
