"""The command `landfast` as a process, and pipelines for it to run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import pyarrow as pa
from deltalake import DeltaTable

from landfast.testing.kafka_records import Record, create_topic, produce
from landfast.testing.wait import wait_until
from tests.system.forked import Forked

SECONDS_MAX = 240.0
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
    """A process of the command line that is at work, and gone when the block ends."""

    def __init__(self, *arguments: object, environment: Mapping[str, str] | None = None) -> None:
        words = tuple(str(argument) for argument in arguments)
        # Files, since a pipe that nobody reads fills and holds the process up.
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 — closed when the block ends
        self._process = Forked(words, self._out, self._err, {**os.environ, **(environment or {})})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(SECONDS_MAX)
        self._out.close()
        self._err.close()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def ended(self, seconds_max: float = SECONDS_MAX) -> Ended:
        """Wait for its end; a process that does not end in time fails the test."""
        try:
            code = self._process.wait(seconds_max)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"landfast did not end within {seconds_max} s:\n{self._said}") from None
        return Ended(code, _text(self._out), _text(self._err))

    def wait_until_read(self, port: int, records: int) -> None:
        """Wait until it says, by the metrics that it serves on `port`, that it has read so many records."""

        def read() -> bool:
            assert self._process.poll() is None, f"landfast ended with {self._process.returncode}:\n{self._said}"
            return _read(port) >= records

        wait_until(read, SECONDS_MAX)

    @property
    def _said(self) -> str:
        return f"{_text(self._out)}\n{_text(self._err)}"


def _text(file: IO[bytes]) -> str:
    # Another process writes behind the same offset, so it must not be moved.
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode()


def landfast(*arguments: object, environment: Mapping[str, str] | None = None) -> Ended:
    """Run the command to its end."""
    with Running(*arguments, environment=environment) as running:
        return running.ended()


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


def _read(port: int) -> float:
    return sum(float(line.rsplit(" ", 1)[1]) for line in _lines(port) if line.startswith("landfast_records_read_total{"))


def _lines(port: int) -> list[str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return list(answer.read().decode().splitlines())
    except (urllib.error.URLError, OSError):
        return []
