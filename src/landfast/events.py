"""What happens, as frozen values: the one list from which logs, metrics, progress bars and the event reference are made.

An event carries numbers and names, never a record's content and never a secret.
"""

from __future__ import annotations

from dataclasses import dataclass

from landfast.model import Halt, Position, Receipt, Span, Stream, Totals


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events. `flow` names the route it belongs to; empty where it concerns the whole run."""

    flow: str


@dataclass(frozen=True, slots=True)
class OpeningBegan(Event):
    """The start asks for something outside, such as brokers or a table, and waits for it for at most `seconds_max`."""

    target: str
    seconds_max: float


@dataclass(frozen=True, slots=True)
class StopAsked(Event):
    """The command was asked to stop: what was read lands within `seconds_max`."""

    seconds_max: float


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A run begins."""

    run_id: str
    guarantee: str


@dataclass(frozen=True, slots=True)
class RunEnded(Event):
    """A run ended; the equation of what it landed."""

    run_id: str
    outcome: str
    totals: Totals
    seconds: float


@dataclass(frozen=True, slots=True)
class StreamGained(Event):
    """A stream was assigned to us; reading starts at `position` (None: by the source's start setting)."""

    stream: Stream
    position: Position | None
    epoch: int


@dataclass(frozen=True, slots=True)
class StreamLost(Event):
    """A stream went to another owner. `abandoned` records were read and not landed: the next owner reads them again."""

    stream: Stream
    abandoned: int
    drained: bool


@dataclass(frozen=True, slots=True)
class RecordsRead(Event):
    """Records arrived from the source."""

    stream: Stream
    records: int
    nbytes: int
    position: Position


@dataclass(frozen=True, slots=True)
class StaleDropped(Event):
    """Something carried an old epoch and was discarded."""

    stream: Stream
    records: int


@dataclass(frozen=True, slots=True)
class BatchCut(Event):
    """A batch was cut and handed to the pool."""

    number: int
    records: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class BatchPrepared(Event):
    """A batch was decoded and staged."""

    number: int
    rows: int
    seconds: float


@dataclass(frozen=True, slots=True)
class LettersBuried(Event):
    """Dead letters are durable. `reasons` maps a reason to a count, as sorted pairs."""

    letters: int
    reasons: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class LettersRetried(Event):
    """A round of attempts on dead letters has ended: so many landed, failed again and go on waiting, or failed for the last time."""

    landed: int
    refused: int
    given_up: int


@dataclass(frozen=True, slots=True)
class LettersWaiting(Event):
    """So many dead letters wait to be tried again; later records of so many keys wait behind them. At `letters_max` nothing is read."""

    letters: int
    keys: int
    letters_max: int


@dataclass(frozen=True, slots=True)
class BatchLanded(Event):
    """A commit is durable, together with the positions of its streams."""

    receipt: Receipt
    batches: int


@dataclass(frozen=True, slots=True)
class ServiceCalled(Event):
    """A service's function came back. `outcome` is finished, refused (records that it cannot take) or failed (for now, or for good).

    More than one call per batch is a batch that failed and was tried again, or one that is halved to find the records it refuses.
    """

    records: int
    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ConflictMet(Event):
    """The fence held: our commit was refused because the position had moved. Everything in flight was forgotten."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class RetryScheduled(Event):
    """An act failed for now and will be tried again in `wait_seconds`."""

    code: str
    kind: str
    attempt: int
    wait_seconds: float
    message: str


@dataclass(frozen=True, slots=True)
class LaneHalted(Event):
    """A lane stopped and says why; the others go on."""

    stream: Stream
    position: Position | None
    halt: Halt


@dataclass(frozen=True, slots=True)
class LaneProgress(Event):
    """Where a lane stands: `landed` is the durable position, `end` the source's end where it is known."""

    stream: Stream
    landed: Position | None
    end: Position | None
    held: bool


@dataclass(frozen=True, slots=True)
class MemoryHeld(Event):
    """What a flow holds in memory right now: bytes read and not yet landed, of at most `nbytes_max`, and batches in flight.

    At `nbytes_max`, or while too many decodings wait (`undecoded`), the flow reads nothing.
    """

    nbytes: int
    batches: int
    undecoded: int
    nbytes_max: int


@dataclass(frozen=True, slots=True)
class OutcomeResolved(Event):
    """A commit's answer was lost or unclear, and reading the position back said which it was."""

    landed: bool
    message: str
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Maintained(Event):
    """Maintenance did something: checkpoint, clean-up, compaction, sweep."""

    act: str
    files: int
    nbytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Notice(Event):
    """Something the operator should see, by its stable code: a broker that does not answer, a setting without effect."""

    code: str
    message: str
    severity: str = "warning"
