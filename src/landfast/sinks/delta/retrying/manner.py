"""How the pipeline's own attempts go about it: keys in order, fenced like a landing, each attempt written down."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from landfast.errors import Conflict
from landfast.model import Stream
from landfast.sinks.delta.landing.sink import DeltaSink
from landfast.sinks.delta.redrive.replay import Candidate, Manner, Outcome, Result, note_of
from landfast.sinks.delta.redrive.trail import Note
from landfast.sinks.delta.table.trail import DISCARDED, GIVEN_UP, RETRIED
from landfast.sinks.delta.table.view import View

FAILED = frozenset({Outcome.REFUSED, Outcome.UNCLEAR})
"""What counts as an attempt in vain."""
MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Attempt:
    """The next attempt of a letter: its number if it fails, and after how long another one follows; None where it is the last."""

    number: int
    delay_seconds: float | None


class OwnManner(Manner):
    """Of each key a letter lands after those before it have landed or are resolved, and only for whoever owns its stream.

    `attempts` holds, by the letters' ids, the attempts that are under way; `now` is the time of the calendar.
    """

    skipped = Outcome.SKIPPED

    def __init__(self, sink: DeltaSink) -> None:
        self._sink = sink
        self.attempts: dict[str, Attempt] = {}
        self.now = 0.0

    def check(self, view: View, streams: Collection[Stream]) -> None:
        """See that the streams are ours in the very view that the rows land after.

        Raises:
            Conflict: another owner has taken one over.
        """
        for stream in sorted(streams):
            if not self._sink.owns(view, stream):
                message = f"another owner has taken {stream} over; none of its letters was tried"
                raise Conflict("PIPELINE_CONFLICT", message, stream=stream, next_step="Nothing: the position is read again.")

    def behind(self, stuck: Sequence[Candidate], others: Sequence[Candidate]) -> list[Candidate]:
        """See `Manner.behind`: those of the same stream and key at a higher offset."""
        first: dict[tuple[Stream, bytes], int] = {}
        for one in stuck:
            key = one.letter["key"]
            if key is not None:
                name = (one.place.stream, key)
                first[name] = min(first.get(name, one.place.offset), one.place.offset)
        return [one for one in others if one.place.offset > first.get((one.place.stream, one.letter["key"]), one.place.offset)]

    def note(self, one: Candidate, result: Result) -> Note | None:
        """See `Manner.note`."""
        if result.outcome is Outcome.SKIPPED:
            return Note(one.letter, DISCARDED, why=f"the settings skip it by now: {result.reason}", digest=one.digest, edited=one.edited)
        if result.outcome not in FAILED:
            return note_of(one, result)
        attempt = self.attempts[one.letter["id"]]
        delay = attempt.delay_seconds
        return Note(
            one.letter,
            GIVEN_UP if delay is None else RETRIED,
            reason=result.reason or str(result.outcome),
            message=result.message,
            digest=one.digest,
            edited=one.edited,
            attempt=attempt.number,
            not_before=None if delay is None else round((self.now + delay) * MICROSECONDS),
        )
