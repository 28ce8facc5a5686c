"""A small world for tests of letters that are tried again: one stream whose records have keys."""

from __future__ import annotations

from collections.abc import Callable

from landfast.core.batching import BatchLimits
from landfast.core.breaker import BreakerLimits
from landfast.core.pieces import PieceLimits
from landfast.core.report import RunReport
from landfast.core.retry import RetryPolicy
from landfast.core.route import FlowLimits, Later
from landfast.model import Letter
from landfast.ports import Retries
from landfast.testing.memory import (
    LineDecoder,
    MemoryRetries,
    MemoryRetriesSettings,
    MemorySink,
    MemorySource,
    RecordingObserver,
)
from tests.core.rig import Rig

DELAYS = (10.0, 20.0)


class MendedDecoder(LineDecoder):
    """Takes what it refused, once it is mended."""

    def mend(self) -> None:
        """From now on nothing is refused."""
        self.rejected = ()


class Shop:
    """A rig with one stream, whose records have keys, and letters that are tried again."""

    def __init__(self, later: Later | None = None, batch_records: int = 100, **limits: object) -> None:
        flow = FlowLimits(
            batch=BatchLimits(records_max=batch_records, seconds_max=0.5),
            piece=PieceLimits(records_max=2),
            breaker=BreakerLimits(share_max=1.0),
            retry=RetryPolicy(wait_seconds_first=1.0, total_seconds_max=30.0),
            later=later or Later(),
            **limits,  # type: ignore[arg-type]
        )
        self.rig = Rig(partitions=1, limits=flow)
        self.stream = self.rig.streams[0]
        self.decoder = MendedDecoder()
        self.observer: RecordingObserver = self.rig.observer

    def write(self, *records: tuple[bytes | None, bytes | None]) -> None:
        """Append these keys and values."""
        for key, value in records:
            self.rig.log.append("t", 0, value, key=key)

    def retries(self) -> MemoryRetries:
        """What tries letters again in another process."""
        return MemoryRetries(self.rig.store, self.rig.table, self.decoder, self.rig.clock, MemoryRetriesSettings(DELAYS))

    def run(
        self,
        seconds: float,
        *deeds: tuple[float, Callable[[], object]],
        letters: MemoryRetries | None = None,
        retries: Retries | None = None,
        sink: MemorySink | None = None,
        source: MemorySource | None = None,
    ) -> RunReport:
        """Run a process for so many seconds, and let deeds happen in them, each after so many."""
        theirs = letters or self.retries()
        runner = self.rig.runner(self.rig.route(sink, theirs, self.decoder, retries=retries or theirs), source=source)
        clock, began, left = self.rig.clock, self.rig.clock.monotonic(), sorted(deeds, key=lambda deed: deed[0])

        def go_on() -> None:
            now = clock.monotonic() - began
            while left and left[0][0] <= now:
                left.pop(0)[1]()
            if now >= seconds:
                runner.stop()

        clock.during_sleep = go_on
        try:
            return runner.run()
        finally:
            clock.during_sleep = None

    @property
    def landed(self) -> list[int]:
        """Offsets of rows, in the order landed."""
        return self.rig.landed(self.stream)

    @property
    def letters(self) -> dict[int, Letter]:
        """All letters, by their offsets; each is there once."""
        letters = {letter.offset: letter for letter in self.rig.store.letters}
        assert len(letters) == len(self.rig.store.letters)
        return letters

    @property
    def open(self) -> list[int]:
        """The letters that nothing became of."""
        return sorted(self.letters.keys() - {offset for _, offset in self.rig.table.snapshot().resolved})


def self_ended(shop: Shop) -> RunReport:
    """A bounded run."""
    retries = shop.retries()
    return shop.rig.land(shop.rig.route(letters=retries, decoder=shop.decoder, retries=retries))
