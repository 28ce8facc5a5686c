"""Workers as real processes that meet their end, or stand still, at a moment that the test chose."""

from __future__ import annotations

import contextlib
import functools
import importlib
import itertools
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landfast.testing.wait import wait_until
from tests.system.forked import Forked, unmeasured

SECONDS_MAX = 180.0


@dataclass(frozen=True, slots=True)
class Doom:
    """What happens at the `number`-th call of a function, `module:Class.method`, before or after its effect.

    `act` is a signal that the process sends itself, or the class of an exception that the call raises instead. Only calls from inside of
    `within`, a function as well, count.
    """

    place: str
    act: signal.Signals | type[BaseException] = signal.SIGKILL
    when: str = "before"
    number: int = 1
    within: str = ""


class Worker:
    """`landfast run` in a process of its own, with its output in a file."""

    def __init__(self, file: Path, *words: str, doom: Doom | None = None, zone: str = "") -> None:
        self._out = file.parent / f"doomed-{os.urandom(4).hex()}.log"
        self._written = self._out.open("wb")
        first = functools.partial(_prepare, doom, zone)
        self.process = Forked(("run", str(file), *words), self._written, self._written, unmeasured(), first)

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._out.read_text(errors="replace") if self._out.exists() else ""

    @property
    def standing_still(self) -> bool:
        """Whether it was stopped by a signal."""
        status = Path(f"/proc/{self.process.pid}/stat").read_text()
        return status.rpartition(")")[2].split()[0] == "T"

    @property
    def processor_seconds(self) -> float:
        """The processor time that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def close(self) -> None:
        """SIGKILL, where it is not gone yet."""
        self.process.kill()
        self.process.wait(SECONDS_MAX)
        self._written.close()

    def ended(self) -> int:
        """Wait for the end: the exit code, or the negative number of the signal."""
        try:
            return self.process.wait(SECONDS_MAX)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.output[-3000:]) from None

    def until(self, holds: Callable[[], object]) -> None:
        """Wait for something, and no longer once the process has ended."""

        def met() -> bool:
            held = bool(holds())
            assert held or self.process.poll() is None, (self.process.returncode, self.output[-3000:])
            return held

        try:
            wait_until(met, SECONDS_MAX)
        except TimeoutError:
            raise AssertionError(self.output[-3000:]) from None


@contextlib.contextmanager
def worker(file: Path, *words: str, doom: Doom | None = None, zone: str = "") -> Iterator[Worker]:
    """A worker that is gone when the block ends, however it ends."""
    one = Worker(file, *words, doom=doom, zone=zone)
    try:
        yield one
    finally:
        one.close()


def die(file: Path, doom: Doom) -> Worker:
    """Run a worker to its end, which must be the doom."""
    with worker(file, doom=doom) as one:
        assert isinstance(doom.act, signal.Signals)
        assert one.ended() == -doom.act, one.output[-3000:]
    return one


def _prepare(doom: Doom | None, zone: str) -> None:
    """The worker's own side."""
    if zone:
        os.environ["TZ"] = zone
        time.tzset()
    if doom is not None:
        arm(doom)


def arm(doom: Doom) -> None:
    """Put the doom in front of the function, or behind it."""
    inside = threading.local()
    lock, calls = threading.Lock(), itertools.count(1)

    def counted(real: Callable[..., Any], *given: Any, **named: Any) -> Any:
        due = False
        if not doom.within or getattr(inside, "depth", 0):
            with lock:
                due = next(calls) == doom.number
        if due and doom.when == "before":
            _meet(doom)
        answer = real(*given, **named)
        if due and doom.when == "after":
            _meet(doom)
        return answer

    def marked(real: Callable[..., Any], *given: Any, **named: Any) -> Any:
        inside.depth = getattr(inside, "depth", 0) + 1
        try:
            return real(*given, **named)
        finally:
            inside.depth -= 1

    if doom.within:
        _put_around(doom.within, marked)
    _put_around(doom.place, counted)


def _put_around(place: str, around: Callable[..., Any]) -> None:
    module_name, _, path = place.partition(":")
    *owners, name = path.split(".")
    owner: Any = functools.reduce(getattr, owners, importlib.import_module(module_name))
    real = getattr(owner, name)

    @functools.wraps(real)
    def instead(*given: Any, **named: Any) -> Any:
        return around(real, *given, **named)

    setattr(owner, name, instead)


def _meet(doom: Doom) -> None:
    if isinstance(doom.act, signal.Signals):
        os.kill(os.getpid(), doom.act)
    else:
        raise doom.act
