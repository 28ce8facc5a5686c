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
from landfast.ports import Clock, DeadLetters, Decoder, Executor, Observer, Sink


@dataclass(frozen=True, slots=True)
class FlowLimits:
    """What bounds a flow.

    retry               how patient to be with what may pass
    retry_by_class      how patient to be with these classes of errors, in place of `retry`
    flight_batches_max  batches cut and not landed
    conflicts_max       conflicts in a row, without a landing between, before the lanes halt as PIPELINE_DUPLICATE
    """

    batch: BatchLimits = field(default_factory=BatchLimits)
    piece: PieceLimits = field(default_factory=PieceLimits)
    breaker: BreakerLimits = field(default_factory=BreakerLimits)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    retry_by_class: Mapping[ErrorClass, RetryPolicy] = field(default_factory=dict)
    flight_batches_max: int = 3
    conflicts_max: int = 10
    upkeep: UpkeepLimits = field(default_factory=UpkeepLimits)


@dataclass(frozen=True, slots=True)
class Route:
    """Which topics go to which sink, with their own decoder, dead letters and limits: what one flow works on."""

    name: str
    takes: Callable[[str], bool]
    decoder: Decoder
    sink: Sink
    dead_letters: DeadLetters
    limits: FlowLimits = field(default_factory=FlowLimits)


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
