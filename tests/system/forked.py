"""`landfast` as processes that are forked from a server which has imported everything once: a start costs a tenth of an interpreter's.

Each has the environment, the folder and the files that it is given, as if it had been started from a shell.
"""

from __future__ import annotations

import faulthandler
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import IO, Any

LOADED = [
    "landfast.cli.app",
    "landfast.pipeline",
    "landfast.service",
    "landfast.sinks.service.sink",
    "landfast.sources.kafka_letters",
    "landfast.wiring.service",
    "landfast.wiring.build",
    "landfast.wiring.look",
    "landfast.wiring.parts",
    "landfast.config",
    "landfast.decode.json",
    "landfast.decode.raw",
    "landfast.observe.observation",
    "landfast.sinks.delta",
    "landfast.sinks.delta.landing.dead_letters",
    "landfast.sinks.delta.landing.sink",
    "landfast.sinks.delta.proof.verify",
    "landfast.sinks.delta.table.startup",
    "landfast.sinks.delta.upkeep.maintenance",
    "landfast.sources.kafka",
    "landfast.sources.kafka_reread",
    "tests.system.forked",
]

_WHERE = signal.SIGUSR1
_TELL_SECONDS = 2.0
"""Time for it to write that: it ends nothing, so there is nothing else to wait for."""


def unmeasured() -> dict[str, str]:
    """The environment without what makes a process measure coverage."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


class Forked:
    """A process of the command line, with as much of `subprocess.Popen` as tests need. `first` runs in it before the command begins.

    The files stay open until it has ended: it opens them itself, by what they are called in this process.
    """

    def __init__(
        self,
        words: tuple[str, ...],
        out: IO[bytes],
        err: IO[bytes],
        environment: Mapping[str, str],
        first: Callable[[], None] | None = None,
    ) -> None:
        names = (f"/proc/{os.getpid()}/fd/{out.fileno()}", f"/proc/{os.getpid()}/fd/{err.fileno()}")
        given = (words, names, dict(environment), Path.cwd(), first)
        self._process: ForkServerProcess = _context().Process(target=_work, args=given, daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, or the negative number of the signal, once it has ended."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The same."""
        return self._process.exitcode

    def wait(self, seconds_max: float) -> int:
        """Wait for its end. One that does not end writes where each of its threads stands to its standard error.

        Raises:
            TimeoutExpired: of `subprocess`.
        """
        self._process.join(seconds_max)
        if self._process.exitcode is None:
            self.send_signal(_WHERE)
            self._process.join(_TELL_SECONDS)
            raise subprocess.TimeoutExpired("landfast", seconds_max)
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, if it is still there."""
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


@functools.cache
def _context() -> Any:
    """The server, which itself does not measure coverage."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    before = dict(os.environ)
    for name in before.keys() - unmeasured().keys():
        del os.environ[name]
    # As the command line has it before the library of tables is loaded.
    os.environ.setdefault("RUST_LOG", "warn,aws_config=off")
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return context


def _work(
    words: tuple[str, ...], names: tuple[str, str], environment: Mapping[str, str], folder: Path, first: Callable[[], None] | None
) -> None:
    """The process's own side."""
    from landfast.cli import app

    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, name in enumerate(names, start=1):
        with Path(name).open("ab") as written:
            os.dup2(written.fileno(), number)
    faulthandler.register(_WHERE)
    # Measured where the environment says so.
    import coverage

    _without_greenlets()
    coverage.process_startup()
    if first is not None:
        first()
    sys.argv = ["landfast", *words]
    app.main()


def _without_greenlets() -> None:
    """Have threads measured and nothing else: no greenlet runs here, and to look for some may hang a process for good.

    When a thread has ended, greenlet lets go of what it had of it in the middle of the main thread's work, and coverage traces the callback
    of its own weak reference to that: there, in `weakref.remove`, the main thread of such a process was found standing for minutes.
    """
    from coverage.config import CoverageConfig

    given = os.environ.get("COVERAGE_PROCESS_CONFIG")
    if given:
        config = CoverageConfig.deserialize(given)
        config.concurrency = ["thread"]
        os.environ["COVERAGE_PROCESS_CONFIG"] = config.serialize()
