"""Threads that keep nobody: a call that hangs in a store must hold up neither a run nor the end of the process.

The standard library's pool joins its threads when the interpreter ends, whatever they are doing. These do not.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from landfast.errors import Unavailable, check

S = TypeVar("S")
T = TypeVar("T")
_END = None


class Threads:
    """A `ports.Executor` of daemon threads: a call that never returns keeps neither `close` nor the end of the process waiting.

    Calls start in the order in which they were submitted; with one thread they also end in that order.

    Raises:
        Unavailable: the system lets no further thread start.
    """

    def __init__(self, name: str, *, threads: int = 1) -> None:
        check(threads > 0, "an executor needs a thread")
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._threads = [threading.Thread(target=self._work, name=f"{name}-{index}", daemon=True) for index in range(threads)]
        try:
            for thread in self._threads:
                thread.start()
        except RuntimeError as error:
            # Those that have started must not wait for work that never comes.
            self.close()
            message = f"the thread {name} cannot be started ({error})"
            next_step = "Raise the limit of processes and threads (`ulimit -u`, or of the container), or give the process more memory."
            raise Unavailable("THREAD_LIMIT", message, next_step=next_step) from error

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Start `call` when a thread is free; after `close` the future comes back cancelled."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                future.cancel()
            else:
                self._calls.put((future, call))
        return future

    def close(self) -> None:
        """Wait for nothing: calls not yet started are cancelled, running ones are abandoned. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for future in self._drained():
                future.cancel()
            for _ in self._threads:
                self._calls.put(_END)

    def _drained(self) -> Iterator[Future[Any]]:
        with suppress(queue.Empty):
            while True:
                item = self._calls.get_nowait()
                if item is not _END:
                    yield item[0]

    def _work(self) -> None:
        while True:
            item = self._calls.get()
            if item is _END:
                return
            future, call = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 — an executor carries whatever the call raises, panics of native code too
                future.set_exception(error)
            else:
                future.set_result(result)
            # The thread now waits for its next call; what the last one held must not stay in memory meanwhile.
            del item, future, call


def side_by_side(call: Callable[[S], T], items: Sequence[S], *, threads: int, name: str) -> list[T]:
    """`call` of each item, in order, so many at once; raises what the first of them in order raises, when all have ended."""
    if len(items) == 1:
        return [call(items[0])]
    executor = Threads(name, threads=min(threads, max(len(items), 1)))
    answers = [executor.submit(partial(call, item)) for item in items]
    wait(answers)
    executor.close()
    return [answer.result() for answer in answers]
