"""A sink that calls a function with each batch, then moves the group's offsets past it."""

from __future__ import annotations

import inspect
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from types import TracebackType
from typing import Any, Protocol

from landfast.errors import Broken, ErrorClass, Halted, Refusal, Rejected, Unavailable, check
from landfast.events import ServiceCalled
from landfast.model import Batch, Guarantee, Halt, Level, Position, Receipt, Span, Staged, Stream
from landfast.ports import Clock, Observer
from landfast.sinks.service.isolation import Answer, Refused, isolate
from landfast.sinks.service.records import Record, RecordsFailed, records_of

GUARANTEE = Guarantee(
    Level.AT_LEAST_ONCE,
    "the function is called first and the group's offsets are kept after it: what a crash comes between is handled again",
)

_RETRIED = frozenset({ErrorClass.TRANSIENT, ErrorClass.THROTTLED, ErrorClass.AUTH, ErrorClass.CONFLICT, ErrorClass.UNKNOWN})
_INTACT = "Nothing of the batch was marked as done."


class Offsets(Protocol):
    """Where it is kept how far each stream was handled."""

    def positions(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """Where these stand; None: nowhere yet."""

    def take(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """The same, and from here on we move them as long as they stay ours."""

    def check(self, streams: Collection[Stream]) -> None:
        """They have stayed ours.

        Raises:
            Conflict: one has not.
        """

    def keep(self, positions: Mapping[Stream, Position]) -> None:
        """Move these, durably.

        Raises:
            Conflict: a stream is not ours any more.
            Unavailable: it is not known to be kept; to try again is safe.
        """


@dataclass(frozen=True, slots=True)
class Service:
    """A function of a person's own, and what is known of it.

    name       for events and metrics
    handler    called with a batch, never twice at once
    classify   what kind of thing an exception is that it raises
    letters    where dead letters go, in words; empty where they go nowhere, and a refused record halts
    calls_max  calls that halving one batch may take
    """

    name: str
    handler: Callable[[Sequence[Record[Any]]], object]
    classify: Callable[[BaseException], ErrorClass]
    letters: str = ""
    calls_max: int = 200


@dataclass(slots=True)
class _Progress:
    """What of a stream was handled above its kept offset, and how often each of its records was given."""

    done: set[int] = field(default_factory=set)
    given: Counter[int] = field(default_factory=Counter)

    def forget_below(self, position: Position) -> None:
        self.done = {offset for offset in self.done if offset >= position}
        self.given = Counter({offset: count for offset, count in self.given.items() if offset >= position})


@dataclass(frozen=True, slots=True)
class _Content:
    records: tuple[Record[object], ...]
    streams: Mapping[tuple[str, int], Stream]


class ServiceSink:
    """See `ports.Sink`. `commit` calls the function with what it has not finished yet, then keeps the offsets.

    What was handled in this process is not given again while the process lives, even where the offsets could not be kept, or the batch is
    read again without the records that were refused.
    """

    def __init__(self, service: Service, offsets: Offsets, clock: Clock, observer: Observer) -> None:
        self._service = service
        self._offsets = offsets
        self._clock = clock
        self._observer = observer
        self._sequence = itertools.count(1)
        self._progress: dict[Stream, _Progress] = {}
        self._calling = threading.Event()

    @property
    def guarantee(self) -> Guarantee:
        """At least once."""
        return GUARANTEE

    @property
    def calling(self) -> bool:
        """Whether the function is at work."""
        return self._calling.is_set()

    @property
    def unkept(self) -> int:
        """How many records were handled that our offsets do not pass: another process may be given them again."""
        return sum(len(progress.done) for progress in self._progress.values())

    def positions(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """See `ports.Sink`."""
        return self._offsets.positions(streams)

    def take_over(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """See `ports.Sink`. No other member moves the offsets of a partition that is ours: the group sees to that."""
        found = self._offsets.take(streams)
        for stream, position in found.items():
            if stream in self._progress and isinstance(position, int):
                self._progress[stream].forget_below(position)
        return found

    def stage(self, batch: Batch) -> Staged:
        """Collect the records."""
        records = records_of(batch.decoded)
        streams = {(span.stream.topic, span.stream.partition): span.stream for span in batch.spans}
        nbytes = sum(decoded.rows.nbytes for decoded in batch.decoded)
        return Staged(batch.number, batch.spans, len(records), nbytes, _Content(records, streams))

    def commit(self, staged: Sequence[Staged]) -> Receipt:
        """Have each batch handled, and keep its ends.

        Raises:
            Conflict: a partition is not ours any more.
            Rejected: the function refuses records; all others of the batch are handled.
            Unavailable: the function failed for now, or the offsets could not be kept.
            Halted: the function failed for good.
        """
        started = self._clock.monotonic()
        for part in staged:
            self._handle(part)
            self._offsets.keep({span.stream: span.end for span in part.spans})
            for span in part.spans:
                if span.stream in self._progress:
                    self._progress[span.stream].forget_below(span.end)
        spans: tuple[Span, ...] = tuple(span for part in staged for span in part.spans)
        rows, sequence = sum(part.rows for part in staged), next(self._sequence)
        return Receipt(spans, rows, 0, 0, sequence, sequence, already=False, seconds=self._clock.monotonic() - started)

    def maintain(self, budget_seconds: float) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to let go of."""

    # ---- the function ----

    def _handle(self, part: Staged) -> None:
        content = part.content
        if not isinstance(content, _Content):
            raise Broken("INVARIANT_BROKEN", "a staged batch that no ServiceSink has made")
        pending = tuple(record for record in content.records if record.offset not in self._of(content, record).done)
        if not pending:
            return
        # Nobody begins with what is somebody else's by now; who has begun may end while another begins.
        self._offsets.check([span.stream for span in part.spans])
        calls_max = self._service.calls_max if self._service.letters else 0
        found = isolate(pending, lambda records: self._call(records, content), calls_max)
        if found.in_doubt is not None:
            raise self._undecided(found.in_doubt, found.calls)
        if found.refused:
            raise self._refused(found.refused, content)

    def _call(self, records: Sequence[Record[object]], content: _Content) -> Answer[Record[object]]:
        for record in records:
            self._of(content, record).given[record.offset] += 1
        started = self._clock.monotonic()
        self._calling.set()
        returned: object = None
        outcome = "failed"
        try:
            returned = self._service.handler(tuple(records))
            answer: Answer[Record[object]] = Answer()
            outcome = "finished"
        except RecordsFailed as failed:
            answer = self._named(failed, records)
            outcome = "refused"
        except BaseException as error:  # noqa: BLE001 — a person's own function: what it raises must not end the loop beside it
            answer = self._judged(error, records)
            outcome = "refused"
        finally:
            self._calling.clear()
            self._observer.notice(ServiceCalled(self._service.name, len(records), outcome, self._clock.monotonic() - started))
        if outcome == "finished":
            _refuse_unfinished(returned)
        if answer.doubt is None:
            refused = {id(one.record) for one in answer.refused}
            for record in records:
                if id(record) not in refused:
                    self._of(content, record).done.add(record.offset)
        return answer

    def _named(self, failed: RecordsFailed, records: Sequence[Record[object]]) -> Answer[Record[object]]:
        given = {(record.topic, record.partition, record.offset): record for record in records}
        known = [record for record in failed.records if isinstance(record, Record)]
        named = {(record.topic, record.partition, record.offset) for record in known}
        if not named or not named <= given.keys() or len(known) < len(failed.records):
            message = f"the handler says that {len(failed.records)} records failed, which are none, or not all of its batch"
            raise Halted("HANDLER_REFUSED", message, next_step=f"Raise RecordsFailed with records of the batch. {_INTACT}") from failed
        return Answer(tuple(Refused(given[place], failed.reason, failed.message) for place in given if place in named))

    def _judged(self, error: BaseException, records: Sequence[Record[object]]) -> Answer[Record[object]]:
        """What an exception of the function means: the batch is in doubt, or an error of ours is raised."""
        words = f"the handler raised {type(error).__name__}{_place(error.__traceback__)}"
        kind = self._service.classify(error) if isinstance(error, Exception) else ErrorClass.PERMANENT
        if kind in _RETRIED:
            step = f"{_INTACT} It is tried again; `landfast.classify` says why an exception has the class {kind}."
            raise Unavailable("HANDLER_FAILED", f"{words}, which is {kind}", kind=kind, next_step=step) from error
        if kind is not ErrorClass.DATA:
            message = f"{words}, which is {kind}: trying again would not help; {len(records)} records from {records[0]} wait for it"
            raise Halted("HANDLER_REFUSED", message, next_step=f"Mend what it stands on, then start again. {_INTACT}") from error
        return Answer(doubt=Refused(tuple(records), "handler_refused", words))

    def _undecided(self, doubt: Refused[Sequence[Record[object]]], calls: int) -> Halted:
        place = f"{len(doubt.record)} records from {doubt.record[0]} on"
        if not self._service.letters:
            step = f"Mend the handler, or give dead_letters a topic for records that it cannot take. {_INTACT}"
            return Halted("HANDLER_REFUSED", f"{doubt.message}, because of a record: one of {place}", next_step=step)
        step = f"Mend the handler, have it raise RecordsFailed, or allow more calls. {_INTACT}"
        return Halted("HANDLER_REFUSED", f"{doubt.message}; after {calls} calls it is still open which of {place} it is", next_step=step)

    def _refused(self, refused: Iterable[Refused[Record[object]]], content: _Content) -> Rejected | Halted:
        refusals = tuple(
            Refusal(stream, one.record.offset, one.reason, one.message, "handle", self._of(content, one.record).given[one.record.offset])
            for one in refused
            for stream in [content.streams[one.record.topic, one.record.partition]]
        )
        check(bool(refusals), "a batch was refused without a record that is")
        first = refusals[0]
        message = f"the handler cannot take {len(refusals)} records, the first at {first.stream} offset {first.offset}: {first.message}"
        if self._service.letters:
            return Rejected("RECORDS_REFUSED", message, refusals=refusals, next_step="They become dead letters.")
        step = f"Mend the handler, or give dead_letters a topic for records that it cannot take. {_INTACT}"
        return Halted("RECORDS_REFUSED", message, next_step=step, stream=first.stream, position=first.offset)

    def _of(self, content: _Content, record: Record[object]) -> _Progress:
        return self._progress.setdefault(content.streams[record.topic, record.partition], _Progress())


def _refuse_unfinished(returned: object) -> None:
    """A function that gave back something to wait for, or to go through, has handled nothing yet.

    Raises:
        Halted: it did.
    """
    if not (inspect.isawaitable(returned) or inspect.isgenerator(returned) or inspect.isasyncgen(returned)):
        return
    if inspect.iscoroutine(returned):
        returned.close()
    step = f"Give a plain function, such as one that calls asyncio.run. {_INTACT}"
    raise Halted("HANDLER_REFUSED", "the handler is asynchronous or a generator: it returned before anything was handled", next_step=step)


def _place(trace: TracebackType | None) -> str:
    """Where in the function an exception came up: the line of its own, not of what it calls. A line shows no value."""
    if trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    code = trace.tb_frame.f_code
    return f" in {code.co_name} ({PurePath(code.co_filename).name}, line {trace.tb_lineno})"
