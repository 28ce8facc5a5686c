"""The main job on real parts: a real Kafka, real worker processes, a real Delta table, ending with the accountant."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import create_topic
from tests.system import accountant
from tests.system.field import Load, Pipeline, Worker, pipeline, rows, until

pytestmark = pytest.mark.system

RECORDS = 3_000_000
BATCH = "[batch]\nrows = 20000\nseconds = 0.5\n"


def loaded(kafka: RealKafka, folder: Path, topic: str, partitions: int, extra: str = BATCH, **more: str) -> tuple[Load, Pipeline]:
    """A fresh topic, the load for it, and a pipeline over it."""
    create_topic(kafka.servers, topic, partitions)
    return Load(kafka.servers, topic, partitions, folder / "truth.jsonl"), pipeline(folder, kafka.servers, topic, extra, **more)


@pytest.mark.long
def test_millions_of_records_land_once(kafka: RealKafka, tmp_path: Path) -> None:
    """Three million records in six partitions, one in a hundred bad: every one in exactly one place, and `verify` proves it."""
    load, line = loaded(kafka, tmp_path, "millions", 6, extra="")
    load.produce(RECORDS)
    line.land()
    found = accountant.settle(load.truth, line.table)
    assert (found.records, found.dead) == (RECORDS, RECORDS // 100)
    line.verified()
    line.verified("--source")


@pytest.mark.long
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_killed_at_any_moment(kafka: RealKafka, tmp_path: Path, protocol: str) -> None:
    """Two workers of one group are killed again and again under load; nothing is lost and nothing is doubled."""
    group_settings(kafka, f"landfast-killed-{protocol}")
    load, line = loaded(
        kafka, tmp_path, f"killed-{protocol}", 6, name=f"killed-{protocol}", source=f'protocol = "{protocol}"\n{FAST[protocol]}'
    )
    kills = int(os.environ.get("LANDFAST_KILLS", "30"))
    chance = random.Random(protocol)
    with producing(load, 4000):
        workers = [Worker(line.file), Worker(line.file)]
        try:
            for _ in range(kills):
                before = rows(line.table)
                # From the fork of a worker on: before it has joined, before it has landed anything, and in the middle of it.
                pause(chance.uniform(0.2, 2))
                victim = chance.randrange(2)
                workers[victim].kill()
                workers[victim] = Worker(line.file)
                if chance.random() < 0.3:
                    until(lambda before=before: rows(line.table) > before, workers)
        finally:
            for worker in workers:
                worker.kill()
    line.land()
    accountant.settle(load.truth, line.table)
    line.verified("--source")


@pytest.mark.long
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_r1_p13_rebalances_and_zombies_under_load(kafka: RealKafka, tmp_path: Path, protocol: str) -> None:
    """Workers join, leave, and are stopped beyond their session and continued; the zombie's commits are refused."""
    group_settings(kafka, f"landfast-moved-{protocol}")
    load, line = loaded(
        kafka, tmp_path, f"moved-{protocol}", 6, name=f"moved-{protocol}", source=f'protocol = "{protocol}"\n{FAST[protocol]}'
    )
    chance = random.Random(protocol)
    with producing(load, 4000), line.worker() as steady:
        until(lambda: rows(line.table) > 0, [steady])
        for _ in range(2):
            with line.worker() as guest:
                until(lambda guest=guest: "stream_gained" in guest.output, [steady, guest])
                pause(chance.uniform(0, 2))
                guest.signal(signal.SIGSTOP)
                before = rows(line.table)
                pause(SESSION_SECONDS + 1)
                guest.signal(signal.SIGCONT)
                until(lambda before=before: rows(line.table) > before, [steady, guest])
                guest.signal(signal.SIGTERM)
                assert guest.end() in {0, 3}, guest.output[-3000:]
                assert "stream_lost" in guest.output, guest.output[-3000:]
        steady.signal(signal.SIGTERM)
        assert steady.end() == 0, steady.output[-3000:]
    line.land()
    accountant.settle(load.truth, line.table)
    line.verified("--source")


@pytest.mark.museum(15)
def test_b2_a_broker_that_dies_and_returns(fragile_kafka: RealKafka, tmp_path: Path) -> None:
    """The broker is killed under load and started again; the worker says so, and goes on by itself."""
    load, line = loaded(fragile_kafka, tmp_path, "broken", 3)
    load.produce(60_000)
    with line.worker() as worker:
        until(lambda: rows(line.table) > 0, [worker])
        for _ in range(2):
            fragile_kafka.kill()
            until(lambda: "BROKER_UNREACHABLE" in worker.output, [worker])
            pause(3)
            fragile_kafka.start()
            before = rows(line.table)
            load.produce(60_000)
            until(lambda before=before: rows(line.table) > before, [worker])
        worker.signal(signal.SIGTERM)
        assert worker.end() == 0, worker.output[-3000:]
    line.land()
    accountant.settle(load.truth, line.table)


def test_sigterm_lands_what_was_read(kafka: RealKafka, tmp_path: Path) -> None:
    """Fifty events and a SIGTERM: fifty landed, exit 0, none read again at the next start."""
    load, line = loaded(kafka, tmp_path, "fifty", 1, extra="[batch]\nrows = 100\nseconds = 3600.0\n")
    load.bad_every = 0
    load.produce(50)
    with line.worker("--json") as worker:
        until(lambda: '"records":50' in worker.output.replace(" ", "") or '"read":50' in worker.output.replace(" ", ""), [worker])
        worker.signal(signal.SIGTERM)
        assert worker.end() == 0, worker.output[-3000:]
    assert rows(line.table) == 50
    again = line.landfast("run", "--until-end", "--json")
    assert again.returncode == 0
    assert rows(line.table) == 50
    accountant.settle(load.truth, line.table)


def test_r11_two_pipelines_over_one_table(kafka: RealKafka, tmp_path: Path) -> None:
    """Another pipeline that names the same table by mistake is refused before it reads, with the name of the first."""
    load, line = loaded(kafka, tmp_path, "shared", 2)
    load.produce(10_000)
    line.land()
    other = pipeline(tmp_path, kafka.servers, "shared", BATCH, name="intruder")
    refused = other.landfast("run", "--until-end")
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "FOREIGN_PIPELINE" in refused.stderr
    assert "field" in refused.stderr
    accountant.settle(load.truth, line.table)


def test_r11_u2_u5_a_second_copy_of_a_pipeline_in_another_group(kafka: RealKafka, tmp_path: Path) -> None:
    """The same pipeline started twice with different groups reads everything twice and lands it once."""
    load, line = loaded(kafka, tmp_path, "copied", 2)
    copy = pipeline(tmp_path, kafka.servers, "copied", BATCH, source='group = "another"', file_name="copy")
    load.produce(50_000)
    with line.worker("--until-end") as one, copy.worker("--until-end") as two:
        assert {one.end(), two.end()} <= {0, 3}, one.output[-2000:] + two.output[-2000:]
    line.land()
    accountant.settle(load.truth, line.table)


# So that a worker that was killed or stopped is known to be gone soon.
SESSION_SECONDS = 2
FAST = {
    "classic": f'poll_interval_seconds_max = 10.0\nsession_seconds = {SESSION_SECONDS}.0\noptions = {{ "heartbeat.interval.ms" = "400" }}',
    "consumer": "poll_interval_seconds_max = 10.0",
}


def group_settings(kafka: RealKafka, group: str) -> None:
    """With KIP-848 the session is the group's own setting."""
    from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

    from landfast.testing.kafka_records import admin

    client = admin(kafka.servers)
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in (("consumer.session.timeout.ms", f"{SESSION_SECONDS}000"), ("consumer.heartbeat.interval.ms", "400"))
    ]
    for done in client.incremental_alter_configs([ConfigResource(ResourceType.GROUP, group, incremental_configs=entries)]).values():
        done.result(30)


class producing:  # noqa: N801 - reads as the statement it is used in
    """Produces so many records a second on a thread of its own until the block ends."""

    def __init__(self, load: Load, records_per_second: int) -> None:
        self._load = load
        self._rate = records_per_second
        self._done = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            while not self._done.is_set():
                began = time.monotonic()
                self._load.produce(self._rate)
                self._done.wait(max(0.0, 1 - (time.monotonic() - began)))
        except BaseException as failure:  # noqa: BLE001 - carried to the main thread
            self._failure = failure


def pause(seconds: float) -> None:
    """Let the fault last: the passing of real time is the fault here, not a way to wait for something."""
    threading.Event().wait(seconds)
