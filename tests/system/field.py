"""A pipeline in the field: a settings file, workers as real processes, and a load whose every record is known."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from landfast.testing.kafka_records import kept_producer
from landfast.testing.wait import wait_until
from tests.system.forked import Forked, unmeasured

COLUMNS = {"event_id": "string not null", "n": "int64", "device": "string", "ts": "timestamp", "voltage": "float64", "ok": "boolean"}
# No promise: only a bound, so that what hangs ends the test. A machine under load takes its time.
END_SECONDS = 600


def line(topic: str, partition: int, number: int) -> bytes:
    """A good record of the load."""
    return (
        f'{{"event_id":"{topic}-{partition}-{number}","n":{number},"device":"d{number % 97}",'
        f'"ts":"2026-01-02T03:04:05.{number % 1_000_000:06d}Z","voltage":{number % 1000}.5,"ok":true}}'
    ).encode()


def bad_line(number: int) -> bytes:
    """A record that no decoder takes: four kinds in turn."""
    return (b'{"event_id":', b'{"event_id":"x","n":"not a number"}', b'{"n":1}', b'{"event_id":"\xff"}')[number % 4]


def answers(client: Producer, topic: str) -> bool:
    """Whether a broker tells of the topic now: the one that was asked may just have gone."""
    try:
        return topic in client.list_topics(topic, timeout=30).topics
    except KafkaException as error:
        if error.args[0].code() in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT):  # noqa: SLF001 — the client's own names
            return False
        raise


@dataclass(slots=True)
class Load:
    """Produces to explicit partitions with an idempotent producer, and writes the truth as it goes.

    The n-th record of a partition has offset n, which is proved against the broker's end offsets after each call.
    """

    servers: str
    topic: str
    partitions: int
    truth: Path
    bad_every: int = 100
    counts: dict[int, int] = field(default_factory=dict)

    def produce(self, records: int, *, partition: int | None = None) -> None:
        """Produce so many more records, round robin or to one partition, and wait until all are acknowledged."""
        client = kept_producer(self.servers)
        wait_until(lambda: answers(client, self.topic), 120)
        failed: list[str] = []

        def delivered(error: object, _: object) -> None:
            if error is not None:
                failed.append(str(error))

        with self.truth.open("a") as truth:
            for index in range(records):
                lane = index % self.partitions if partition is None else partition
                number = self.counts.get(lane, 0)
                self.counts[lane] = number + 1
                dead = self.bad_every > 0 and number % self.bad_every == self.bad_every - 1
                value = bad_line(number // self.bad_every) if dead else line(self.topic, lane, number)
                while True:
                    try:
                        client.produce(self.topic, value, key=b"%d" % (number % 97), partition=lane, on_delivery=delivered)
                        break
                    except BufferError:
                        client.poll(0.05)
                if index % 1000 == 0:
                    client.poll(0)
                sha = hashlib.sha256(value).hexdigest()
                fate = "dead" if dead else "row"
                truth.write(f'{{"topic":"{self.topic}","partition":{lane},"offset":{number},"sha":"{sha}","fate":"{fate}"}}\n')
            left = client.flush(120)
        assert not failed, failed[:1]
        assert not left, f"{left} records were not acknowledged"
        self._prove()

    def _prove(self) -> None:
        client = Consumer({"bootstrap.servers": self.servers, "group.id": "prove", "log_level": 0})
        try:
            for partition, count in self.counts.items():
                _, end = client.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=30)
                assert end == count, f"{self.topic}[{partition}] ends at {end}, {count} records were produced"
        finally:
            client.close()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A settings file and where it lands."""

    file: Path
    table: Path

    def landfast(self, *words: str, seconds: float = END_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run a command of the product on this file and return what came of it."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = Forked((words[0], str(self.file), *words[1:]), out, err, unmeasured())
            try:
                code = process.wait(seconds)
            finally:
                process.kill()
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(words, code, out.read().decode(), err.read().decode())

    def land(self) -> None:
        """Land everything that is in the log now."""
        done = self.landfast("run", "--until-end")
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]

    def verified(self, *words: str) -> None:
        """`landfast verify` finds nothing."""
        done = self.landfast("verify", *words)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]

    @contextmanager
    def worker(self, *words: str) -> Iterator[Worker]:
        """A worker process that is gone when the block ends, however it ends."""
        worker = Worker(self.file, words)
        try:
            yield worker
        finally:
            worker.kill()


def pipeline(
    folder: Path, servers: str, topic: str, extra: str = "", *, name: str = "field", source: str = "", sink: str = "", file_name: str = ""
) -> Pipeline:
    """Write the settings of a pipeline over one topic."""
    columns = "\n".join(f'{column} = "{kind}"' for column, kind in COLUMNS.items())
    file = folder / f"{file_name or name}.toml"
    file.write_text(
        f'name = "{name}"\n[source]\nkind = "kafka"\nservers = "{servers}"\ntopics = ["{topic}"]\n{source}\n'
        f'[decode]\nformat = "json"\n[decode.columns]\n{columns}\n[sink]\nkind = "delta"\npath = "lake/{topic}"\n{sink}\n{extra}\n'
    )
    return Pipeline(file, folder / "lake" / topic)


class Worker:
    """`landfast run` as a real process, with its output in a file."""

    def __init__(self, file: Path, words: tuple[str, ...] = ()) -> None:
        self._out: IO[bytes] = (file.parent / f"worker-{os.urandom(4).hex()}.log").open("w+b")
        # It mostly ends by SIGKILL and could not write down what it covered; to measure it would only halve the load.
        self.process = Forked(("run", str(file), *words), self._out, self._out, unmeasured())

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return Path(self._out.name).read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, at once."""
        self.signal(signal.SIGKILL)
        self.process.wait(30)
        self._out.close()

    def end(self, seconds: float = END_SECONDS) -> int:
        """Wait for the process and return its exit code."""
        return self.process.wait(seconds)


def rows(table: Path) -> int:
    """How many rows the table has now; 0 while there is none."""
    from deltalake import DeltaTable

    return int(DeltaTable(table).count()) if DeltaTable.is_deltatable(str(table)) else 0


def until(condition: Callable[[], bool], workers: Sequence[Worker] = (), seconds: float = END_SECONDS) -> None:
    """Wait for a condition, and no longer once a worker it depends on has ended by itself."""

    def met() -> bool:
        for worker in workers:
            assert worker.process.poll() is None, worker.output[-3000:]
        return condition()

    try:
        wait_until(met, seconds)
    except TimeoutError as error:
        raise AssertionError("\n".join([str(error), *(worker.output[-3000:] for worker in workers)])) from None
