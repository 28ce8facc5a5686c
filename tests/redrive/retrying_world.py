"""A table with letters that are tried again by themselves, and processes that do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from landfast import wiring
from landfast.config import load
from landfast.model import Letter, Stream
from landfast.sinks.delta import DeltaSink, TableHome
from landfast.sinks.delta.retrying.retries import DeltaRetries
from tests.redrive.letters_world import QUOTED, Scene
from tests.sinks.delta_proof import LANE, land, letter, made
from tests.sinks.delta_world import DeltaWorld, QuickClock, world_at

DELAYS = (60.0, 600.0)
GOOD_VALUE = b'{"number": 1}'
KEY = b"one"


class Ahead(QuickClock):
    """Real time, some seconds ahead."""

    seconds = 0.0

    def now(self) -> float:
        """See `ports.Clock`."""
        return time.time() + self.seconds

    def monotonic(self) -> float:
        """See `ports.Clock`."""
        return time.monotonic() + self.seconds


@dataclass
class Worker:
    """A process that owns the streams it has opened with."""

    home: TableHome
    sink: DeltaSink
    retries: DeltaRetries

    def buried(self, *letters: Letter, end: int | None = None) -> Worker:
        """Bury these letters, and land what of their streams comes before and after them, up to `end`."""
        self.retries.put(letters)
        for lane in sorted({one.stream for one in letters}):
            dead = {one.offset for one in letters if one.stream == lane}
            last = end or max(dead) + 1
            land(self.sink, made(lane, range(last), last, dead=dead, first=True))
        return self

    def round(self, *streams: Stream, ahead: float = 0.0) -> tuple[int, int, int]:
        """One round, after so much time has passed: how many landed, were refused, and were given up."""
        clock: Any = self.home.clock
        clock.seconds += ahead
        came = self.retries.retry(streams or (LANE,), 60.0)
        return came.landed, came.refused, came.given_up

    def waits(self, stream: Stream = LANE) -> int:
        """How many letters wait, read anew."""
        return self.retries.waiting([stream])[stream].records


def failed(offset: int, value: bytes | None = QUOTED, key: bytes | None = KEY, *, lane: Stream = LANE, **changes: Any) -> Letter:
    """A letter that is to be tried again: its record failed just now, or waits behind another one."""
    return replace(letter(lane, offset), value=value, key=key, failed_at=time.time(), later=True, **changes)


def behind(offset: int, value: bytes | None = GOOD_VALUE, key: bytes | None = KEY, *, lane: Stream = LANE) -> Letter:
    """A letter whose record waits behind another one of its key."""
    return failed(offset, value, key, lane=lane, phase="wait", reason="behind_retry", attempts=0)


def worker(
    scene: Scene, run_id: str = "run-1", streams: Sequence[Stream] = (LANE,), *, world: DeltaWorld | None = None, **settings: Any
) -> Worker:
    """A process over the table of a scene, with the decoder of its settings, that has taken these streams over."""
    home = (world or scene.world).home(run_id, **settings)
    sink = DeltaSink(home)
    decoder = wiring.decoder_of(load(scene.file).routes[0].decode, sink.schema)
    retries = DeltaRetries(home, sink, decoder, DELAYS)
    retries.claim(streams)
    sink.take_over(streams)
    retries.waiting(streams)
    return Worker(home, sink, retries)


def ahead_world(folder: Path) -> DeltaWorld:
    """A table whose time a test can let pass."""
    return replace(world_at(folder), clock=Ahead())
