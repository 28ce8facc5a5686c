"""Dead letters become rows, at the places in the log that they come from.

Before an entry is put after a version of the table, that very version is asked which letters have landed, and these are left out; where
somebody else has made the next version, that is asked too. So a replay that is killed anywhere, or repeated, or run twice at once, lands
each letter once: the resolution in the trail is written after the row is there, and a replay that finds it missing writes just that.
Where each record is a row, the row itself is the proof (`presence`); where there is one row per key, what replays say in the table's log
and the trail (`decisions`).

No position moves. A pipeline that runs meanwhile meets a commit of another at most, as it does where two of its workers share a table.
"""

from __future__ import annotations

import enum
import hashlib
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from landfast.errors import Broken, Halted, Rejected, Unavailable, check
from landfast.model import TIMESTAMP_ABSENT, Batch, Chunk, Decoded, Span, Staged, Stream
from landfast.ports import Decoder
from landfast.sinks.delta.errors import mapped
from landfast.sinks.delta.files.own_columns import RESCUED
from landfast.sinks.delta.files.parquet import DataFile
from landfast.sinks.delta.landing.partitions import parts_of
from landfast.sinks.delta.landing.retries import wait_seconds
from landfast.sinks.delta.landing.rows import MICROSECONDS, aligned, as_table
from landfast.sinks.delta.landing.sink import DeltaSink
from landfast.sinks.delta.log.app_ids import position_app_id
from landfast.sinks.delta.log.replays import Author
from landfast.sinks.delta.proof.acts import Dealings
from landfast.sinks.delta.proof.coordinates import Coordinates, coordinates_of
from landfast.sinks.delta.proof.letters import Row, size_of
from landfast.sinks.delta.redrive.decisions import Decisions
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
    OLDER = "older"
    """It has landed as records do in a table with one row per key, and a newer row of its key is there: the table stays as it is."""
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
    SKIPPED = "skipped"
    """The settings skip such records by now, so that no row is to land: what an attempt of the pipeline comes to, and never a replay."""
    BEHIND = "behind"
    """An earlier letter of its key stays open. So does it: what an attempt of the pipeline comes to, and never a replay."""


OPEN_STILL = frozenset({Outcome.REFUSED, Outcome.LEFT, Outcome.WAITING, Outcome.UNCLEAR, Outcome.BEHIND})
"""What leaves a letter open."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a replay came to for one letter: the words say why, and never show a value. `version` holds the row.

    `author` has landed what was there already.
    """

    letter: Row
    outcome: Outcome
    reason: str = ""
    message: str = ""
    version: int | None = None
    author: Author | None = None


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


class Manner:
    """How people's replays go about it: each letter on its own. The attempts of the pipeline itself have a manner of their own.

    `skipped` is what becomes of a letter whose record the settings skip.
    """

    skipped = Outcome.REFUSED

    def check(self, view: View, streams: Collection[Stream]) -> None:
        """Raise where letters of these streams must not land after this view."""

    def behind(self, stuck: Sequence[Candidate], others: Sequence[Candidate]) -> list[Candidate]:
        """Those of the others that must not land before the ones that are stuck, which stay open."""
        return []

    def note(self, one: Candidate, result: Result) -> Note | None:
        """What to write down of a result; None where there is nothing."""
        return note_of(one, result)


class Replay:
    """Lands letters in one table. For one thread."""

    def __init__(self, home: TableHome, sink: DeltaSink, decoder: Decoder, trail: Trail, manner: Manner | None = None) -> None:
        self._home = home
        self._sink = sink
        self._decoder = decoder
        self._trail = trail
        self._manner = manner or Manner()
        self._names: list[str] = []

    def run(self, candidates: Sequence[Candidate], *, dry: bool = False) -> Iterator[Result]:
        """Land these, in the order given, which is that of their offsets; what came of each. With `dry`, only say what would.

        Raises:
            Unavailable: the store does not answer, or others were faster each time. Running it again is safe and goes on where it ended.
            Halted: the table's rows were replaced under the positions, or the rows belong to too many partitions.
            Broken: the table is damaged or does not take its rows any more.
        """
        for group in groups(candidates):
            yield from self._dry(group) if dry else self._landed(group)

    def _landed(self, group: Sequence[Candidate]) -> list[Result]:
        try:
            results = {result.letter["id"]: result for result in self._land(group)}
        finally:
            # Named by the log by now, or by nobody ever.
            self._sink.release(self._names)
            self._names.clear()
        notes = [note for one in group if (note := self._manner.note(one, results[one.letter["id"]])) is not None]
        for name, dealings in self._trail.write(notes).items():
            if results[name].outcome is not Outcome.REFUSED:
                results[name] = _after_all(results[name], dealings, self._trail.author)
        return [results[one.letter["id"]] for one in group]

    def _land(self, group: Sequence[Candidate]) -> list[Result]:
        """Put the rows that are not there yet after the very version in which they are not."""
        home, ground = self._home, ground_of(self._home, self._trail, [one.letter for one in group])
        staged: Staged | None = None
        left: list[Candidate] = list(group)
        results: list[Result] = []
        for attempt in range(home.settings.commit_attempts_max):
            if attempt:
                home.clock.sleep(wait_seconds(attempt))
            view = self._opened()
            self._manner.check(view, {one.place.stream for one in left})
            with mapped("looking for rows that are there already"):
                told, rest = self._looked_up(view, ground, left)
            results += told
            if staged is None or len(rest) != len(left):
                refused, rest, staged = self._staged(rest)
                results += refused
            left = rest
            if not left or staged is None:
                return results
            with mapped("committing replayed rows"):
                version = view.version + 1
                there = ground.put(view, [one.letter for one in left], staged)
            if there is not None:
                return results + [_landed(one, there, version) for one in left]
        message = f"other writers changed the table during each of {home.settings.commit_attempts_max} attempts to replay letters"
        raise Unavailable(
            "COMMIT_CONFLICT", message, kind="conflict", next_step="Run the replay again: what has landed is not landed twice."
        )

    def _dry(self, group: Sequence[Candidate]) -> list[Result]:
        view = self._opened()
        with mapped("looking for rows that are there already"):
            ground = ground_of(self._home, self._trail, [one.letter for one in group])
            results, rest = self._looked_up(view, ground, group)
        refused, rest, staged = self._staged(rest, write=False)
        with mapped("looking for newer rows of the letters' keys"):
            there = {one.place for one in rest} if staged is None else ground.would_put(view, staged)
        landing = [Result(one.letter, Outcome.LANDED if one.place in there else Outcome.OLDER) for one in rest]
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

    def _looked_up(self, view: View, ground: Presence | Decisions, group: Sequence[Candidate]) -> tuple[list[Result], list[Candidate]]:
        """What this view says of the letters, and those that may land after it."""
        results: list[Result] = []
        rest: list[Candidate] = []
        there = ground.of(view)
        unclear, resolved = ground.unclear(view, there), ground.resolved()
        passed = {stream: self._position(view, stream) for stream in {one.place.stream for one in group}}
        for one in group:
            if one.place in unclear:
                message = "another incarnation of the topic has a row at this place, of the same time: nobody can tell whose it is"
                results.append(Result(one.letter, Outcome.UNCLEAR, message=message))
            elif one.place in resolved:
                results.append(Result(one.letter, Outcome.RESOLVED, message=f"{resolved[one.place]} meanwhile"))
            elif one.place in there:
                results.append(Result(one.letter, Outcome.ALREADY, version=view.version, author=ground.author(one.place)))
            elif one.place.offset >= passed[one.place.stream]:
                message = "the batch that it was buried for has not landed yet: replay it once the pipeline is past it"
                results.append(Result(one.letter, Outcome.WAITING, message=message))
            else:
                rest.append(one)
        open_still = {result.letter["id"] for result in results if result.outcome in OPEN_STILL}
        behind, rest = self._parted([one for one in group if one.letter["id"] in open_still], rest)
        return results + behind, rest

    def _parted(self, stuck: Sequence[Candidate], others: Sequence[Candidate]) -> tuple[list[Result], list[Candidate]]:
        """What is said of those that must not land before the ones that are stuck; and all the others."""
        behind = {_key(one): Result(one.letter, Outcome.BEHIND) for one in self._manner.behind(stuck, others)}
        return list(behind.values()), [one for one in others if _key(one) not in behind]

    def _position(self, view: View, stream: Stream) -> int:
        return view.transaction_version(position_app_id(self._home.pipeline_id, stream)) or 0

    def _staged(self, group: Sequence[Candidate], *, write: bool = True) -> tuple[list[Result], list[Candidate], Staged | None]:
        """Those that cannot land, those that can, and these staged."""
        results: list[Result] = []
        rest = list(group)
        while rest:
            refused, decoded = self._decoded(rest)
            if not refused:
                try:
                    if write:
                        return results, rest, self._written(decoded)
                    return results, rest, self._checked(decoded)
                except Rejected as error:
                    said = {(one.stream, one.offset): (one.reason, one.message) for one in error.refusals}
                    refused = {_key(one): _refused(one, *said[_key(one)]) for one in rest if _key(one) in said}
            stuck = [one for one in rest if _key(one) in refused and refused[_key(one)].outcome is Outcome.REFUSED]
            behind, kept = self._parted(stuck, rest)
            results += behind + [refused[_key(one)] for one in kept if _key(one) in refused]
            kept = [one for one in kept if _key(one) not in refused]
            check(len(kept) < len(rest), "rows were refused that are none of those to replay")
            rest = kept
        return results, [], None

    def _decoded(self, group: Sequence[Candidate]) -> tuple[dict[tuple[Stream, int], Result], list[Decoded]]:
        """What is said of those that the decoder makes no row of; and what it makes of all."""
        by_stream: dict[Stream, list[Candidate]] = {}
        for one in group:
            by_stream.setdefault(one.place.stream, []).append(one)
        refused: dict[tuple[Stream, int], Result] = {}
        made = [self._decoder.decode(_chunk(stream, ones)) for stream, ones in by_stream.items()]
        for decoded, ones in zip(made, by_stream.values(), strict=True):
            for reject in decoded.rejects:
                refused[_key(ones[reject.index])] = _refused(ones[reject.index], reject.reason, reject.message)
            for reason, indices in decoded.skips.items():
                words = "the settings skip such records: no row would land"
                refused |= {_key(ones[index]): Result(ones[index].letter, self._manner.skipped, reason, words) for index in indices}
        return refused, made

    def _written(self, decoded: Sequence[Decoded]) -> Staged:
        spans = tuple(_span(one) for one in decoded)
        staged = self._sink.stage(Batch(0, spans, {span.stream: 0 for span in spans}, tuple(decoded)))
        if self._home.settings.upsert is None:
            self._names += [file.path for file in cast("tuple[DataFile, ...]", staged.content)]
        return staged

    def _checked(self, decoded: Sequence[Decoded]) -> Staged | None:
        """Refuse what staging would, without a file; the rows, where they are staged in memory: where there is one row per key.

        A table that grows would get its columns first: of these nothing is said.
        """
        shape, settings = self._home.shape, self._home.settings
        grows = settings.unknown_fields == "evolve"
        if settings.upsert is not None:
            return self._written([_without_new_fields(one) for one in decoded] if grows else decoded)
        for one in () if grows else decoded:
            table = aligned(one, as_table(one.rows), shape.schema)
            parts_of(table, shape.partition_by, [one], settings.partitions_per_batch_max)
        return None


def ground_of(home: TableHome, trail: Trail, letters: Sequence[Row]) -> Presence | Decisions:
    """What tells which of these letters have landed, and lands the others."""
    upsert = home.settings.upsert
    return Presence(home, letters, trail.author) if upsert is None else Decisions(home, trail, upsert, letters)


def _without_new_fields(decoded: Decoded) -> Decoded:
    """The same without what the table would get columns for: none of it tells a key or an order."""
    rows = as_table(decoded.rows)
    return replace(decoded, rows=rows.drop_columns([name for name in rows.column_names if name == RESCUED]))


def _landed(one: Candidate, there: Collection[Coordinates], version: int) -> Result:
    return Result(one.letter, Outcome.LANDED if one.place in there else Outcome.OLDER, version=version)


def _refused(one: Candidate, reason: str, message: str) -> Result:
    return Result(one.letter, Outcome.REFUSED, reason, message)


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


def note_of(one: Candidate, result: Result) -> Note | None:
    """What is written down of a result of a replay of people's; None where there is nothing."""
    if result.outcome in {Outcome.LANDED, Outcome.OLDER, Outcome.ALREADY}:
        # Of a row that was there before nobody can say any more which bytes it was made of.
        known = (None, None) if result.outcome is Outcome.ALREADY else (one.digest, one.edited)
        return Note(one.letter, REPLAYED, digest=known[0], edited=known[1], version=result.version, author=result.author)
    if result.outcome is Outcome.REFUSED:
        return Note(one.letter, REFUSED, reason=result.reason, message=result.message, digest=one.digest, edited=one.edited)
    return None


def _after_all(result: Result, dealings: Dealings, author: Author) -> Result:
    """What is said of a letter that is resolved already, as its row has landed: by somebody else; or in this run, on the way."""
    resolution: Mapping[str, object] = dealings.resolution or {}
    if resolution.get("act") == REPLAYED:
        # Whoever only found the row knows nothing of its bytes, and may have been this run, on the way.
        was_found = resolution.get("edited") is None or resolution.get("run_id") == author.run_id
        was_other = result.outcome is Outcome.ALREADY and not was_found
        return Result(result.letter, Outcome.RESOLVED, version=result.version) if was_other else result
    message = "it was discarded while it was replayed: it has landed in the table, and the trail says discarded"
    return Result(result.letter, Outcome.RESOLVED, message=message, version=result.version)
