"""Fixtures of the tests on real parts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from landfast.testing.fault_proxy import FaultProxy
from landfast.testing.stores import VersityGateway


@pytest.fixture
def proxy(store: VersityGateway) -> Iterator[FaultProxy]:
    """A proxy before the store, without a fault yet."""
    with FaultProxy(store.port) as running:
        yield running
