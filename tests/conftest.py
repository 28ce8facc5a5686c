"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from coverage import Coverage

from landfast.testing import kafka_jars, stores
from landfast.testing.cache import cache_folder
from landfast.testing.inflicted import INFLICTED
from landfast.testing.kafka import SHORT_LIVED, RealKafka
from landfast.testing.tcp_proxy import TcpProxy

KAFKA_USERS = {"reader": "correct-horse"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run side by side, those that share a broker to kill stay together: starting it takes longer than most of them."""
    for item in items:
        if "fragile_kafka" in _fixtures(item):
            item.add_marker(pytest.mark.xdist_group("fragile_kafka"))
            # All of them together, that is.
            item.add_marker(pytest.mark.long)


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is downloaded or built once is begun now, beside the first tests, not in front of the one that needs it."""
    wanted = {name for item in session.items for name in _fixtures(item)}
    starter = ThreadPoolExecutor()
    if "kafka_cache" in wanted and not kafka_jars.missing_tools(cache_folder("kafka")):
        starter.submit(kafka_jars.jars, cache_folder("kafka"))
    if "store_cache" in wanted and not stores.missing_tools(cache_folder("stores")):
        for module in (stores.VERSITYGW, stores.GOFAKES3):
            starter.submit(stores.built, cache_folder("stores"), module)
    # Nobody waits here, and a failure comes again where the part is used.
    starter.shutdown(wait=False)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process that runs tests beside others hands over what its proxies and brokers did."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["inflicted"] = dict(INFLICTED.counts())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """What such a process handed over is added up. One that crashed hands over nothing."""
    for what, count in getattr(node, "workeroutput", {}).get("inflicted", {}).items():
        INFLICTED.add(what, count)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The run says what it put its tests through, for whoever wants the figures."""
    for what, count in INFLICTED.counts().items():
        terminalreporter.write_line(f"inflicted: {count:,} {what}")


def _fixtures(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])


@pytest.fixture
def unmeasured() -> Iterator[None]:
    """Coverage looks away: it makes pure Python four times as slow, and the next hundred of many like cases cover nothing new."""
    measuring = Coverage.current()
    if measuring is None:
        yield
        return
    measuring.stop()
    try:
        yield
    finally:
        measuring.start()


@pytest.fixture(scope="session")
def kafka_cache() -> Path:
    """Where the test broker's jars are kept."""
    return found("kafka", kafka_jars.missing_tools)


@pytest.fixture(scope="session")
def store_cache() -> Path:
    """Where built stores are kept."""
    return found("stores", stores.missing_tools)


def found(part: str, missing_tools: Callable[[Path], str]) -> Path:
    """The folder of a part. Skips where the part cannot be had, which in CI is a failure."""
    cache = cache_folder(part)
    lacking = missing_tools(cache)
    if lacking:
        pytest.skip(lacking)
    return cache


@pytest.fixture(scope="session")
def front_line() -> Iterator[TcpProxy]:
    """The way to the session's broker that `line` lets tests damage."""
    with TcpProxy() as line:
        yield line


@pytest.fixture(scope="session")
def kafka(kafka_cache: Path, front_line: TcpProxy) -> Iterator[RealKafka]:
    """A real broker for the whole session: use topics and groups of your own, and never kill it (take the fragile one for that)."""
    with RealKafka(cache=kafka_cache, users=KAFKA_USERS, front_port=front_line.port, java_options=SHORT_LIVED) as broker:
        front_line.target_port = broker.line_port
        yield broker


@pytest.fixture
def line(kafka: RealKafka, front_line: TcpProxy) -> Iterator[TcpProxy]:
    """The line between `kafka.line_servers` and the broker, whole at first; the next test finds it so."""
    yield front_line
    front_line.heal()
    front_line.reset()


@pytest.fixture(scope="session")
def mended_kafka(kafka_cache: Path) -> Iterator[RealKafka]:
    """The broker behind `fragile_kafka`."""
    with RealKafka(cache=kafka_cache, java_options=SHORT_LIVED) as broker:
        yield broker


@pytest.fixture
def fragile_kafka(mended_kafka: RealKafka) -> Iterator[RealKafka]:
    """A real broker to kill, pause and start again. The next test finds it running, however this one ends."""
    yield mended_kafka
    mended_kafka.restore()


@pytest.fixture(scope="session")
def store(store_cache: Path) -> Iterator[stores.VersityGateway]:
    """One real store for the whole session; every test uses a table of its own."""
    with stores.VersityGateway(store_cache) as running:
        yield running
