"""Executors without threads: the order of work is the test's to choose."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from landfast.errors import check

T = TypeVar("T")


class InlineExecutor:
    """A `ports.Executor` that runs each call at once, in the caller's thread.

    What is no `Exception` (a crash, an interrupt) is not caught: it ends the caller, as it would end the process.
    """

    def __init__(self) -> None:
        self.closed = False

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Run `call` now and return its future, done."""
        check(not self.closed, "an executor that is closed takes no calls")
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        try:
            result = call()
        except Exception as error:  # noqa: BLE001 — an executor carries whatever the call raises
            future.set_exception(error)
        else:
            future.set_result(result)
        return future

    def close(self) -> None:
        """Take no more calls. Idempotent."""
        self.closed = True


@dataclass(slots=True)
class _Task:
    call: Callable[[], Any]
    future: Future[Any]
    answer: Callable[[], None] | None = None


class SteppedExecutor:
    """A `ports.Executor` that queues its calls; the test decides which goes on, and when.

    Each call takes two steps: its effect happens, then its answer arrives. A call that is never chosen hangs: before its effect, or
    after it, which is how a lost or late answer looks. Work that starts in order may so finish in any order.

    ahead   how many waiting calls, counted from the oldest, may start: 1 models one thread that works in order, like a committer
    """

    def __init__(self, seed: float = 0, ahead: int = 64) -> None:
        check(ahead > 0, "at least one call must be able to start")
        self.closed = False
        self._ahead = ahead
        self._random = random.Random(seed)
        self._tasks: list[_Task] = []

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Queue `call`."""
        check(not self.closed, "an executor that is closed takes no calls")
        future: Future[T] = Future()
        self._tasks.append(_Task(call, future))
        return future

    @property
    def waiting(self) -> int:
        """How many calls have not been answered."""
        return len(self._tasks)

    def step(self, index: int | None = None) -> bool:
        """Let one call take its next step: the one at `index` in the order submitted, or one that the seed picks.

        Returns whether there was one. Says False, and does nothing, where `index` may not start yet.
        """
        eligible = self._tasks[: self._ahead]
        if not eligible:
            return False
        position = self._random.randrange(len(eligible)) if index is None else index
        if not 0 <= position < len(eligible):
            return False
        self._advance(eligible[position])
        return True

    def run_all(self, steps_max: int = 1_000_000) -> None:
        """Step until nothing waits, in the seed's order."""
        for _ in range(steps_max):
            if not self.step():
                return
        check(condition=False, message=f"calls still wait after {steps_max} steps")

    def close(self) -> None:
        """Cancel what has not started and abandon what is on its way. Idempotent."""
        self.closed = True
        for task in self._tasks:
            if task.answer is None:
                task.future.cancel()
        self._tasks.clear()

    def _advance(self, task: _Task) -> None:
        if task.answer is not None:
            self._tasks.remove(task)
            task.answer()
            return
        if not task.future.set_running_or_notify_cancel():
            self._tasks.remove(task)
            return
        try:
            result = task.call()
        except Exception as error:  # noqa: BLE001 — an executor carries whatever the call raises
            failure = error
            task.answer = lambda: task.future.set_exception(failure)
        else:
            task.answer = lambda: task.future.set_result(result)
