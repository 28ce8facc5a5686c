"""A process with little memory, without threads, on a disk that stands still, or whose words nobody takes: each record lands once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from landfast import Pipeline
from landfast.core.report import Outcome, RunReport
from landfast.decode.json import JsonDecoder
from landfast.events import BatchLanded
from landfast.model import Run
from landfast.sinks.delta import DeltaDeadLetters, DeltaSettings, DeltaSink, open_table
from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.proof.verify import verify_table
from landfast.system import SystemClock
from landfast.testing.memory import MemorySource, RecordingObserver
from landfast.testing.wait import wait_until
from tests.faults.power_world import COLUMNS, TABLE, PowerWorld
from tests.system.forked import unmeasured

MIB = 1024 * 1024


def alone(how: str, folder: Path) -> dict[str, Any]:
    """What `small_process` reports."""
    command = [sys.executable, "-m", "tests.faults.small_process", how, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=unmeasured())
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.long
def test_f4_a_load_of_twenty_times_the_memory_lands_in_bounded_memory(tmp_path: Path) -> None:
    """The engine may hold 16 MiB and 300 MiB are to be read: reading waits, and the process grows by far less than it read."""
    found = alone("memory", tmp_path)
    assert found["outcome"] == Outcome.FINISHED
    assert found["read"] > 300 * MIB
    assert found["grown"] < 192 * MIB
    verdict = verify_table(str(tmp_path / "table"))
    assert verdict.proved
    assert verdict.rows == found["written"]


def test_f6_a_process_that_may_start_no_thread_says_so_and_reads_nothing(tmp_path: Path) -> None:
    """The start ends with the cause and the way out; with the limit gone the same process lands everything."""
    found = alone("threads", tmp_path)
    assert (found["code"], found["outcome"], found["written"]) == ("THREAD_LIMIT", Outcome.FINISHED, 1)
    assert "ulimit -u" in found["next"]
    assert verify_table(str(tmp_path / "table")).proved


class StallingDisk(Disk):
    """A disk that stands still at its first data file, until it is let go."""

    def __init__(self) -> None:
        self.stalled = threading.Event()
        self.let_go = threading.Event()

    def sync_file(self, path: Path) -> None:
        """See `Disk`."""
        if path.suffix == ".parquet":
            self.stalled.set()
            assert self.let_go.wait(120)
        super().sync_file(path)


def test_f8_a_disk_that_stands_still_keeps_nobody_from_polling(tmp_path: Path) -> None:
    """While a sync hangs the source is polled on, so the membership is kept and nothing is said to have landed; then all of it lands."""
    world, disk, clock, observer = PowerWorld(), StallingDisk(), SystemClock(), RecordingObserver()
    settings = DeltaSettings(str(tmp_path / TABLE))
    home = open_table(settings, Run("run", "power", "", clock.now()), COLUMNS, clock, observer, disk=disk)
    source = MemorySource(world.group, "one", clock)
    parts = {"decoder": JsonDecoder(COLUMNS), "sink": DeltaSink(home), "dead_letters": DeltaDeadLetters(home)}
    pipeline = Pipeline(source=source, **parts, batch={"seconds": 0.1})
    reports: list[RunReport] = []
    running = threading.Thread(target=lambda: reports.append(pipeline.run(until_end=True, observer=observer)), daemon=True)
    running.start()
    assert disk.stalled.wait(60)
    polls = source.polls
    wait_until(lambda: source.polls > polls + 20, 60)
    assert observer.of(BatchLanded) == ()
    assert world.told() == {}
    disk.let_go.set()
    running.join(60)
    assert world.wrong(tmp_path, reports[0]) == []
