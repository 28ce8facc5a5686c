"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_jars import default_cache, missing_tools

KAFKA_USERS = {"reader": "correct-horse"}


@pytest.fixture(scope="session")
def kafka_cache() -> Path:
    """Where the test broker's jars are kept. Skips where no broker can run, and fails there in CI, where nothing is skipped."""
    named = os.environ.get("LANDFAST_CACHE")
    cache = Path(named) / "kafka" if named else default_cache()
    lacking = missing_tools(cache)
    if lacking:
        (pytest.fail if os.environ.get("CI", "").lower() in {"1", "true"} else pytest.skip)(lacking)
    return cache


@pytest.fixture(scope="session")
def fragile_kafka(kafka_cache: Path) -> Iterator[RealKafka]:
    """A real broker to kill, pause and start again: whoever takes it down brings it up before its test ends."""
    with RealKafka(cache=kafka_cache) as broker:
        yield broker


@pytest.fixture(scope="session")
def kafka(kafka_cache: Path) -> Iterator[RealKafka]:
    """A real broker for the whole session: use topics and groups of your own, and never kill it (open one for that)."""
    with RealKafka(cache=kafka_cache, users=KAFKA_USERS) as broker:
        yield broker
