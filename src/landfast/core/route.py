"""What a flow is made of, and what bounds it: plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from landfast.core.batching import BatchLimits
from landfast.core.breaker import BreakerLimits
from landfast.core.pieces import PieceLimits
from landfast.core.retry import RetryPolicy
from landfast.core.upkeep import UpkeepLimits
from landfast.errors import ErrorClass
from landfast.ports import Clock, DeadLetters, Decoder, Executor, Observer, Retries, Sink


@dataclass(frozen=True, slots=True)
class Later:
    """Which letters are tried again by themselves, and how many may wait.

    reasons              of the letters that are; None: all of them
    waiting_records_max  when so many letters of the route wait, it reads no more until a tenth fewer do
    attempts_seconds_max the budget of one round of attempts: landings wait for it
    """

    reasons: frozenset[str] | None = None
    waiting_records_max: int = 10_000
    attempts_seconds_max: float = 2.0


@dataclass(frozen=True, slots=True)
class FlowLimits:
    """What bounds a flow.

    retry               how patient to be with what may pass
    retry_by_class      how patient to be with these classes of errors, in place of `retry`
    flight_batches_max  batches cut and not landed
    conflicts_max       conflicts in a row, without a landing between, before the lanes halt as PIPELINE_DUPLICATE
    later               which letters are tried again by themselves, where the route has `retries`
    """

    batch: BatchLimits = field(default_factory=BatchLimits)
    piece: PieceLimits = field(default_factory=PieceLimits)
    breaker: BreakerLimits = field(default_factory=BreakerLimits)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    retry_by_class: Mapping[ErrorClass, RetryPolicy] = field(default_factory=dict)
    flight_batches_max: int = 3
    conflicts_max: int = 10
    upkeep: UpkeepLimits = field(default_factory=UpkeepLimits)
    later: Later = field(default_factory=Later)


@dataclass(frozen=True, slots=True)
class Route:
    """Which topics go to which sink, with their own decoder, dead letters and limits: what one flow works on.

    `retries`: letters are tried again by themselves, as `limits.later` says. None: all of them wait for people.
    """

    name: str
    takes: Callable[[str], bool]
    decoder: Decoder
    sink: Sink
    dead_letters: DeadLetters
    limits: FlowLimits = field(default_factory=FlowLimits)
    retries: Retries | None = None


def every_topic(_topic: str) -> bool:
    """What the only route of a run takes."""
    return True


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a flow takes from outside.

    pool, committer   its own: a store that hangs in one flow's calls must not keep the threads from another
    memory_bytes_max  its share: while it holds more it reads nothing and cuts what it has, until half of it is free again
    next_epoch        the one counter of epochs that all flows share
    """

    clock: Clock
    pool: Executor
    committer: Executor
    observer: Observer
    jitter: Callable[[], float]
    next_epoch: Callable[[], int]
    memory_bytes_max: int
