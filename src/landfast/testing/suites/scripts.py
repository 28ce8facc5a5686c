"""Generated scripts: the same seed does the same things to two stores, and every answer can be compared.

    assert sink_answers(a_fake, seed) == sink_answers(the_real_one, seed)

A script goes on from what it was answered, so that two stores that agree are asked the same, and two that do not differ at once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from landfast.errors import LandfastError
from landfast.model import Halt, Position, Staged, Stream
from landfast.ports import Sink
from landfast.testing.suites.promises import Part
from landfast.testing.suites.sink_harness import A, B, SinkHarness, material_of
from landfast.testing.suites.source_harness import Draft, Reading, SourceHarness

Answers = list[str]
"""What was asked and what was answered, step by step."""

_VALUES = (b"row", b"row", b"bad", None)
_STREAMS = (A, B)


class SinkScript:
    """Some processes over one table, and what they do to each other."""

    def __init__(self, harness: SinkHarness, seed: int) -> None:
        self.answers: Answers = []
        self._harness = harness
        self._chance = random.Random(seed)
        self._sinks: list[Sink] = [harness.open_sink()]
        self._staged: list[tuple[Staged, ...]] = []
        self._stands: dict[Stream, Position] = {}
        self._deeds: tuple[Callable[[Sink], object], ...] = (
            self._land,
            self._land,
            self._land,
            self._land_again,
            self._take_over,
            self._take_over,
            self._positions,
            self._maintain,
            self._open,
        )

    def play(self, steps: int) -> Answers:
        """Do so many things, and look at all rows in the end."""
        for _ in range(steps):
            deed = self._chance.choice(self._deeds)
            number = self._chance.randrange(len(self._sinks))
            self._note(f"{number} {deed.__name__}", deed, self._sinks[number])
        rows = sorted(self._harness.landed())
        self.answers.append(f"rows {rows}")
        for sink in self._sinks:
            sink.close()
        return self.answers

    def _note(self, what: str, deed: Callable[[Sink], object], sink: Sink) -> None:
        try:
            answer = deed(sink)
        except LandfastError as error:
            answer = f"{type(error).__name__} {error.code}"
        self.answers.append(f"{what}: {answer}")

    def _open(self, _: Sink) -> str:
        self._sinks.append(self._harness.open_sink())
        return f"{len(self._sinks)} sinks"

    def _positions(self, sink: Sink) -> str:
        return self._told(sink.positions(_STREAMS))

    def _take_over(self, sink: Sink) -> str:
        return self._told(sink.take_over(self._some()))

    def _maintain(self, sink: Sink) -> str:
        sink.maintain(1.0)
        return "done"

    def _land(self, sink: Sink) -> str:
        """One batch, or two that follow each other, mostly where the streams stand."""
        batches = [self._parts() for _ in range(self._chance.choice([1, 1, 2]))]
        self._staged.append(tuple(sink.stage(material_of(self._harness).batch(number, *parts)) for number, parts in enumerate(batches, 1)))
        return self._commit(sink, self._staged[-1])

    def _land_again(self, sink: Sink) -> str:
        """What was staged before, by whoever: it is stale, or it conflicted and does so no more."""
        return self._commit(sink, self._chance.choice(self._staged)) if self._staged else "nothing"

    def _commit(self, sink: Sink, staged: Sequence[Staged]) -> str:
        try:
            receipt = sink.commit(staged)
        except LandfastError:
            self._told(sink.positions(_STREAMS))
            raise
        self._told(sink.positions(_STREAMS))
        return f"{receipt.rows} rows, {[(span.stream.partition, span.start, span.end) for span in receipt.spans]}, {self._stands}"

    def _parts(self) -> list[Part]:
        parts = []
        for stream in self._some():
            position = self._stands.get(stream)
            start = (position or 0) + self._chance.choice([0] * 10 + [1, -1 if position else 0])
            first = (position is None) != (self._chance.random() < 1 / 20)
            values = [self._value(start + index) for index in range(self._chance.randint(0, 3))]
            # A span moves its stream: only the first may do so without a single offset.
            end = start + len(values) + (self._chance.choice([0, 0, 2]) if values or first else 1)
            parts.append(Part(stream, start, values, end, first=first))
            self._stands[stream] = end
        return parts

    def _value(self, offset: int) -> bytes | None:
        kind = self._chance.choice(_VALUES)
        return None if kind is None else b"%s %d" % (kind, offset)

    def _some(self) -> Collection[Stream]:
        return self._chance.sample(_STREAMS, k=self._chance.randint(1, len(_STREAMS)))

    def _told(self, positions: Mapping[Stream, Position | Halt | None]) -> str:
        for stream, position in positions.items():
            if isinstance(position, int):
                self._stands[stream] = position
            else:
                self._stands.pop(stream, None)
        return str(sorted((stream.partition, str(position)) for stream, position in positions.items()))


def sink_answers(harness: SinkHarness, seed: int, steps: int = 40) -> Answers:
    """What a sink answers to the script of a seed."""
    return SinkScript(harness, seed).play(steps)


class LogHarness(SourceHarness, Protocol):
    """A log that can also be written in transactions."""

    def transact(self, stream: Stream, records: Sequence[Draft], *, committed: bool) -> None:
        """Write these records in a transaction that is committed or aborted."""


class LogScript:
    """A log that is written and cut, and one reader that goes to and fro in it."""

    def __init__(self, harness: LogHarness, seed: int) -> None:
        self.answers: Answers = []
        self._harness = harness
        self._chance = random.Random(seed)
        self._streams = harness.streams()

    def play(self, steps: int) -> Answers:
        """Do so many things; whatever is there is read after each of them that changes where reading begins."""
        deeds = (self._produce, self._produce, self._transact, self._abort, self._expire, self._read_again, self._read_on)
        with Reading(self._harness, dict.fromkeys(self._streams, 0)) as reading:
            reading.until(lambda: set(reading.started) == set(self._streams), "both streams are there")
            for _ in range(steps):
                deed, stream = self._chance.choice(deeds), self._chance.choice(self._streams)
                self.answers.append(f"{deed.__name__} {stream.partition}: {deed(reading, stream)}, {self._harness.bounds(stream)}")
            for stream in self._streams:
                self.answers.append(f"{stream.partition}: {self._read_again(reading, stream)}")
        return self.answers

    def _drafts(self) -> list[Draft]:
        return [
            Draft(
                self._chance.choice([b"value %d" % number, b"", None]),
                self._chance.choice([None, b"key"]),
                self._chance.choice([(), (("name", b"1"), ("name", None))]),
                1_700_000_000_000 + self._chance.randrange(10**6),
            )
            for number in range(self._chance.randint(1, 4))
        ]

    def _produce(self, _: Reading, stream: Stream) -> object:
        return self._harness.produce(stream, self._drafts())

    def _transact(self, _: Reading, stream: Stream) -> object:
        self._harness.transact(stream, self._drafts(), committed=True)
        return "committed"

    def _abort(self, _: Reading, stream: Stream) -> object:
        self._harness.transact(stream, self._drafts(), committed=False)
        return "aborted"

    def _expire(self, reading: Reading, stream: Stream) -> object:
        """Read to the end first: what expires before it is read halts the reader, which other checks look at."""
        self._read_on(reading, stream)
        bounds = self._harness.bounds(stream)
        first = self._chance.randint(bounds.first, bounds.end)
        self._harness.expire(stream, first)
        return first

    def _read_again(self, reading: Reading, stream: Stream) -> object:
        """From any place that is there to the end."""
        bounds = self._harness.bounds(stream)
        reading.rewind(stream, self._chance.randint(bounds.first, bounds.end))
        return self._read_on(reading, stream)

    def _read_on(self, reading: Reading, stream: Stream) -> object:
        end = self._harness.bounds(stream).end
        reading.until(lambda: reading.reached.get(stream, -1) >= end, f"{stream} is read to {end}")
        found = list(zip(reading.offsets(stream), reading.drafts(stream), strict=True))
        return f"reached {reading.reached[stream]}: {found}"


def log_answers(harness: LogHarness, seed: int, steps: int = 15) -> Answers:
    """What a log and its reader answer to the script of a seed."""
    return LogScript(harness, seed).play(steps)
