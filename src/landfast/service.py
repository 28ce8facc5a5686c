"""The loop of a small service: batches of records for a function of one's own, and offsets that never pass what it has not finished."""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from landfast.core.report import Outcome, RunReport
from landfast.error_table import classify
from landfast.errors import Misconfigured, Unavailable, with_next
from landfast.events import Notice, StopAsked
from landfast.observe.observation import Observation, ObserveSettings
from landfast.ports import Clock, Observer
from landfast.sinks.service.records import Record
from landfast.system import SystemClock, stop_on_signals
from landfast.wiring import Silence, Site, new_run, secrets
from landfast.wiring.service import PutUp, ServiceParts, build_service, service_settings

__all__ = ["Consumer", "DeadLetterTopic", "consume"]

V = TypeVar("V")
_CALLS_MAX_MOST = 100_000


@dataclass(frozen=True, slots=True)
class DeadLetterTopic:
    """Where records go that can never be handled: a Kafka topic of the same brokers, which must exist and is never read by the service.

    A letter has the record's key, value and headers as they were, and headers `landfast-topic`, `-partition`, `-offset`, `-reason`,
    `-message`, `-attempts` and others. It is durable before the group's offset passes the record; after a crash it may be there twice.

    calls_max  how many calls one batch may take while it is halved to find the records that the handler cannot take; 0: it is not halved
    """

    topic: str
    calls_max: int = 200


class Consumer(Generic[V]):
    """A consumer group's member that gives batches to a function: what `consume` runs, for who wants to stop it from another thread.

    The arguments are those of `consume`. Nothing is connected before `run`.

    Raises:
        Misconfigured: every fault of the settings at once; or the handler is no plain function.
    """

    def __init__(
        self,
        topics: str | Sequence[str],
        handler: Callable[[Sequence[Record[V]]], object],
        *,
        servers: str,
        group: str,
        batch: int = 100,
        dead_letters: str | DeadLetterTopic | None = None,
        decoder: Callable[[bytes], V] | None = None,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        _check_plain(handler)
        letters = DeadLetterTopic(dead_letters) if isinstance(dead_letters, str) else dead_letters or DeadLetterTopic("", 0)
        if not 0 <= letters.calls_max <= _CALLS_MAX_MOST:
            raise Misconfigured("CONFIG_INVALID", f"calls_max of the dead letters is a number from 0 to {_CALLS_MAX_MOST}")
        names = (topics,) if isinstance(topics, str) else tuple(topics)
        source = {"servers": servers, "group": group, "topics": names}
        self._settings = service_settings(source, batch, settings or {}, letters.topic)
        self._parts = ServiceParts(handler, decoder, lambda error: classify(error).error_class, letters.topic, letters.calls_max)
        self._stopping = threading.Event()
        self._put_up: PutUp | None = None

    def run(self, *, until_end: bool = False, observer: Observer | None = None, clock: Clock | None = None) -> RunReport:
        """Give batches to the handler until stopped; with `until_end`, until all that the log held at the start is handled.

        The report counts what was handled as `written`. What goes wrong once the run has begun is in it: look at `exit_code`, or at
        `outcome`, `halts`, `error` and `abandoned`, the records that were read and not handled.

        Raises:
            Misconfigured: a topic is missing, or access is refused. Nothing was read.
            Unavailable: no broker answered within `engine.open_wait_seconds`. Nothing was read.
        """
        site = Site(clock or SystemClock(), observer or Silence(), self._stopping.is_set)
        run = new_run(self._settings.group, self._settings.digest(), site.clock)
        try:
            self._put_up = put_up = build_service(self._settings, self._parts, run, site)
        except Unavailable:
            if not self._stopping.is_set():
                raise
            return RunReport(run, Outcome.STOPPED, {}, {}, site.clock.now() - run.started_at)
        if self._stopping.is_set():
            put_up.runner.stop()
        report = put_up.runner.run(until_end=until_end)
        if put_up.calling():
            return _hung(report, self._settings.engine.shutdown_seconds)
        # A batch of which records were refused while it stopped is not read again: it is left, although nobody counts it as in hand.
        return replace(report, abandoned=max(report.abandoned, put_up.unkept()))

    def stop(self) -> None:
        """Ask for a graceful end: what is read is handled, within `engine.shutdown_seconds`. From any thread; only sets a flag."""
        self._stopping.set()
        if self._put_up is not None:
            self._put_up.runner.stop()

    @contextmanager
    def observed(self) -> Iterator[Observer]:
        """An observer that writes warnings and errors to the standard error, and serves metrics where `[metrics]` has a port."""
        metrics = self._settings.metrics
        shown = ObserveSettings(
            level="warning",
            metrics_port=metrics.port,
            metrics_host=metrics.host,
            display="lines",
            secrets=secrets(self._settings),
        )
        observation = Observation(shown, SystemClock(), sys.stderr)
        try:
            yield observation
        finally:
            observation.close()

    def asked_to_stop(self, observer: Observer) -> None:
        """The same as `stop`, and the observer hears of it first: afterwards the run may end before anybody does."""
        observer.notice(StopAsked("", self._settings.engine.shutdown_seconds))
        self.stop()


def consume(
    topics: str | Sequence[str],
    handler: Callable[[Sequence[Record[V]]], object],
    *,
    servers: str,
    group: str,
    batch: int = 100,
    dead_letters: str | DeadLetterTopic | None = None,
    decoder: Callable[[bytes], V] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> RunReport:
    """Call `handler` with batches of records until the process is asked to stop, and move the group's offsets past what it finished.

    **At least once.** The offsets move after the handler has returned. What a crash, a lost answer or a rebalance comes between is given
    again, so the handler must bear a repetition; after a clean stop nothing is given twice. No record is ever marked as handled that was
    not.

    The handler is called with a sequence of at most `batch` records, of all partitions that are ours: in order inside each partition, in
    no order across them. It is called in one thread, which is not the main one, and never twice at once. More work side by side takes more
    processes of the same group. When it returns, all of its records are handled. When it raises, none is, and what happens then depends on
    what `landfast.classify` says of the exception: what may pass (transient, throttled, auth, conflict, unknown) is tried again with the
    same records, as `[retry]` says, then the partitions halt; what is data is halved until the records that cannot pass are alone, which
    become dead letters; anything else halts. `RecordsFailed` names such records outright, and saves the halving.

    Halving **calls the handler again** with records that it may have handled in part. Without `dead_letters` there is none.

    The first SIGTERM or Ctrl-C has the remainder handled within `engine.shutdown_seconds`, the second ends the process at once. Where this
    is not the main thread no signal is heard: use `Consumer` and its `stop`.

    topics        a name, or several
    servers       bootstrap servers, `host:port`, separated by commas
    group         the consumer group: its offsets are the memory of the service
    batch         records per call at most; a smaller batch is given when its first record is older than `batch.seconds`, 1 s unless set
    dead_letters  the topic for records that cannot be handled; None: the partitions halt in front of such a record
    decoder       makes the value of a record from its bytes, in several threads at once; a value that it raises for is a dead letter
    settings      sections as in a pipeline's settings file, by the same names: source, batch, engine, retry, dead_letters, metrics

    Returns the report of the run, with an `exit_code` for the process.

    Raises:
        Misconfigured: settings, topics or rights are wrong. Nothing was read.
        Unavailable: no broker answered at the start. Nothing was read.
    """
    consumer = Consumer(
        topics, handler, servers=servers, group=group, batch=batch, dead_letters=dead_letters, decoder=decoder, settings=settings
    )
    with consumer.observed() as observer:
        in_main = threading.current_thread() is threading.main_thread()
        with stop_on_signals(lambda: consumer.asked_to_stop(observer)) if in_main else nullcontext():
            report = consumer.run(observer=observer)
        for notice in _last_words(report):
            observer.notice(notice)
        return report


def _check_plain(handler: object) -> None:
    """Refuse what returns before it has handled anything."""
    if not callable(handler):
        raise Misconfigured("CONFIG_INVALID", "the handler cannot be called", next_step="Give a function that takes a batch of records.")
    for one in (handler, inspect.getattr_static(handler, "__call__", None)):
        if inspect.iscoroutinefunction(one) or inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one):
            message = "the handler is asynchronous or a generator: it would return before anything was handled"
            raise Misconfigured("CONFIG_INVALID", message, next_step="Give a plain function, such as one that calls asyncio.run.")


def _last_words(report: RunReport) -> Iterator[Notice]:
    """Why the run did not end well, for who reads the log only."""
    if report.error is not None:
        yield Notice("", report.error.code, with_next(report.error.message, report.error.next_step), "error")
    elif report.outcome is Outcome.STOPPED and report.abandoned:
        words = f"{report.abandoned:,} records were read and not marked as handled at the stop: the next start gives them again"
        yield Notice("", "SHUTDOWN_PARTIAL", words, "error")


def _hung(report: RunReport, seconds: float) -> RunReport:
    """The report of a run whose handler did not come back."""
    message = f"the handler did not come back within {seconds:g} s of the stop; what it was given last is not marked as handled"
    step = "Give its own calls a time limit below engine.shutdown_seconds, or raise that. The next start gives the batch again."
    hung = Unavailable("HANDLER_HUNG", message, kind="unknown", next_step=step)
    return replace(report, outcome=Outcome.HALTED, error=report.error or hung)
