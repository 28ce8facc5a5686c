"""Fixtures of the tests on real parts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from landfast.testing.fault_proxy import FaultProxy
from landfast.testing.stores import VersityGateway, default_cache, missing_tools


@pytest.fixture(scope="session")
def store_cache() -> Path:
    """Where built stores are kept. Skips where none can be built, and fails there in CI, where nothing is skipped."""
    named = os.environ.get("LANDFAST_CACHE")
    cache = Path(named) / "stores" if named else default_cache()
    lacking = missing_tools(cache)
    if lacking:
        (pytest.fail if os.environ.get("CI", "").lower() in {"1", "true"} else pytest.skip)(lacking)
    return cache


@pytest.fixture(scope="session")
def store(store_cache: Path) -> Iterator[VersityGateway]:
    """One real store for the whole session; every test uses a table of its own."""
    with VersityGateway(store_cache) as running:
        yield running


@pytest.fixture
def proxy(store: VersityGateway) -> Iterator[FaultProxy]:
    """A proxy before the store, without a fault yet."""
    with FaultProxy(store.port) as running:
        yield running
