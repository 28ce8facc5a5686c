"""The processes of a torture as the torturer sees them: what they say, in the order in which it comes, and how they are hurt."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landfast.cli.torture.points import Order

LAST_WORDS_BYTES = 4000


@dataclass(frozen=True, slots=True)
class Said:
    """One thing that a process has said; None is its end."""

    by: Process
    facts: Mapping[str, Any] | None


Saying = queue.SimpleQueue[Said]


class Process:
    """A process of ours that is told and tells by lines of JSON. It starts at once."""

    def __init__(self, module: str, arguments: Sequence[str], log: Path, saying: Saying) -> None:
        command = [sys.executable, "-m", module, *arguments]
        self.log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(  # noqa: S603 — a module of this very package, in this very interpreter
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                # A group of its own: Ctrl-C is for the torturer alone. Where he dies, the system lets those go on that stand still, and
                # they end with their standard input.
                process_group=0,
            )
        self._reader = threading.Thread(target=self._follow, args=(saying,), name="landfast-torture-reader", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def tell(self, body: Mapping[str, Any]) -> None:
        """Say something to it. One that has ended does not hear it."""
        pipe = self._process.stdin
        if pipe is not None:
            with suppress(OSError, ValueError):
                pipe.write(json.dumps(body).encode() + b"\n")
                pipe.flush()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait for its end. Idempotent. What it has said until then is heard."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def ended(self) -> int | None:
        """Its exit code, once it has ended."""
        return self._process.poll()

    def wait(self, seconds_max: float) -> int | None:
        """Its exit code, or None where it has not ended in time."""
        try:
            return self._process.wait(seconds_max)
        except subprocess.TimeoutExpired:
            return None

    @property
    def last_words(self) -> str:
        """The end of its log."""
        with self.log.open("rb") as lines:
            size = lines.seek(0, 2)
            lines.seek(max(0, size - LAST_WORDS_BYTES))
            return lines.read().decode(errors="replace")

    def _follow(self, saying: Saying) -> None:
        pipe = self._process.stdout
        if pipe is not None:
            with suppress(ValueError):
                for line in pipe:
                    if line.endswith(b"\n"):
                        saying.put(Said(self, json.loads(line)))
        saying.put(Said(self, None))


class Worker(Process):
    """A worker: `landfast.cli.torture.worker`. It stands by, with everything loaded, until it is told to begin."""

    def __init__(self, file: Path, log: Path, saying: Saying) -> None:
        super().__init__("landfast.cli.torture.worker", [str(file)], log, saying)

    def begin(self, instance: str, order: Order | None) -> None:
        """Join the group, under a name of its own if one is given."""
        self.tell({"instance": instance, "order": None if order is None else order.as_object()})

    def obey(self, order: Order | None) -> None:
        """From now on wait as this says; None: nowhere, and whoever is held goes on."""
        self.tell({} if order is None else order.as_object())


class Load(Process):
    """The load: `landfast.cli.torture.load`."""

    def __init__(self, order: Mapping[str, Any], log: Path, saying: Saying) -> None:
        super().__init__("landfast.cli.torture.load", [], log, saying)
        self.tell(order)

    def landed(self, positions: Mapping[int, int]) -> None:
        """Say how far each lane has landed."""
        self.tell({"landed": list(positions.items())})

    def stop(self) -> None:
        """Let it finish what it has begun."""
        self.tell({"stop": True})
