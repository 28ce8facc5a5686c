"""Fixtures of the sinks' tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sinks.delta_world import DeltaWorld, world_at


@pytest.fixture
def world(tmp_path: Path) -> DeltaWorld:
    """A Delta table that does not exist yet."""
    return world_at(tmp_path)
