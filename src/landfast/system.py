"""What the engine takes from the machine: time, chance, threads and signals."""

from __future__ import annotations

import os
import random
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

from landfast.threads import Threads


class SystemClock:
    """The `ports.Clock` of the machine."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(max(0.0, seconds))


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def jitter() -> Callable[[], float]:
    """Numbers in [0, 1) that differ between workers."""
    return random.SystemRandom().random


def committers() -> Callable[[], Threads]:
    """Makes executors of one thread each: commits of one sink are in order, sinks do not wait for each other."""
    return partial(Threads, "landfast-commit")


def leave_no_core() -> None:
    """Let a crash of this process write no memory to disk: secrets and records are in it.

    Who looks for the cause of a crash may raise the limit of a running process again, as `prlimit` does.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


FORCED_EXIT = 130
"""The exit code after a second signal."""

_FORCED_CODE = "SHUTDOWN_FORCED"
_FORCED_LINE = f"\n{_FORCED_CODE}: stopped at once. Nothing is lost: what has not landed is read again at the next start.\n".encode()


@contextmanager
def stop_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at the first SIGINT or SIGTERM; at the second, end the process at once with exit code 130.

    The signals are heard by a thread of their own, so they work while the main thread waits for a store that does not answer. `stop`
    must only set a flag. Use it in the main thread; on leaving, signals mean again what they meant before.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    listener = threading.Thread(target=_listen, args=(reader, stop), name="landfast-signals", daemon=True)
    listener.start()
    former_writer = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    former = {number: signal.signal(number, _heard) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(former_writer)
        os.close(writer)
        listener.join()
        os.close(reader)


def _heard(number: int, frame: FrameType | None) -> None:
    """Python wants a handler so that the signal does not end the process; the listener does the work."""


def _listen(reader: int, stop: Callable[[], None]) -> None:
    asked = False
    while numbers := os.read(reader, 64):
        for number in numbers:
            if number not in (signal.SIGINT, signal.SIGTERM):
                continue
            if asked:
                os.write(2, _FORCED_LINE)
                os._exit(FORCED_EXIT)
            asked = True
            stop()
