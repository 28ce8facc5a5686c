"""Fixtures of the tests on real parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from landfast.testing.fault_proxy import FaultProxy
from landfast.testing.stores import VersityGateway


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
