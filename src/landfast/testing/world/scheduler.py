"""One thread, many tasks, virtual time: a seed decides who goes on, and time moves only when nobody can.

A task is an ordinary blocking call that runs in a greenlet of its own. Wherever it calls `pause` or `sleep` the scheduler takes over;
nothing else is ever interrupted, so that a run is decided by the seed alone. A task that is dropped is never switched to again: that is
a crash.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import Any, NoReturn, TypeVar

try:
    from greenlet import getcurrent, greenlet
except ImportError as error:
    raise ImportError("the simulated world runs on greenlets: install the package greenlet") from error

from landfast.errors import check
from landfast.testing.clock import EPOCH_SECONDS
from landfast.testing.faults import Crashed, Stuck

T = TypeVar("T")

_SLEEP_SECONDS_MIN = 0.1


class Task:
    """A call on its way, in a greenlet. `owner` names the process that it belongs to; `told` is what the trace says when it goes on."""

    __slots__ = ("call", "greenlet", "owner", "told")

    def __init__(self, owner: str, name: str, call: Callable[[], object], carrier: greenlet) -> None:
        self.owner = owner
        self.told = f"{owner} {name}"
        self.call = call
        self.greenlet = carrier


class Scheduler:
    """Tasks, virtual time, and the order of everything.

    A task that waits hands over to the next one directly: a switch is what a step costs.

    trace  adds to the trace: what happened, in order, is what tells two runs apart
    """

    def __init__(self, seed: int, on_crash: Callable[[str], object]) -> None:
        self.now = 0.0
        self.steps = 0
        self._steps_max = 0
        self._on_crash = on_crash
        self._random = random.Random(seed).random
        self._ready: list[Task] = []
        self._sleeping: list[tuple[float, int, Task]] = []
        self._frozen: dict[str, list[Task]] = {}
        self._dropped: list[Task] = []
        self._idle: list[greenlet] = []
        self._numbers = itertools.count()
        self._trace: list[str] = []
        self.trace: Callable[[str], None] = self._trace.append
        self._current: Task | None = None
        self._main = getcurrent()
        self._finished: Callable[[], bool] = bool
        self._until = 0.0

    # ---- for tasks ----

    def pause(self) -> None:
        """Let others go on; returns when it is this task's turn again."""
        task = self._current or self._nobody()
        self._wake(task)
        self._hand_over(task)

    def sleep(self, seconds: float) -> None:
        """Return when so much virtual time has passed."""
        task = self._current or self._nobody()
        heapq.heappush(self._sleeping, (self.now + max(seconds, 0.0), next(self._numbers), task))
        self._hand_over(task)

    def between(self, least: float, most: float) -> float:
        """A number that chance decides."""
        return least + (most - least) * self._random()

    def _nobody(self) -> NoReturn:
        message = "only a task can wait"
        raise RuntimeError(message)

    def _hand_over(self, task: Task | None) -> None:
        """Go on with whoever chance picks; where nobody can, or it took too long, the main loop decides."""
        ready = self._ready
        if self.steps >= self._steps_max or not (ready or self._someone_wakes()):
            self._current = None
            self._main.switch()
            return
        self._current = chosen = ready.pop(int(self._random() * len(ready)))
        self.steps += 1
        self.trace(chosen.told)
        if chosen is not task:
            chosen.greenlet.switch()

    # ---- for the world ----

    @property
    def trace_hash(self) -> str:
        """A digest of everything that happened so far, in order."""
        return hashlib.sha256("\n".join(self._trace).encode()).hexdigest()[:16]

    def spawn(self, owner: str, name: str, call: Callable[[], object]) -> None:
        """Start a task; it begins when it is chosen."""
        self._wake(Task(owner, name, call, self._idle.pop() if self._idle else greenlet(self._carry, self._main)))

    def close(self) -> None:
        """Unwind what still waits, of the living and the dead: a task that is only forgotten keeps its whole world in memory."""
        left = [*self._ready, *(task for _, _, task in self._sleeping), *itertools.chain(*self._frozen.values()), *self._dropped]
        for carrier in (*self._idle, *(task.greenlet for task in left)):
            carrier.throw()
        self._ready, self._sleeping, self._frozen, self._dropped, self._idle = [], [], {}, [], []

    def drop(self, owner: str) -> None:
        """A process is gone: none of its tasks goes on, ever."""
        self._dropped += [task for task in self._ready if task.owner == owner]
        self._dropped += [task for _, _, task in self._sleeping if task.owner == owner]
        self._dropped += self._frozen.pop(owner, [])
        self._ready = [task for task in self._ready if task.owner != owner]
        self._sleeping = [entry for entry in self._sleeping if entry[2].owner != owner]
        heapq.heapify(self._sleeping)

    def freeze(self, owner: str) -> None:
        """A process stands still (SIGSTOP); time goes on without it."""
        if owner not in self._frozen:
            self._frozen[owner] = [task for task in self._ready if task.owner == owner]
            self._ready = [task for task in self._ready if task.owner != owner]

    def thaw(self, owner: str) -> None:
        """It goes on where it stood."""
        self._ready += self._frozen.pop(owner, [])

    def run(self, finished: Callable[[], bool], seconds_max: float, steps_max: int) -> None:
        """Let tasks go on until `finished`, which is asked whenever nobody is ready or a task has ended, or until no task is left.

        Raises:
            Stuck: it takes more virtual time or more steps than that.
        """
        self._finished, self._until, self._steps_max = finished, self.now + seconds_max, self.steps + steps_max
        while not finished() and (self._ready or self._someone_wakes()):
            if self.steps >= self._steps_max:
                message = f"not finished after {steps_max} steps, at {self.now:.1f} s"
                raise Stuck(message)
            self._go_on()
        if self._sleeping and not finished():
            message = f"not finished at {self.now:.1f} s"
            raise Stuck(message)

    def _go_on(self) -> None:
        try:
            self._hand_over(None)
        except Crashed:
            owner = (self._current or self._nobody()).owner
            self._current = None
            self.drop(owner)
            self._on_crash(owner)
        finally:
            self._current = None

    def _carry(self) -> None:
        """Make the calls of one task after the other: a new greenlet costs twenty times what a switch does."""
        while True:
            task = self._current or self._nobody()
            task.call()
            self._idle.append(task.greenlet)
            self._main.switch()

    def _someone_wakes(self) -> bool:
        """Let time pass until somebody is ready; False where the world has finished, nobody sleeps, or it would take too long."""
        if self._finished():
            return False
        while not self._ready:
            if not self._sleeping or self._sleeping[0][0] > self._until:
                return False
            at, _, task = heapq.heappop(self._sleeping)
            self.now = max(self.now, at)
            self._wake(task)
        return True

    def _wake(self, task: Task) -> None:
        if task.owner in self._frozen:
            self._frozen[task.owner].append(task)
        else:
            self._ready.append(task)


class VirtualClock:
    """A `ports.Clock` over a scheduler. `skew_seconds` moves the wall clock only, which nothing may depend on."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.skew_seconds = 0.0
        self._scheduler = scheduler

    def now(self) -> float:
        """Seconds since the epoch, by this clock's own account."""
        return EPOCH_SECONDS + self._scheduler.now + self.skew_seconds

    def monotonic(self) -> float:
        """Seconds since the world began."""
        return self._scheduler.now

    def sleep(self, seconds: float) -> None:
        """Let this much virtual time pass, and a little more where it is next to nothing: who only looks again costs steps."""
        self._scheduler.sleep(max(seconds, _SLEEP_SECONDS_MIN))


class Answer(Future[T]):
    """A future of one thread: the same states and answers, without locks. Whoever asks must know that it is there."""

    def __init__(self) -> None:  # the locks of a real one are what is left out
        self._state = "PENDING"
        self._answer: T | None = None
        self._error: BaseException | None = None

    def done(self) -> bool:
        """See `Future`."""
        return self._state in {"FINISHED", "CANCELLED"}

    def cancelled(self) -> bool:
        """See `Future`."""
        return self._state == "CANCELLED"

    def running(self) -> bool:
        """See `Future`."""
        return self._state == "RUNNING"

    def cancel(self) -> bool:
        """See `Future`."""
        if self._state == "PENDING":
            self._state = "CANCELLED"
        return self._state == "CANCELLED"

    def set_running_or_notify_cancel(self) -> bool:
        """See `Future`."""
        if self._state == "PENDING":
            self._state = "RUNNING"
        return self._state == "RUNNING"

    def set_result(self, result: T) -> None:
        """See `Future`."""
        self._answer, self._state = result, "FINISHED"

    def set_exception(self, exception: BaseException | None) -> None:
        """See `Future`."""
        self._error, self._state = exception, "FINISHED"

    def result(self, timeout: float | None = None) -> T:
        """See `Future`; nobody waits here."""
        error = self._error if self._state == "FINISHED" else self.exception(timeout)
        if error is not None:
            raise error
        return self._answer  # type: ignore[return-value]

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """See `Future`."""
        if self._state == "CANCELLED":
            raise CancelledError
        check(self._state == "FINISHED", "in a world of one thread nobody can wait for a future: look whether it is done")
        return self._error


class TaskExecutor:
    """A `ports.Executor` of so many simulated threads: each call is a task, and work that started in order may end in any."""

    def __init__(self, scheduler: Scheduler, owner: str, name: str, threads: int) -> None:
        self._scheduler = scheduler
        self._owner = owner
        self._name = name
        self._free = threads
        self._waiting: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._closed = False

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Start `call` on a free thread, or as soon as there is one."""
        check(not self._closed, "an executor that is closed takes no calls")
        future: Future[T] = Answer()
        self._waiting.append((call, future))
        if self._free:
            self._free -= 1
            self._scheduler.spawn(self._owner, self._name, self._work)
        return future

    def close(self) -> None:
        """Cancel what has not started; what runs is left alone."""
        self._closed = True
        for _, future in self._waiting:
            future.cancel()
        self._waiting.clear()

    def _work(self) -> None:
        while self._waiting:
            call, future = self._waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                answer = partial(future.set_result, call())
            except Exception as error:  # noqa: BLE001 — an executor carries whatever the call raises
                answer = partial(future.set_exception, error)
            # Between the end of a call and the moment when its answer is seen anything may happen.
            self._scheduler.pause()
            answer()
        self._free += 1
