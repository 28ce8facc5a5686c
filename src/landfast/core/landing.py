"""Batches in flight, and the one act that lands them: letters first, then the commit, then the receipt checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from landfast.core.prepare import Prepared, Work
from landfast.core.verify import check_receipt
from landfast.errors import Broken, Unavailable
from landfast.model import Letter, Position, Receipt, Stream
from landfast.ports import DeadLetters, Sink


@dataclass(slots=True)
class InFlight:
    """A batch between its cut and its receipt; owned by the main thread, but for `letters_buried` while it is being landed.

    `counted`: the breaker has seen its deaths. `stale`: a record of it fails whose key was not held when it was cut, so it must not land.

    `work` is dropped as soon as the batch is prepared: from then on its records are in the sink's staged form, or in letters.
    """

    number: int
    ends: Mapping[Stream, Position]
    records: Mapping[Stream, int]
    started_at: float
    work: Work | None
    future: Future[Prepared] | None = None
    prepared: Prepared | None = None
    letters_buried: bool = False
    counted: bool = False
    stale: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        held = self.prepared or self.work
        return 0 if held is None else held.nbytes


def in_flight(work: Work, now: float) -> InFlight:
    """A batch that was cut now."""
    ends = {cut.stream: cut.end for cut in work.cuts}
    return InFlight(work.number, ends, {cut.stream: cut.records for cut in work.cuts}, now, work)


@dataclass(frozen=True, slots=True)
class Landed:
    """What came of a landing: the receipt, and the letters that were buried by it."""

    receipt: Receipt
    letters: tuple[Letter, ...]


def land(group: Sequence[InFlight], sink: Sink, dead_letters: DeadLetters) -> Landed:
    """Bury the letters, then commit the batches in one act. Runs on the committer thread; safe to repeat after Unavailable.

    Raises:
        Conflict, Rejected, Unavailable, Broken: as the sink and the dead letters do.
    """
    letters: list[Letter] = []
    for item in group:
        if not item.letters_buried:
            letters.extend(_prepared(item).letters)
    # Dead before passed: no commit moves a position over a record whose letter is not durable.
    if letters:
        try:
            dead_letters.put(letters)
        except Unavailable as error:
            message = f"the dead letters cannot be written ({error.code}): {error.message}"
            raise Unavailable("DLQ_DOWN", message, kind=error.kind, next_step=error.next_step) from error
    for item in group:
        item.letters_buried = True
    staged = [_prepared(item).staged for item in group]
    receipt = sink.commit(staged)
    check_receipt(receipt, staged)
    return Landed(receipt, tuple(letters))


def _prepared(item: InFlight) -> Prepared:
    if item.prepared is None:
        raise Broken("INVARIANT_BROKEN", f"batch {item.number} was to be landed before it was prepared")
    return item.prepared
