"""The command `landfast`."""

from __future__ import annotations

from landfast.cli.app import app, main

__all__ = ["app", "main"]
