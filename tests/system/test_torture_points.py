"""The fault points of a torture are where they say: a worker at work passes every one of them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from landfast import wiring
from landfast.cli.torture import worker
from landfast.cli.torture.ground import Ground, Wanted, ground
from landfast.cli.torture.points import POINTS, Herald
from landfast.cli.torture.posts import leave_debris
from landfast.cli.torture.records import value_of
from landfast.core.report import Outcome, RunReport
from landfast.core.runner import Runner
from landfast.sinks.delta.landing.sink import DeltaSink
from landfast.sinks.delta.table.startup import open_table
from landfast.system import SystemClock
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import Record, produce
from landfast.testing.wait import wait_until

pytestmark = pytest.mark.system

SECONDS_MAX = 300.0


class Diary(Herald):
    """Writes down which points are passed, and waits nowhere."""

    def __init__(self) -> None:
        super().__init__(-1)
        self.passed: set[str] = set()

    def tell(self, **facts: object) -> None:
        """Nobody listens."""

    def at(self, point: str) -> None:
        """Write the point down."""
        assert point in POINTS, point
        self.passed.add(point)


@contextmanager
def _working(place: Ground, diary: Diary) -> Iterator[Runner]:
    """A worker at work, as a thread of this process; it ends well when the block does."""
    site = wiring.Site(SystemClock(), wiring.Silence())
    runner = worker.assembled(place.settings, site, diary)
    reports: list[RunReport] = []
    thread = threading.Thread(target=lambda: reports.append(runner.run()))
    thread.start()
    try:
        yield runner
    finally:
        runner.stop()
        thread.join(SECONDS_MAX)
    assert [report.outcome for report in reports] == [Outcome.STOPPED]


def _take_over(place: Ground) -> None:
    """Take the streams over as somebody who never lands anything, so that the workers' next commits are refused."""
    site = wiring.Site(SystemClock(), wiring.Silence())
    run = wiring.new_run(place.settings.name, "", site.clock)
    home = open_table(wiring.delta_settings(place.settings.routes[0]), run, None, site.clock, site.observer)
    streams = wiring.kafka_source(place.settings, site).bounds()
    DeltaSink(home).take_over(list(streams))


@pytest.mark.long
def test_a_worker_at_work_passes_every_point(kafka: RealKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every point that a report can name is announced by the parts of a worker, and no other is."""
    for name in ("CLEAN_UP_SECONDS", "SWEEP_SECONDS", "SEEN_SECONDS"):
        monkeypatch.setattr(worker, name, 0.1)
    wanted = Wanted("landfast-torture-points", kafka.servers, str(tmp_path), {"session.timeout.ms": "2000"})
    with ground(wanted, print) as place:
        diary, numbers = Diary(), itertools.count(1)

        def load() -> None:
            """A few records for every lane, some of them bad."""
            servers = place.settings.source.servers
            lanes = itertools.product(range(25), place.lanes)
            produce(servers, [Record(lane.topic, value_of(next(numbers), 1), lane.partition) for _, lane in lanes])
            leave_debris(place.table, SystemClock())

        def passed(points: set[str]) -> bool:
            load()
            return points <= diary.passed

        load()
        alone = set(POINTS) - {"stream.revoked", "stream.let_go", "source.rewound"}
        with _working(place, diary):
            wait_until(lambda: passed(alone), SECONDS_MAX)
            with _working(place, diary):
                wait_until(lambda: passed({"stream.revoked", "stream.let_go"}), SECONDS_MAX)
                _take_over(place)
                wait_until(lambda: passed({"source.rewound"}), SECONDS_MAX)
        assert diary.passed == set(POINTS)
