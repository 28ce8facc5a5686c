"""Pure bookkeeping of spans per stream: what is settled, what is safe, and whether the equation holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from landfast.errors import ErrorClass, check
from landfast.model import Position, Span, Stream, Totals


class Ledger:
    """What the sink holds of each stream, as its receipts say, and what became of the records.

    `safe` is the only number that may be told to a broker: it never exceeds what the sink holds durably.

    batches  that have landed
    retries  how often something was tried again, by the class of what it had failed with
    """

    def __init__(self) -> None:
        self.batches = 0
        self.retries: Counter[ErrorClass] = Counter()
        self._positions: dict[Stream, Position | None] = {}
        self._totals: dict[Stream, Totals] = {}

    def open(self, stream: Stream, position: Position | None) -> None:
        """Begin at the position the sink gave; whatever was believed before is forgotten."""
        self._positions[stream] = position
        self._totals.setdefault(stream, Totals())

    def close(self, stream: Stream) -> None:
        """The stream is no longer ours; its totals stay for the report."""
        self._positions.pop(stream, None)

    def settle(self, span: Span) -> None:
        """Take in a span that has landed.

        Raises:
            Broken: the span does not balance, or it does not begin where the stream stands.
        """
        check(balanced(span), f"read {span.read} is not written {span.written} + dead {span.dead} + skipped", stream=span.stream)
        check(span.stream in self._positions, "a span landed of a stream that is not ours", stream=span.stream, position=span.start)
        position = self._positions[span.stream]
        expected = position is None if span.first else position == span.start
        check(expected, f"a span that starts at {span.start} landed on position {position}", stream=span.stream, position=span.start)
        self._positions[span.stream] = span.end
        self.count(span)

    def count(self, span: Span) -> None:
        """Take in a span that landed after its stream was let go: it counts, and the position is asked of the sink again."""
        self._totals[span.stream] = self._totals.get(span.stream, Totals()).plus(span)

    def safe(self, stream: Stream) -> Position | None:
        """The durable position, or None while there is none."""
        return self._positions.get(stream)

    def totals(self) -> Mapping[Stream, Totals]:
        """What became of the records of each stream, since the ledger began."""
        return dict(self._totals)


def balanced(span: Span) -> bool:
    """Whether `read = written + dead + skipped`, with no negative count and a range that can hold the records."""
    counts = (span.read, span.written, span.dead, *span.skipped.values())
    return (
        min(counts) >= 0
        and span.read == span.written + span.dead + sum(span.skipped.values())
        and span.start <= span.end
        and span.read <= span.end - span.start
    )


def total(parts: Iterable[Totals]) -> Totals:
    """The sum over streams."""
    result = Totals()
    for part in parts:
        result = result.plus(part)
    return result
