"""The command `landfast` as a process, and pipelines for it to run."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from landfast.testing.kafka_records import Record, create_topic, produce
from landfast.testing.wait import wait_until

SECONDS_MAX = 90.0
COLUMNS = {"id": "int64 not null", "name": "string"}


@dataclass(frozen=True)
class Ended:
    """A process that has ended."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> Any:
        """The report of `run --json`: the one line on standard output."""
        return json.loads(self.out)

    @property
    def errors(self) -> list[Any]:
        """The errors that `--json` wrote to standard error."""
        lines = [json.loads(line) for line in self.err.splitlines()]
        return [line["error"] for line in lines if "error" in line]


class Running:
    """A process of the command line that is still at work."""

    def __init__(self, *arguments: object, environment: Mapping[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "landfast", *(str(argument) for argument in arguments)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdout=pipe, stderr=pipe, stdin=subprocess.DEVNULL, text=True, env={**os.environ, **(environment or {})}
        )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def ended(self, seconds_max: float = SECONDS_MAX) -> Ended:
        """Wait for its end; a process that does not end in time is killed, and fails the test."""
        try:
            out, err = self._process.communicate(timeout=seconds_max)
        except subprocess.TimeoutExpired:
            self._process.kill()
            out, err = self._process.communicate()
            raise AssertionError(f"landfast did not end within {seconds_max} s:\n{out}\n{err}") from None
        return Ended(self._process.returncode, out, err)

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None


def landfast(*arguments: object, environment: Mapping[str, str] | None = None) -> Ended:
    """Run the command to its end."""
    return Running(*arguments, environment=environment).ended()


def pipeline_file(folder: Path, servers: str, topic: str, **sections: Mapping[str, Any]) -> Path:
    """A settings file in `folder` that lands `topic` in the table `lake`; each section is laid over."""
    tree: dict[str, dict[str, Any]] = {
        "source": {"servers": servers, "topics": [topic], "group": f"group-{topic}"},
        "decode": {"columns": COLUMNS},
        "sink": {"path": "lake"},
        **{name: {} for name in sections if name not in {"source", "decode", "sink"}},
    }
    for name, values in sections.items():
        tree[name] = {key: value for key, value in {**tree[name], **values}.items() if value is not None}
    file = folder / "pipeline.toml"
    file.write_text(f'name = "{topic}"\n' + "".join(f"[{name}]\n{_toml(values)}" for name, values in tree.items()), encoding="utf-8")
    return file


def _toml(values: Mapping[str, Any]) -> str:
    return "".join(f"{json.dumps(key)} = {_value(value)}\n" for key, value in values.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value)


def fill(servers: str, topic: str, values: Iterable[bytes | None], partitions: int = 1) -> None:
    """Create a topic and produce these values to its partitions in turn."""
    create_topic(servers, topic, partitions)
    produce(servers, (Record(topic, value, index % partitions) for index, value in enumerate(values)))


def good(count: int, first: int = 0) -> list[bytes]:
    """Records that fit `COLUMNS`."""
    return [json.dumps({"id": index, "name": f"n{index}"}).encode() for index in range(first, first + count)]


def rows(path: Path) -> pa.Table:
    """What a reader of the table sees."""
    return DeltaTable(str(path)).to_pyarrow_table()


def coordinates(path: Path) -> list[tuple[str, int, int]]:
    """Where each row of the table comes from, sorted."""
    table = rows(path)
    return sorted(zip(*(table.column(name).to_pylist() for name in ("_topic", "_partition", "_offset")), strict=True))


def free_port() -> int:
    """A port nobody listens on, below those that the system hands to outgoing connections: one of these could take it meanwhile."""
    for port in random.sample(range(10_000, 20_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    message = "a hundred ports are taken"
    raise AssertionError(message)


def wait_until_served(port: int, seconds_max: float = SECONDS_MAX) -> None:
    """Wait until a process serves metrics on `port`: it has then taken over its signals."""
    wait_until(lambda: _lines(port), seconds_max)


def wait_until_read(port: int, records: int, seconds_max: float = SECONDS_MAX) -> None:
    """Wait until the process that serves metrics on `port` says it has read so many records."""
    wait_until(lambda: _read(port) >= records, seconds_max)


def _read(port: int) -> float:
    return sum(float(line.rsplit(" ", 1)[1]) for line in _lines(port) if line.startswith("landfast_records_read_total{"))


def _lines(port: int) -> list[str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return list(answer.read().decode().splitlines())
    except (urllib.error.URLError, OSError):
        return []
