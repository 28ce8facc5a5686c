"""Dead letters become rows, at the places in the log that they come from.

A replayed row is its own proof. Before an entry is put after a version of the table, the rows of that very version are looked at, and what
is there is left out; where somebody else has made the next version, its rows are looked at too. So a replay that is killed anywhere, or
repeated, or run twice at once, lands each letter once, and no second table has to be kept in step for it: the resolution in the trail is
written after the row is there, and a replay that finds the row without it writes just that.

No position moves. A pipeline that runs meanwhile meets a commit of another at most, as it does where two of its workers share a table.
"""

from __future__ import annotations

import enum
import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from landfast.errors import Broken, Halted, Misconfigured, Rejected, Unavailable, check
from landfast.model import TIMESTAMP_ABSENT, Batch, Chunk, Decoded, Span, Stream
from landfast.ports import Decoder
from landfast.sinks.delta.errors import mapped
from landfast.sinks.delta.files.parquet import DataFile
from landfast.sinks.delta.files.staged import first_gone
from landfast.sinks.delta.landing.partitions import parts_of
from landfast.sinks.delta.landing.retries import wait_seconds
from landfast.sinks.delta.landing.rows import MICROSECONDS, aligned, as_table
from landfast.sinks.delta.landing.sink import DeltaSink
from landfast.sinks.delta.log.app_ids import position_app_id
from landfast.sinks.delta.log.replays import replay_metadata
from landfast.sinks.delta.proof.acts import Dealings
from landfast.sinks.delta.proof.coordinates import Coordinates, coordinates_of
from landfast.sinks.delta.proof.letters import Row, size_of
from landfast.sinks.delta.redrive.presence import Presence
from landfast.sinks.delta.redrive.trail import Note, Trail
from landfast.sinks.delta.table.columns import column_conflicts
from landfast.sinks.delta.table.home import TableHome
from landfast.sinks.delta.table.trail import REFUSED, REPLAYED
from landfast.sinks.delta.table.view import View


class Outcome(enum.StrEnum):
    """What becomes of one letter."""

    LANDED = "landed"
    """Its row is in the table now."""
    ALREADY = "already there"
    """Its row was in the table; only the resolution was missing."""
    DISCARDED = "discarded"
    """It is not to land: what a discarding comes to, and never a replay."""
    REFUSED = "refused"
    """It cannot land with these bytes and these settings either. It stays open."""
    LEFT = "left"
    """The function that was to mend it left it as it is, or failed. It stays open."""
    WAITING = "waiting"
    """Its batch has not landed yet, so nobody can say whether it will stay a letter. It stays open."""
    UNCLEAR = "unclear"
    """A row of another incarnation of its topic has its place and time: nobody can tell whose it is. It stays open."""
    RESOLVED = "resolved"
    """It was replayed or discarded before, or meanwhile."""


OPEN_STILL = frozenset({Outcome.REFUSED, Outcome.LEFT, Outcome.WAITING, Outcome.UNCLEAR})
"""What leaves a letter open."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a replay came to for one letter: the words say why, and never show a value. `version` holds the row."""

    letter: Row
    outcome: Outcome
    reason: str = ""
    message: str = ""
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A letter to replay, and the bytes that are its value now."""

    letter: Row
    value: bytes | None
    edited: bool

    @property
    def place(self) -> Coordinates:
        """Where it comes from."""
        return coordinates_of(self.letter)

    @property
    def digest(self) -> str | None:
        """The SHA-256 of the bytes; None where there are none."""
        return None if self.value is None else hashlib.sha256(self.value).hexdigest()


def groups(candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """The candidates in runs of which none holds letters of two incarnations of one topic: their rows could not be told apart."""
    group: list[Candidate] = []
    seen: dict[tuple[str, int], str] = {}
    for one in candidates:
        place = one.place
        if seen.setdefault((place.topic, place.partition), place.topic_id) != place.topic_id:
            yield group
            group, seen = [], {(place.topic, place.partition): place.topic_id}
        group.append(one)
    if group:
        yield group


class Replay:
    """Lands letters in one table. For one thread."""

    def __init__(self, home: TableHome, sink: DeltaSink, decoder: Decoder, trail: Trail) -> None:
        self._home = home
        self._sink = sink
        self._decoder = decoder
        self._trail = trail

    def run(self, candidates: Sequence[Candidate], *, dry: bool = False) -> Iterator[Result]:
        """Land these, in the order given, which is that of their offsets; what came of each. With `dry`, only say what would.

        Raises:
            Unavailable: the store does not answer, or others were faster each time. Running it again is safe and goes on where it ended.
            Halted: the table's rows were replaced under the positions, or the rows belong to too many partitions.
            Broken: the table is damaged or does not take its rows any more.
            Misconfigured: the table holds one row per key.
        """
        if self._home.settings.upsert is not None:
            # Whether a letter has landed is told by its row, and there a row may have made way since.
            message = "the table holds one row per key, and letters of such a table cannot be replayed; nothing was written"
            next_step = "Produce the mended records to the topic again, then discard the letters."
            raise Misconfigured("REPLAY_UNSUPPORTED", message, next_step=next_step)
        for group in groups(candidates):
            yield from self._dry(group) if dry else self._landed(group)

    def _landed(self, group: Sequence[Candidate]) -> list[Result]:
        results = {result.letter["id"]: result for result in self._land(group)}
        notes = [note for one in group if (note := _note(one, results[one.letter["id"]])) is not None]
        for name, dealings in self._trail.write(notes).items():
            if results[name].outcome is not Outcome.REFUSED:
                results[name] = _after_all(results[name], dealings)
        return [results[one.letter["id"]] for one in group]

    def _land(self, group: Sequence[Candidate]) -> list[Result]:
        """Put the rows that are not there yet after the very version in which they are not."""
        home, presence = self._home, Presence(self._home, [one.letter for one in group])
        staged: tuple[DataFile, ...] | None = None
        left: list[Candidate] = list(group)
        results: list[Result] = []
        for attempt in range(home.settings.commit_attempts_max):
            if attempt:
                home.clock.sleep(wait_seconds(attempt))
            view = self._opened()
            with mapped("looking for rows that are there already"):
                told, rest = self._looked_up(view, presence, left)
            results += told
            if staged is None or len(rest) != len(left):
                refused, rest, staged = self._staged(rest)
                results += refused
            left = rest
            if not left:
                return results
            with mapped("committing replayed rows"):
                gone = first_gone(home.files, staged)
                check(gone is None, f"a file that was written for this replay is gone: {gone and gone.path}", code="STAGED_FILE_GONE")
                version = view.version + 1
                said = replay_metadata(home.run.id, [(one.place.stream, one.place.offset) for one in left])
                if home.put(view, said, {}, staged):
                    return results + [Result(one.letter, Outcome.LANDED, version=version) for one in left]
        message = f"other writers changed the table during each of {home.settings.commit_attempts_max} attempts to replay letters"
        raise Unavailable(
            "COMMIT_CONFLICT", message, kind="conflict", next_step="Run the replay again: what has landed is not landed twice."
        )

    def _dry(self, group: Sequence[Candidate]) -> list[Result]:
        view = self._opened()
        with mapped("looking for rows that are there already"):
            results, rest = self._looked_up(view, Presence(self._home, [one.letter for one in group]), group)
        refused, rest, _ = self._staged(rest, write=False)
        landing = [Result(one.letter, Outcome.LANDED) for one in rest]
        by_id = {result.letter["id"]: result for result in (*results, *refused, *landing)}
        return [by_id[one.letter["id"]] for one in group]

    def _opened(self) -> View:
        view = self._home.open()
        halt = self._home.lineage_halt
        if halt is not None:
            raise Halted(halt.code, halt.message, next_step=halt.next_step)
        for conflict in column_conflicts(view.handle, self._home.settings, None):
            raise Broken(conflict.code, conflict.message, next_step=conflict.next_step)
        return view

    def _looked_up(self, view: View, presence: Presence, group: Sequence[Candidate]) -> tuple[list[Result], list[Candidate]]:
        """What this view says of the letters, and those that may land after it."""
        results: list[Result] = []
        rest: list[Candidate] = []
        there = presence.of(view)
        unclear = presence.unclear(view, there)
        passed = {stream: self._position(view, stream) for stream in {one.place.stream for one in group}}
        for one in group:
            if one.place in unclear:
                message = "another incarnation of the topic has a row at this place, of the same time: nobody can tell whose it is"
                results.append(Result(one.letter, Outcome.UNCLEAR, message=message))
            elif one.place in there:
                results.append(Result(one.letter, Outcome.ALREADY, version=view.version))
            elif one.place.offset >= passed[one.place.stream]:
                message = "the batch that it was buried for has not landed yet: replay it once the pipeline is past it"
                results.append(Result(one.letter, Outcome.WAITING, message=message))
            else:
                rest.append(one)
        return results, rest

    def _position(self, view: View, stream: Stream) -> int:
        return view.transaction_version(position_app_id(self._home.pipeline_id, stream)) or 0

    def _staged(self, group: Sequence[Candidate], *, write: bool = True) -> tuple[list[Result], list[Candidate], tuple[DataFile, ...]]:
        """Those that cannot land, those that can, and the files of these."""
        results: list[Result] = []
        rest = list(group)
        while rest:
            refused, decoded = self._decoded(rest)
            if not refused:
                try:
                    return results, rest, self._written(decoded) if write else self._checked(decoded)
                except Rejected as error:
                    refused = {(one.stream, one.offset): (one.reason, one.message) for one in error.refusals}
            results += [Result(one.letter, Outcome.REFUSED, *refused[_key(one)]) for one in rest if _key(one) in refused]
            kept = [one for one in rest if _key(one) not in refused]
            check(len(kept) < len(rest), "rows were refused that are none of those to replay")
            rest = kept
        return results, [], ()

    def _decoded(self, group: Sequence[Candidate]) -> tuple[dict[tuple[Stream, int], tuple[str, str]], list[Decoded]]:
        """Those that the decoder makes no row of, with reason and words; and what it makes of all."""
        by_stream: dict[Stream, list[Candidate]] = {}
        for one in group:
            by_stream.setdefault(one.place.stream, []).append(one)
        refused: dict[tuple[Stream, int], tuple[str, str]] = {}
        made = [self._decoder.decode(_chunk(stream, ones)) for stream, ones in by_stream.items()]
        for decoded, ones in zip(made, by_stream.values(), strict=True):
            for reject in decoded.rejects:
                refused[_key(ones[reject.index])] = (reject.reason, reject.message)
            for reason, indices in decoded.skips.items():
                words = "the settings skip such records: no row would land"
                refused |= {_key(ones[index]): (reason, words) for index in indices}
        return refused, made

    def _written(self, decoded: Sequence[Decoded]) -> tuple[DataFile, ...]:
        spans = tuple(_span(one) for one in decoded)
        staged = self._sink.stage(Batch(0, spans, {span.stream: 0 for span in spans}, tuple(decoded)))
        return cast("tuple[DataFile, ...]", staged.content)

    def _checked(self, decoded: Sequence[Decoded]) -> tuple[DataFile, ...]:
        """Refuse what staging would, without a file. A table that grows would get its columns first: of that nothing is said."""
        shape, settings = self._home.shape, self._home.settings
        if settings.unknown_fields != "evolve":
            for one in decoded:
                table = aligned(one, as_table(one.rows), shape.schema)
                parts_of(table, shape.partition_by, [one], settings.partitions_per_batch_max)
        return ()


def _key(one: Candidate) -> tuple[Stream, int]:
    return one.place.stream, one.place.offset


def _chunk(stream: Stream, ones: Sequence[Candidate]) -> Chunk:
    headers = [[(header["name"], header["value"]) for header in one.letter["headers"] or ()] for one in ones]
    times = (one.letter["timestamp"] for one in ones)
    offsets = array("q", [one.place.offset for one in ones])
    return Chunk(
        stream=stream,
        epoch=0,
        start=offsets[0],
        end=offsets[-1] + 1,
        values=[one.value for one in ones],
        keys=[one.letter["key"] for one in ones],
        headers=headers if any(headers) else None,
        offsets=offsets,
        timestamps=array("q", [TIMESTAMP_ABSENT if time is None else time // MICROSECONDS for time in times]),
        nbytes=sum(size_of(one.letter) for one in ones),
    )


def _span(decoded: Decoded) -> Span:
    chunk, rows = decoded.chunk, decoded.rows.num_rows
    return Span(chunk.stream, chunk.start, chunk.end, rows, rows, 0, {}, "")


def _note(one: Candidate, result: Result) -> Note | None:
    """What to write down of a result; None where there is nothing."""
    if result.outcome in {Outcome.LANDED, Outcome.ALREADY}:
        # Of a row that was there before nobody can say any more which bytes it was made of.
        known = (one.digest, one.edited) if result.outcome is Outcome.LANDED else (None, None)
        return Note(one.letter, REPLAYED, digest=known[0], edited=known[1], version=result.version)
    if result.outcome is Outcome.REFUSED:
        return Note(one.letter, REFUSED, reason=result.reason, message=result.message, digest=one.digest, edited=one.edited)
    return None


def _after_all(result: Result, dealings: Dealings) -> Result:
    """What is said of a letter that somebody else has resolved while its row landed."""
    resolution: Mapping[str, object] = dealings.resolution or {}
    if resolution.get("act") == REPLAYED:
        return Result(result.letter, Outcome.RESOLVED, version=result.version) if result.outcome is Outcome.ALREADY else result
    message = "it was discarded while it was replayed: its row is in the table, and the trail says discarded"
    return Result(result.letter, Outcome.RESOLVED, message=message, version=result.version)
