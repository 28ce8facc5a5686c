"""Writers for tests: rows that tell whose they are, a disk that fails at a chosen moment, and processes that write at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from landfast.delta_api import DeltaWriteOptions, DeltaWriteResult, DeltaWriteRetryPolicy, IdempotentWriteOptions, write_idempotent
from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.writing.write import target_of, write
from landfast.system import SystemClock
from landfast.testing.memory import RecordingObserver

PATIENT = DeltaWriteRetryPolicy(attempts_max=500, wait_seconds_max=0.05)


def rows(app_id: str, version: int, count: int = 3) -> pa.Table:
    """Rows that tell which write they belong to."""
    return pa.table({"app": [app_id] * count, "version": [version] * count, "row": list(range(count))})


def landed(path: Path | str) -> Counter[tuple[str, int]]:
    """How often the first row of each write is in the table, once it is seen that all of its rows are there as often."""
    table = DeltaTable(str(path)).to_pyarrow_table().select(["app", "version", "row"]).to_pylist()
    each = Counter((row["app"], row["version"], row["row"]) for row in table)
    found: Counter[tuple[str, int]] = Counter()
    for (app, version, _row), times in each.items():
        found[app, version] = max(times, found[app, version])
        assert times == found[app, version], f"rows of {app} {version} are there {times} and {found[app, version]} times"
    return found


class Crash(BaseException):
    """The process ends here."""


class MortalDisk(Disk):
    """A disk on which the act with a number meets an error, before its effect or after it."""

    def __init__(self, number: int, after: bool, error: Callable[[], BaseException]) -> None:
        self._number = number
        self._after = after
        self._error = error
        self.acts = 0

    def _act(self, act: Callable[[], Any]) -> None:
        self.acts += 1
        mine = self.acts == self._number
        if mine and not self._after:
            raise self._error()
        act()
        if mine:
            raise self._error()

    def sync_file(self, path: Path) -> None:
        """See `Disk`."""
        self._act(lambda: super(MortalDisk, self).sync_file(path))

    def sync_folder(self, path: Path) -> None:
        """See `Disk`."""
        self._act(lambda: super(MortalDisk, self).sync_folder(path))

    def link(self, path: Path, name: Path) -> None:
        """See `Disk`."""
        self._act(lambda: super(MortalDisk, self).link(path, name))


def write_on(disk: Disk, path: Path, identity: IdempotentWriteOptions, options: DeltaWriteOptions | None = None) -> DeltaWriteResult:
    """A write on this disk."""
    options = options or DeltaWriteOptions()
    target = target_of(str(path), {}, options, SystemClock(), RecordingObserver(), disk)
    return write(target, rows(identity.app_id, identity.version), identity, options, PATIENT)


def write_all(path: str, app_ids: list[str], versions: int, said: Any) -> None:
    """A process that writes every version of every writer, and says what it was told."""
    for version in range(versions):
        for app_id in app_ids:
            done = write_idempotent(path, rows(app_id, version), app_id=app_id, version=version, retry=PATIENT)
            said.put((app_id, version, done.outcome))


def write_for_ever(path: str, app_id: str, first: int) -> None:
    """A process that writes one version after the other, from `first`, until it is killed."""
    while True:
        write_idempotent(path, rows(app_id, first), app_id=app_id, version=first, retry=PATIENT)
        first += 1
