"""Landfast as its users run it: a settings file and `landfast run`, with the table and the log of the run to judge it by."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks import measure
from benchmarks.workload import COLUMNS

COMMAND = str(Path(sys.executable).parent / "landfast")
POLL_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Commit:
    """One landed commit, as the run's own log tells it."""

    version: int
    rows: int
    files: int
    seconds: float


Keys = dict[str, object]


def write_settings(
    folder: Path, servers: str, topic: str, batch: Keys | None = None, engine: Keys | None = None, source: Keys | None = None
) -> Path:
    """A settings file with its table beside it."""
    sections: dict[str, Keys] = {
        "source": {"kind": "kafka", "servers": servers, "topics": [topic], "group": f"landfast-{folder.name}", **(source or {})},
        "decode": {"format": "json"},
        "decode.columns": dict(COLUMNS),
        "sink": {"kind": "delta", "path": "table"},
        "batch": batch or {},
        "engine": engine or {},
    }
    lines = [f'name = "{folder.name}"']
    for section, keys in sections.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    folder.mkdir(parents=True)
    path = folder / "pipeline.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def land(settings: Path) -> tuple[measure.Cost, list[Commit]]:
    """Run until the end of the topic, as a process of its own."""
    log = settings.parent / "run.log"
    cost = measure.run([COMMAND, "run", str(settings), "--until-end", "--json"], log)
    return cost, commits(cost.output + log.read_text(errors="replace"))


def commits(log: str) -> list[Commit]:
    """The commits in a run's JSON log, in order."""
    return [
        Commit(version=line["version"], rows=line["written"], files=line["files"], seconds=line["seconds"])
        for line in _json_lines(log)
        if "version" in line and "sequence" in line
    ]


def _json_lines(log: str) -> Iterator[dict[str, Any]]:
    for text in log.splitlines():
        if text.startswith("{"):
            yield json.loads(text)


@contextmanager
def running(settings: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run without an end, stopped as an operator stops it."""
    with (settings.parent / "run.log").open("wb") as log:
        process = subprocess.Popen([COMMAND, "run", str(settings), "--json"], stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


class Readable:
    """Watches a table from outside and notes when each version became readable, in seconds since the epoch."""

    def __init__(self, table: Path) -> None:
        self._table = table
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.seen: dict[int, float] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    def wait_for_rows(self, rows: int, seconds_max: float) -> None:
        """Return when this many rows are readable.

        Raises:
            TimeoutError: they were not, in time.
        """
        start = time.monotonic()
        while sum(count for version in list(self.seen) for _, count in _files(self._table, version)) < rows:
            if time.monotonic() - start > seconds_max:
                message = f"no {rows} rows became readable in {seconds_max} seconds"
                raise TimeoutError(message)
            time.sleep(POLL_SECONDS)

    def _watch(self) -> None:
        version = 0
        while not self._done.wait(POLL_SECONDS):
            while _entry(self._table, version).exists():
                self.seen[version] = time.time()
                version += 1


def wait_for_version(table: Path, version: int, seconds_max: float) -> bool:
    """Return when the table has this version, or the time is over; whether it has."""
    wanted = _entry(table, version)
    start = time.monotonic()
    while not wanted.exists() and time.monotonic() - start < seconds_max:
        time.sleep(POLL_SECONDS)
    return wanted.exists()


def latencies(table: Path, seen: dict[int, float], steady_from: float) -> list[float]:
    """For every row the seconds from its record's own time until its version was readable; records made earlier are left out."""
    import pyarrow.parquet as pq  # noqa: PLC0415 — only this part needs it, and the process that measures stays small

    found: list[float] = []
    for version, readable in sorted(seen.items()):
        for path, _ in _files(table, version):
            made = (stamp.timestamp() for stamp in pq.read_table(table / path, columns=["_timestamp"]).column(0).to_pylist() if stamp)
            found += [readable - moment for moment in made if moment >= steady_from]
    return found


def _entry(table: Path, version: int) -> Path:
    return table / "_delta_log" / f"{version:020d}.json"


def _files(table: Path, version: int) -> Iterator[tuple[str, int]]:
    """Path and rows of each file that a version adds."""
    for line in _entry(table, version).read_text().splitlines():
        action = json.loads(line)
        if "add" in action:
            yield action["add"]["path"], json.loads(action["add"]["stats"])["numRecords"]
