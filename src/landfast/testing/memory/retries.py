"""Letters in memory that are tried again by themselves: dead letters that look after those marked `later`, over the table they land in."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from landfast.errors import Unavailable
from landfast.model import Chunk, Letter, Position, Retried, Stream, Waiting
from landfast.ports import Clock, Decoder
from landfast.testing.memory.letters import Failures, LetterStore, MemoryDeadLetters, Retriable, claimed_elsewhere
from landfast.testing.memory.rows import LandedRow, landed_rows
from landfast.testing.memory.sink import Refuse, refuse_nothing
from landfast.testing.memory.table import AnswerLost, Snapshot, Table, TableCommit, VersionTaken, new_token

_NOT_PASSED_SECONDS = 1.0
"""How long a letter is left alone that was due and that the position was not past."""


@dataclass(frozen=True, slots=True)
class MemoryRetriesSettings:
    """How letters are tried again.

    delays_seconds    how long to wait after each failure; who fails once more is given up
    refuse_at_commit  rows that the table refuses
    attempts_max      how often a store or the table is asked again
    """

    delays_seconds: tuple[float, ...] = (1.0,)
    refuse_at_commit: Refuse = refuse_nothing
    attempts_max: int = 3


@dataclass(slots=True)
class _Looked:
    """What is known of a letter that waits: its key, and when it is due."""

    key: bytes | None
    due_at: float


@dataclass(frozen=True, slots=True)
class _Look:
    """The letters of some streams that wait, in order, and the table of about that moment."""

    letters: Sequence[Retriable]
    snapshot: Snapshot

    def waiting(self, streams: Collection[Stream]) -> dict[Stream, Waiting]:
        """As the port tells it."""
        keys: dict[Stream, dict[bytes, Position]] = {stream: {} for stream in streams}
        records = dict.fromkeys(streams, 0)
        for each in self.letters:
            records[each.letter.stream] += 1
            if each.letter.key is not None:
                keys[each.letter.stream].setdefault(each.letter.key, each.letter.offset)
        return {stream: Waiting(keys[stream], records[stream]) for stream in streams}

    def passed(self, letter: Letter) -> bool:
        """Whether the table's position is past a letter."""
        position = self.snapshot.positions.get(letter.stream)
        return position is not None and letter.offset < position


class MemoryRetries(MemoryDeadLetters):
    """A `ports.DeadLetters` and a `ports.Retries` in one. A letter that lands is a version of the table that says so: that makes it once.

    Each version lands at most one letter of a key, so that whatever comes between two of them, the earlier one is there first.
    """

    def __init__(
        self, store: LetterStore, table: Table, decoder: Decoder, clock: Clock, settings: MemoryRetriesSettings | None = None
    ) -> None:
        self._settings = settings or MemoryRetriesSettings()
        super().__init__(store, self._settings.attempts_max)
        self._table = table
        self._decoder = decoder
        self._clock = clock
        self._looked: dict[Stream, dict[int, _Looked]] = {}

    def put(self, letters: Sequence[Letter]) -> None:
        """Bury the letters, all or none, and look after those that are to be tried again."""
        super().put(letters)
        for letter in letters:
            if letter.later:
                self._look_after(Retriable(letter, Failures(0 if letter.phase == "wait" else 1, letter.failed_at)))

    def waiting(self, streams: Collection[Stream]) -> Mapping[Stream, Waiting]:
        """What waits of these streams, from now on looked after."""
        return self._look(streams).waiting(streams)

    def due_seconds(self) -> float | None:
        """Seconds until the first letter is due that no other of its key stands before."""
        due_at = [looked[offset].due_at for looked in self._looked.values() for offset in _heads(looked)]
        return max(0.0, min(due_at) - self._clock.monotonic()) if due_at else None

    def retry(self, streams: Collection[Stream], budget_seconds: float) -> Retried:
        """Try the letters that are due, those first that no other of their key stands before."""
        until = self._clock.monotonic() + budget_seconds
        self._looked = {stream: looked for stream, looked in self._looked.items() if stream in streams}
        landed = refused = given_up = 0
        while True:
            look = self._look(streams)
            due = self._due(look)
            if not due or (landed + refused + given_up and self._clock.monotonic() >= until):
                return Retried(look.waiting(streams), landed, refused, given_up)
            failed = self._try(due)
            landed += len(due) - len(failed)
            over = sum(failures.count > len(self._settings.delays_seconds) for failures in failed.values())
            refused, given_up = refused + len(failed) - over, given_up + over

    def _look(self, streams: Collection[Stream]) -> _Look:
        found = self.ask(lambda: self.store.retriable(streams, self.owner))
        if isinstance(found, Stream):
            raise claimed_elsewhere(found)
        snapshot = self.ask(self._table.snapshot)
        letters = [each for each in found if self._open(each, snapshot)]
        before = {stream: self._looked.pop(stream, {}) for stream in streams}
        look = _Look(letters, snapshot)
        for each in letters:
            self._look_after(each)
            known = before[each.letter.stream].get(each.letter.offset)
            now = self._looked[each.letter.stream][each.letter.offset]
            if known is not None:
                # A clock that was set back keeps nobody waiting for longer than it was to wait when it was seen first.
                now.due_at = min(now.due_at, known.due_at)
            if not look.passed(each.letter):
                now.due_at = max(now.due_at, self._clock.monotonic() + _NOT_PASSED_SECONDS)
        return look

    def _open(self, each: Retriable, snapshot: Snapshot) -> bool:
        given_up = each.failures.count > len(self._settings.delays_seconds)
        return not given_up and (each.letter.stream, each.letter.offset) not in snapshot.resolved

    def _look_after(self, each: Retriable) -> None:
        count = each.failures.count
        delay = self._settings.delays_seconds[count - 1] if count else 0.0
        left = each.failures.failed_at + delay - self._clock.now()
        looked = self._looked.setdefault(each.letter.stream, {})
        looked[each.letter.offset] = _Looked(each.letter.key, self._clock.monotonic() + min(max(left, 0.0), delay))

    def _due(self, look: _Look) -> list[Retriable]:
        """The first letter of each key, and those without a key, if they are due and passed."""
        now = self._clock.monotonic()
        due = {(stream, offset) for stream, looked in self._looked.items() for offset in _heads(looked) if looked[offset].due_at <= now}
        return [each for each in look.letters if (each.letter.stream, each.letter.offset) in due]

    def _try(self, due: Sequence[Retriable]) -> dict[tuple[Stream, int], Failures]:
        """Decode each and land what can land, in one version; those that failed, each with how often by now. Durable when it returns."""
        resolved: dict[tuple[Stream, int], str] = {}
        failed: dict[tuple[Stream, int], Failures] = {}
        rows: list[LandedRow] = []
        for each in due:
            place = (each.letter.stream, each.letter.offset)
            decoded = self._decoder.decode(_chunk(each.letter))
            made = [row for row in landed_rows(decoded) if self._settings.refuse_at_commit(row) is None]
            if decoded.rejects or len(made) < decoded.rows.num_rows:
                failed[place] = Failures(each.failures.count + 1, self._clock.now())
            else:
                resolved[place] = "landed" if made else "skipped"
                rows += made
        if failed:
            foreign = self.ask(lambda: self.store.fail(failed, self.owner))
            if foreign is not None:
                raise claimed_elsewhere(foreign)
            for stream, offset in failed:
                # It waits anew: what was known of it before says nothing of that.
                self._looked[stream].pop(offset)
        if resolved:
            resolve(self._table, resolved, rows, self.owner, self._settings.attempts_max)
        return failed


def resolve(
    table: Table, resolved: Mapping[tuple[Stream, int], str], rows: Sequence[LandedRow], who: str = "a person", attempts_max: int = 3
) -> None:
    """Say in one version what became of these letters, with their rows; what was said of one of them before stays.

    Raises:
        Unavailable: the table does not answer; it may have been put.
    """
    token = new_token()
    for _ in range(attempts_max):
        try:
            snapshot = table.snapshot()
            news = {place: word for place, word in resolved.items() if place not in snapshot.resolved}
            if token in snapshot.tokens or not news:
                return
            landing = tuple(row for row in rows if (row.stream, row.offset) in news)
            table.put(snapshot.version + 1, TableCommit(token, who, 0, rows=landing, resolved=news))
        except (VersionTaken, AnswerLost):
            continue
        return
    raise Unavailable("SINK_UNAVAILABLE", "the table did not take the letters", kind="unknown", next_step="Try again.")


def _heads(looked: Mapping[int, _Looked]) -> Iterable[int]:
    """Those of a stream that no other of their key stands before."""
    keys: set[bytes] = set()
    for offset in sorted(looked):
        key = looked[offset].key
        if key is None or key not in keys:
            yield offset
        if key is not None:
            keys.add(key)


def _chunk(letter: Letter) -> Chunk:
    return Chunk(
        stream=letter.stream,
        epoch=0,
        start=letter.offset,
        end=letter.offset + 1,
        values=[letter.value],
        keys=[letter.key],
        headers=[letter.headers] if letter.headers else None,
        offsets=array("q", [letter.offset]),
        timestamps=array("q", [letter.timestamp]),
        nbytes=len(letter.value or b""),
    )
