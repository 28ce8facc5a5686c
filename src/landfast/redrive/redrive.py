"""The dead letters of one route's table, and all that can be done with them."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from landfast import wiring
from landfast.config import RouteSettings, Settings, load
from landfast.errors import Misconfigured
from landfast.ports import Clock, Decoder, Observer
from landfast.redrive.export import ExportFormat, export
from landfast.redrive.fixing import Fix, mended
from landfast.redrive.values import (
    EVERY_STATE,
    OPEN,
    STILL_OPEN_MAX,
    DeadLetter,
    DiscardReport,
    ReplayReport,
    StillOpen,
    Sums,
    dead_letter,
    still_open,
)
from landfast.sinks.delta.errors import looked
from landfast.sinks.delta.landing.sink import DeltaSink
from landfast.sinks.delta.log.snapshot import snapshot_or_none
from landfast.sinks.delta.proof.acts import UNTOUCHED, Acts, Dealings
from landfast.sinks.delta.proof.coordinates import Coordinates, coordinates_of, parsed_id, short_id
from landfast.sinks.delta.proof.letters import EVERY_LETTER, LetterFilter, LetterLimits, Letters, Row
from landfast.sinks.delta.redrive.discard import discard
from landfast.sinks.delta.redrive.replay import Candidate, Outcome, Replay, Result
from landfast.sinks.delta.redrive.trail import Note, Trail
from landfast.sinks.delta.settings import MIB
from landfast.sinks.delta.table.trail import EDITED
from landfast.system import SystemClock

EDIT_BYTES_MAX = 16 * MIB
WHY_CHARACTERS_MAX = 1_000
Progress = Callable[[int], None]


def _nobody(_letters: int) -> None:
    """Nobody wants to hear how far it has got."""


class Redrive:
    """The dead letters of one route's table. Nothing is opened before it is asked for something.

    settings   of the pipeline, as `landfast.config.load` has made them
    route      which of its routes; may be left out where there is one
    by         who acts, for the trail; the user of this process where nobody says
    decoder    in the place of the one that the settings name
    limits     how much is held in memory, and lands in one commit

    Whoever looks changes nothing. Every other call may be repeated: what was done is not done twice.

    Raises:
        Misconfigured: there is no such route.
    """

    def __init__(
        self,
        settings: Settings,
        route: str | None = None,
        *,
        by: str | None = None,
        decoder: Decoder | None = None,
        limits: LetterLimits | None = None,
        clock: Clock | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._settings = settings
        self._route = _route_of(settings, route)
        self._delta: Any = wiring.delta_settings(self._route)
        self._by = _writable(by or _user())
        self._decoder = decoder
        self._limits = limits or LetterLimits()
        self._site = wiring.Site(clock or SystemClock(), observer or wiring.Silence())
        self._home: Any = None

    @classmethod
    def from_file(cls, path: str | Path, route: str | None = None) -> Self:
        """The same of a settings file.

        Raises:
            Misconfigured: every fault of the file at once, or there is no such route.
        """
        return cls(load(path), route)

    def letters(self, where: LetterFilter = EVERY_LETTER, *, states: Collection[str] = OPEN) -> Iterator[DeadLetter]:
        """The letters that are meant and stand as said, whole, by offset; a part of them in memory at a time.

        Raises:
            Unavailable: the store does not answer.
            Broken: a table is damaged.
        """
        for part in self._whole(where, None, states):
            yield from (dead_letter(row, by_letter.get(row["id"], UNTOUCHED), edits) for rows, by_letter, edits in [part] for row in rows)

    def letter(self, letter_id: str) -> DeadLetter:
        """One letter, whole.

        Raises:
            Misconfigured: the id names none, or several: then the message says how each is named.
            Unavailable: the store does not answer.
        """
        (place,) = self.places([letter_id])
        (part,) = self._whole(EVERY_LETTER, {place}, EVERY_STATE)
        rows, by_letter, edits = part
        return dead_letter(rows[0], by_letter.get(rows[0]["id"], UNTOUCHED), edits)

    def places(self, letter_ids: Sequence[str]) -> set[Coordinates]:
        """Where the letters of these ids come from.

        Raises:
            Misconfigured: an id names none, or several.
        """
        named = [(text, parsed_id(text)) for text in dict.fromkeys(letter_ids)]
        with looked("looking for dead letters"):
            found = list(Letters(self._delta).named([name for _, name in named if name is not None]))
        places: set[Coordinates] = set()
        for text, name in named:
            rows = {row["id"]: row for row in found if name is not None and name.names(row)}
            if len(rows) != 1:
                raise _not_one(text, list(rows.values()))
            places |= {coordinates_of(row) for row in rows.values()}
        return places

    def replay(
        self,
        letter_ids: Sequence[str] | None = None,
        *,
        where: LetterFilter | None = None,
        fix: Fix | None = None,
        dry_run: bool = False,
        progress: Progress = _nobody,
    ) -> ReplayReport:
        """Land open letters in the table: those of these ids, or those that are meant by `where`, in the order of their offsets.

        fix       is asked for each letter: the bytes to replay in the place of its value; None leaves it open, and so does an exception
        dry_run   nothing lands, and nothing is written down
        progress  hears how many letters were dealt with, now and then

        A replayed row has the topic, partition, offset and time of its record. Called again, at the same moment or after a kill, it lands
        nothing twice.

        Raises:
            Misconfigured: an id names no letter or several, or the table cannot be used.
            Halted: the table's rows were replaced under the positions.
            Unavailable: the store does not answer. What has landed is told by the next call.
            Broken: the table is damaged.
        """
        only, wanted = self._meant(letter_ids, where)
        sums = Sums()
        if only is not None:
            self._tell_resolved(only, sums)
        home = self._opened()
        sink = DeltaSink(home)
        decoder = self._decoder or wiring.decoder_of(self._route.decode, sink.schema, self._route.sink.key)
        replay = Replay(home, sink, decoder, Trail(home, self._by))
        for rows, by_letter, edits in self._whole(wanted, only, OPEN):
            candidates: list[Candidate] = []
            for row in rows:
                found = self._candidate(row, by_letter.get(row["id"], UNTOUCHED), edits, fix)
                if isinstance(found, Candidate):
                    candidates.append(found)
                else:
                    sums.add([found], by_letter)
            sums.add(list(replay.run(candidates, dry=dry_run)), by_letter)
            progress(len(rows))
        return sums.report(dry_run=dry_run)

    def edit(self, letter_id: str, value: bytes, *, why: str = "") -> None:
        """Say which bytes a replay is to take in the place of the letter's value. The letter itself stays as it is.

        Raises:
            Misconfigured: the id names no open letter, or the bytes are too many.
            Unavailable: the store does not answer.
        """
        if len(value) > EDIT_BYTES_MAX:
            message = f"the edited value has {len(value):,} bytes, and at most {EDIT_BYTES_MAX:,} can be"
            raise Misconfigured("CONFIG_INVALID", message, next_step="Use --with for values as large as this. Nothing was changed.")
        (place,) = self.places([letter_id])
        (row,) = next(self._letters().windows(only={place}))
        candidate = Candidate(row, bytes(value), edited=True)
        note = Note(row, EDITED, why=_reason(why, needed=False), digest=candidate.digest, edited=True, value=candidate.value)
        for dealings in Trail(self._opened(), self._by).write([note]).values():
            message = f"the letter {short_id(row)} was {dealings.state}, so nothing would come of an edit"
            raise Misconfigured("LETTER_RESOLVED", message, next_step="Nothing was changed.")

    def discard(
        self, letter_ids: Sequence[str] | None = None, *, why: str, where: LetterFilter | None = None, progress: Progress = _nobody
    ) -> DiscardReport:
        """Decide that open letters are not to land: those of these ids, or those that are meant by `where`. They stay where they are.

        `why` is kept in the trail, beside who and when.

        Raises:
            Misconfigured: an id names no letter or several; or there is no reason.
            Unavailable: the store does not answer.
        """
        why = _reason(why, needed=True)
        only, wanted = self._meant(letter_ids, where)
        home = self._opened()
        trail = Trail(home, self._by)
        discarded, kept = 0, list[StillOpen]()
        for rows in self._letters().windows(wanted, only):
            by_letter = trail.dealings(rows)
            for result in discard(home, trail, [row for row in rows if _is_in(row, by_letter, OPEN)], why):
                discarded += result.outcome is Outcome.DISCARDED
                if result.outcome is not Outcome.DISCARDED and len(kept) < STILL_OPEN_MAX:
                    kept.append(still_open(result, by_letter.get(result.letter["id"])))
            if only is not None:
                kept += [still_open(_resolved(row, by_letter[row["id"]]), None) for row in rows if not _is_in(row, by_letter, OPEN)]
            progress(len(rows))
        return DiscardReport(discarded, tuple(kept))

    def export(
        self,
        path: str | Path,
        where: LetterFilter = EVERY_LETTER,
        *,
        form: ExportFormat = "jsonl",
        states: Collection[str] = OPEN,
        replace: bool = False,
    ) -> int:
        """Write letters to a file, as JSON lines with bytes as base64, or as Parquet; how many.

        Raises:
            Misconfigured: the file is there and is not to be replaced, or cannot be written.
            Unavailable: the store does not answer.
        """
        parts = (
            [dead_letter(row, by_letter.get(row["id"], UNTOUCHED), edits) for row in rows]
            for rows, by_letter, edits in self._whole(where, None, states)
        )
        return export(parts, Path(path), form, replace=replace)

    def _letters(self) -> Letters:
        with wiring.concerning(self._route), looked("opening the dead letters"):
            return Letters(self._delta, self._limits)

    def _whole(
        self, where: LetterFilter, only: Collection[Coordinates] | None, states: Collection[str]
    ) -> Iterator[tuple[list[Row], Mapping[str, Dealings], Mapping[str, bytes | None]]]:
        """The letters that stand as said, whole, as many as are held at once; what became of them, and the bytes of their edits."""
        letters = self._letters()
        with wiring.concerning(self._route), looked("reading dead letters"):
            for rows in letters.windows(where, only):
                acts = Acts(self._delta)
                by_letter = {} if acts.none else acts.of(rows)
                for part in letters.whole([coordinates_of(row) for row in rows if _is_in(row, by_letter, states)]):
                    edited = [row for row in part if by_letter.get(row["id"], UNTOUCHED).edit is not None]
                    yield part, by_letter, acts.edits(edited) if edited else {}

    def _meant(self, letter_ids: Sequence[str] | None, where: LetterFilter | None) -> tuple[set[Coordinates] | None, LetterFilter]:
        if (letter_ids is None) == (where is None):
            message = "say which letters are meant: by their ids, or by what they have in common, and not by both"
            raise Misconfigured("CONFIG_INVALID", message, next_step="Give ids or a filter. Nothing was changed.")
        return (None, where) if where is not None else (self.places(letter_ids or ()), EVERY_LETTER)

    def _candidate(self, row: Row, dealings: Dealings, edits: Mapping[str, bytes | None], fix: Fix | None) -> Candidate | Result:
        letter = dead_letter(row, dealings, edits)
        if fix is None:
            return Candidate(row, letter.value, letter.edited)
        found = mended(fix, letter, row)
        return found if isinstance(found, Result) else Candidate(row, found, letter.edited or found != row["value"])

    def _tell_resolved(self, only: Collection[Coordinates], sums: Sums) -> None:
        """Count those that were named and are resolved: they are passed over."""
        for rows in self._letters().windows(only=only):
            with looked("reading what was done with dead letters"):
                by_letter = Acts(self._delta).of(rows)
            sums.add([_resolved(row, by_letter[row["id"]]) for row in rows if not _is_in(row, by_letter, OPEN)], by_letter)

    def _opened(self) -> Any:
        """The table, as a start of the pipeline opens it.

        Raises:
            Misconfigured: there is none.
        """
        if self._home is None:
            with wiring.concerning(self._route), looked("opening the table"):
                if snapshot_or_none(self._delta.path, self._delta.storage_options) is None:
                    message = "there is no table, so nothing can be done with its dead letters"
                    raise Misconfigured("TABLE_MISSING", message, next_step="Correct sink.path, or bring the table back.")
            run = wiring.new_run(self._settings.name, self._settings.digest(), self._site.clock)
            self._home = wiring.opened_table(self._settings, self._route, run, self._site)
        return self._home


def _route_of(settings: Settings, name: str | None) -> RouteSettings:
    found = [route for route in settings.routes if name in (None, route.name)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(route.name for route in settings.routes)
    message = f"there is no route {name!r}" if name is not None else "the pipeline has several routes, and none is named"
    raise Misconfigured("CONFIG_INVALID", message, next_step=f"Name one of: {names}.")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _reason(why: str, *, needed: bool) -> str:
    words = " ".join(why.split())
    if needed and not words:
        raise Misconfigured("CONFIG_MISSING", "why the letters are discarded is not said", next_step="Say it. Nothing was changed.")
    if len(words) > WHY_CHARACTERS_MAX:
        message = f"the reason has {len(words):,} characters, and at most {WHY_CHARACTERS_MAX:,} can be"
        raise Misconfigured("CONFIG_INVALID", message, next_step="Say it shorter. Nothing was changed.")
    return _writable(words)


def _writable(text: str) -> str:
    """The text as a table can hold it: half a character, as a command line may have it, is written as its escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def _is_in(row: Row, by_letter: Mapping[str, Dealings], states: Collection[str]) -> bool:
    return by_letter.get(row["id"], UNTOUCHED).state_of(row) in states


def _resolved(row: Row, dealings: Dealings) -> Result:
    how = dealings.resolution or {}
    words = f"it was {dealings.state} by {how.get('by')} at {how.get('at'):%Y-%m-%d %H:%M:%SZ}"
    return Result(row, Outcome.RESOLVED, str(dealings.state), words)


def _not_one(text: str, rows: Sequence[Row]) -> Misconfigured:
    if not rows:
        message = f"there is no dead letter {text!r}"
        return Misconfigured("LETTER_MISSING", message, next_step="`landfast dead-letters list` shows the ids. Nothing was changed.")
    names = ", ".join(short_id(row, of_its_topic_id=True) for row in rows)
    message = f"{text!r} names {len(rows)} letters, since the topic was deleted and made again"
    return Misconfigured("LETTER_AMBIGUOUS", message, next_step=f"Name one of: {names}. Nothing was changed.")
