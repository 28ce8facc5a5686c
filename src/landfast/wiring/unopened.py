"""What stands in a route's place when its table cannot be used: nothing of it is ever read, decoded or landed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NoReturn

from landfast.errors import LandfastError
from landfast.model import Batch, Chunk, Decoded, Guarantee, Halt, Letter, Position, Receipt, Staged, Stream


class Unopened:
    """The decoder, sink and dead letters of a route that is broken from the start: each call raises why."""

    def __init__(self, error: LandfastError, guarantee: Guarantee) -> None:
        self.guarantee = guarantee
        self._error = error

    def _refuse(self) -> NoReturn:
        raise self._error

    def decode(self, chunk: Chunk) -> Decoded:
        """See `ports.Decoder`."""
        self._refuse()

    def positions(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """See `ports.Sink`."""
        self._refuse()

    def take_over(self, streams: Collection[Stream]) -> Mapping[Stream, Position | Halt | None]:
        """See `ports.Sink`."""
        self._refuse()

    def stage(self, batch: Batch) -> Staged:
        """See `ports.Sink`."""
        self._refuse()

    def commit(self, staged: Sequence[Staged]) -> Receipt:
        """See `ports.Sink`."""
        self._refuse()

    def maintain(self, budget_seconds: float) -> None:
        """See `ports.Sink`."""
        self._refuse()

    def claim(self, streams: Collection[Stream]) -> None:
        """See `ports.DeadLetters`."""
        self._refuse()

    def put(self, letters: Sequence[Letter]) -> None:
        """See `ports.DeadLetters`."""
        self._refuse()

    def buried(self, stream: Stream, start: Position) -> AbstractSet[int]:
        """See `ports.DeadLetters`."""
        self._refuse()

    def close(self) -> None:
        """See `ports.Sink`: there is nothing to let go of."""
