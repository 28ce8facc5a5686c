"""`landfast check`."""

from __future__ import annotations

from landfast.cli.run import SettingsFile


def check(file: SettingsFile) -> None:
    """Not there yet."""
