"""A worker of the demo: `landfast run` as a process of its own, whose log is followed line by line."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from landfast.errors import Broken

_LINES_KEPT = 50


class Worker:
    """Starts at once; leaving the `with` block ends it, however it stands."""

    def __init__(self, file: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "landfast", "run", str(file), "--json", *arguments]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, cwd=file.parent)
        self._changed = threading.Condition()
        self._landed = 0
        self._over = False
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._follow, name="landfast-demo-worker", daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def wait_until_landed(self, records: int, seconds_max: float) -> None:
        """Return when its log says that so many records have landed.

        Raises:
            Broken: it ended before, or took too long.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._landed >= records or self._over, seconds_max)
            if self._landed < records:
                raise self._failed(f"it had landed {self._landed:,} of {records:,} records after at most {seconds_max:g} s")

    def kill(self) -> None:
        """SIGKILL: it gets no chance to do anything. Idempotent."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def report(self, seconds_max: float) -> Any:
        """Wait for its end, and return its report.

        Raises:
            Broken: it did not end in time, or not well.
        """
        try:
            code = self._process.wait(seconds_max)
        except subprocess.TimeoutExpired as error:
            raise self._failed(f"it did not end within {seconds_max:g} s") from error
        if code != 0 or self._process.stdout is None:
            raise self._failed(f"it ended with {code}")
        return json.loads(self._process.stdout.read())

    def _follow(self) -> None:
        if self._process.stderr is None:
            return
        for line in self._process.stderr:
            landed = _landed(line)
            with self._changed:
                self._landed += landed
                self._lines = [*self._lines[-_LINES_KEPT:], line]
                self._changed.notify_all()
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _failed(self, how: str) -> Broken:
        with self._changed:
            said = "".join(self._lines[-5:])
        return Broken("DEMO_FAILED", f"the worker {self.pid} failed: {how}. Its last words:\n{said}")


def _landed(line: str) -> int:
    """How many records a log line says to have landed."""
    if '"batch_landed"' not in line:
        return 0
    return int(json.loads(line)["read"])
