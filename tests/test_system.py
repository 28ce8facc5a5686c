"""Time, threads and signals of the machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from landfast.errors import Broken
from landfast.system import FORCED_EXIT, SystemClock, cores, jitter
from landfast.threads import Threads, side_by_side

SECONDS_MAX = 120
PROGRAM = """
import signal, sys, threading
from landfast.system import stop_on_signals
asked = threading.Event()
with stop_on_signals(asked.set):
    print("ready", flush=True)
    if asked.wait(60):
        print("asked", flush=True)
    {then}
print("done", signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)
"""


@pytest.fixture
def threads() -> Iterator[Threads]:
    executor = Threads("test", threads=2)
    yield executor
    executor.close()


def test_calls_run_elsewhere_and_answer(threads: Threads) -> None:
    """A call runs in a thread of its own; its result, or its exception, arrives in the future."""
    assert threads.submit(lambda: threading.current_thread().daemon).result(10) is True
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 / 0).result(10)


def test_one_thread_keeps_the_order() -> None:
    """With one thread calls end in the order in which they were submitted: what a committer is made of."""
    executor = Threads("test")
    seen: list[int] = []
    for index in range(100):
        executor.submit(lambda index=index: seen.append(index))  # type: ignore[misc]
    executor.submit(lambda: None).result(10)
    assert seen == list(range(100))
    executor.close()


def test_closing_waits_for_nothing() -> None:
    """A call that hangs is abandoned, one that has not started is cancelled, and one submitted later comes back cancelled."""
    executor, release, started = Threads("test"), threading.Event(), threading.Event()
    hanging = executor.submit(lambda: (started.set(), release.wait(60)))
    assert started.wait(10)
    waiting = executor.submit(lambda: None)
    executor.close()
    executor.close()
    assert waiting.cancelled()
    assert executor.submit(lambda: None).cancelled()
    assert not hanging.done()
    release.set()
    assert hanging.result(10)


def test_calls_side_by_side_answer_in_order() -> None:
    """Whatever ends first, the answers are in the order of the items, and the first of them in order that failed is what is raised."""
    both, meeting = [1, 2], threading.Barrier(2)
    assert side_by_side(lambda item: (meeting.wait(10), item)[1], both, threads=2, name="test") == both
    assert side_by_side(lambda item: -item, [1], threads=2, name="test") == [-1]
    assert side_by_side(str, [], threads=2, name="test") == []
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda item: 1 // item, [1, 0, 2], threads=2, name="test")


def test_a_call_that_hangs_does_not_keep_its_process() -> None:
    """The interpreter ends although a thread of ours is inside a call that never returns."""
    program = (
        "import threading\n"
        "from landfast.threads import Threads, side_by_side\n"
        "inside, never = threading.Event(), threading.Event()\n"
        "call = lambda _: (inside.set(), never.wait())\n"
        "Threads('outer').submit(lambda: side_by_side(call, [1, 2], threads=2, name='inner'))\n"
        "assert inside.wait(30)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=120, check=False).returncode == 0


def test_an_executor_needs_a_thread() -> None:
    """Without threads nothing would ever run."""
    with pytest.raises(Broken):
        Threads("test", threads=0)


def test_the_clock_is_the_machines() -> None:
    """Monotonic time grows by what is slept, and a negative wait is none."""
    clock = SystemClock()
    before = clock.monotonic()
    clock.sleep(0.01)
    clock.sleep(-1)
    assert clock.monotonic() - before >= 0.01
    assert clock.now() > 1_700_000_000
    assert cores() >= 1
    assert 0 <= jitter()() < 1


@contextmanager
def started(then: str) -> Iterator[subprocess.Popen[str]]:
    """The program above at work, and gone when the block ends."""
    command = [sys.executable, "-c", PROGRAM.format(then=then)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
            yield program
        finally:
            program.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks(number: signal.Signals) -> None:
    """SIGINT and SIGTERM ask for a stop and interrupt nothing; afterwards signals mean what they meant before."""
    with started("pass") as program:
        os.kill(program.pid, number)
        out, err = program.communicate(timeout=SECONDS_MAX)
    assert (out, err, program.returncode) == ("asked\ndone True\n", "", 0)


@pytest.mark.parametrize("then", ["while True: pass", "threading.Lock().acquire() and threading.Event().wait()"])
def test_the_second_signal_ends_at_once(then: str) -> None:
    """A second signal ends the process with 130, whatever its main thread is doing, and says that nothing is lost."""
    with started(then) as program:
        os.kill(program.pid, signal.SIGTERM)
        assert program.stdout is not None
        assert program.stdout.readline() == "asked\n"
        os.kill(program.pid, signal.SIGINT)
        out, err = program.communicate(timeout=SECONDS_MAX)
    assert (out, program.returncode) == ("", FORCED_EXIT)
    assert "Nothing is lost" in err
