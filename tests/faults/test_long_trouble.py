"""Trouble that does not end: a worker with next to no processor, and one with fault after fault, stay what they were."""

from __future__ import annotations

import errno
import gc
import itertools
import signal
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from landfast.core.upkeep import UpkeepLimits
from landfast.events import ConflictMet, Event, RetryScheduled
from landfast.sinks.delta.files.local import Disk
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import admin, create_topic
from landfast.testing.memory import RecordingObserver
from landfast.testing.tcp_proxy import TcpProxy
from landfast.testing.wait import wait_until
from tests.faults.doomed import Worker, worker
from tests.faults.inside import Inside
from tests.faults.lines import road, source, unhurt, unique
from tests.faults.power_world import LIMITS, PowerWorld

SESSION_SECONDS = 1.5
STANDS_SECONDS, WORKS_SECONDS = 0.09, 0.01


@contextmanager
def a_tenth_of_a_processor(one: Worker) -> Iterator[None]:
    """The process stands still for nine tenths of each tenth of a second."""
    over = threading.Event()

    def throttle() -> None:
        while not over.wait(WORKS_SECONDS):
            one.signal(signal.SIGSTOP)
            over.wait(STANDS_SECONDS)
            one.signal(signal.SIGCONT)

    thread = threading.Thread(target=throttle)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def members(servers: str, group: str) -> list[str]:
    """Who belongs to the group, as the broker has it."""
    client = admin(servers)
    return [one.member_id for one in client.describe_consumer_groups([group])[group].result(60).members]


@pytest.mark.system
@pytest.mark.long
def test_f5_a_tenth_of_a_processor_is_slow_and_keeps_its_membership(kafka: RealKafka, tmp_path: Path) -> None:
    """Over several sessions a worker with so little goes on landing: it is the same member as before and has lost no stream."""
    topic = unique("throttled")
    create_topic(kafka.servers, topic, 2)
    made = road(tmp_path, kafka.servers, topic, 2, settings=source(SESSION_SECONDS))
    made.load.produce(200)
    with worker(made.line.file) as one:
        one.until(made.landed)
        before = members(kafka.servers, "landfast-field")
        with a_tenth_of_a_processor(one):
            began = time.monotonic()
            while time.monotonic() < began + 3 * SESSION_SECONDS:
                made.load.produce(200)
                one.until(made.landed)
        assert members(kafka.servers, "landfast-field") == before != []
        one.signal(signal.SIGTERM)
        assert one.ended() == 0
    assert one.output.count("stream_gained") == 2
    assert "stream_lost" in one.output.partition("stop_asked")[2]
    assert "stream_lost" not in one.output.partition("stop_asked")[0]
    made.settle()


@dataclass(frozen=True, slots=True)
class Held:
    """What this process holds of the system."""

    threads: int
    files: int
    memory_bytes: int

    @classmethod
    def now(cls) -> Held:
        """Counted now."""
        gc.collect()
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
        return cls(len(list(Path("/proc/self/task").iterdir())), len(list(Path("/proc/self/fd").iterdir())), resident)

    def held_again(self) -> bool:
        """Whether no more threads and files are held now than then."""
        found = Held.now()
        return found.threads <= self.threads and found.files <= self.files


@pytest.mark.system
@pytest.mark.long
def test_f10_connections_that_break_again_and_again_leave_nothing_behind(kafka: RealKafka, line: TcpProxy, tmp_path: Path) -> None:
    """The run reads on after each of them; in the end it holds as many threads and files as after the first few, and no more memory."""
    topic = unique("troubled")
    create_topic(kafka.servers, topic, 1)
    made = road(tmp_path, kafka.servers, topic, 1, kafka.line_servers)
    with Inside(made.line.file) as run:

        def trouble(times: int) -> None:
            for _ in range(times):
                line.reset()
                made.load.produce(20)
                run.until(made.landed)

        trouble(4)
        before = Held.now()
        trouble(12)
        wait_until(before.held_again, 60)
        assert Held.now().memory_bytes < before.memory_bytes + 24 * 2**20
        assert unhurt(run)
    made.settle()


@dataclass
class FailingDisk(Disk):
    """A disk that fails at each third entry of the log, in turn before it was made and after, and looks at what the process holds."""

    marks: tuple[int, ...]
    faults: int = 0
    seen: list[tuple[Held, int, int]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def link(self, path: Path, name: Path) -> None:
        """See `Disk`."""
        fails = next(self._numbers) % 3 == 2
        if not fails or self.faults % 2:
            super().link(path, name)
        if fails:
            self.faults += 1
            if self.faults in self.marks:
                self.seen.append((Held.now(), threading.active_count(), own_bytes()))
            raise OSError(errno.EIO, "the disk failed, says the test")


class Counting(RecordingObserver):
    """An observer that keeps no event, only how many of a kind there were."""

    def __init__(self) -> None:
        super().__init__()
        self.retries = 0

    def notice(self, event: Event) -> None:
        """Count it."""
        self.retries += isinstance(event, RetryScheduled | ConflictMet)


def own_bytes() -> int:
    """What Python holds now that the engine, the decoder and the sink have made."""
    ours = [tracemalloc.Filter(inclusive=True, filename_pattern=f"*/landfast/{part}/*") for part in ("core", "decode", "sinks")]
    return sum(found.size for found in tracemalloc.take_snapshot().filter_traces(ours).statistics("filename"))


@pytest.mark.long
@pytest.mark.usefixtures("unmeasured")
def test_f10_a_disk_that_fails_again_and_again_leaves_memory_files_and_threads_level(tmp_path: Path) -> None:
    """A fault at every second commit, for as long as the log lasts: what is held after the last is what was held after the first twenty."""
    first, last = 20, 80
    world, disk = PowerWorld(records=250, observer=Counting()), FailingDisk((first, last))
    seldom = replace(LIMITS, upkeep=UpkeepLimits(landings_between=50, seconds_max=60.0))
    tracemalloc.start()
    try:
        report = world.run(tmp_path, disk, seldom)
    finally:
        tracemalloc.stop()
    assert disk.faults >= last
    (early, early_threads, early_bytes), (late, late_threads, late_bytes) = disk.seen
    # Of ours, that is: the libraries keep pools, whose threads go when there was nothing to do for ten seconds.
    assert late_threads <= early_threads
    assert late.files <= early.files
    # A single record that stays behind with each fault would be more.
    assert late_bytes - early_bytes < 640 * (last - first)
    assert late.memory_bytes - early.memory_bytes < 32 * 2**20
    assert world.wrong(tmp_path, report) == []
