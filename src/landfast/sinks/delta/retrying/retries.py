"""Letters that the pipeline tries again by itself, until they land or are given up.

Which letters wait is told by two tables: that of the letters, where such a letter has a time before which it is not tried, and the trail,
which has every attempt in vain, that the attempts are over, and every resolution. What is held in memory is what these have told.

An attempt is a replay (`redrive.replay`): the row is its own proof, so whatever is killed, repeated or done twice at once lands a letter
once. Two things are added. Of each key one letter after the other lands, in the order of offsets. And a commit demands, as a landing does,
that nobody has taken its streams over: so a former owner cannot land a letter that its successor has let others pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from landfast.errors import Conflict, ErrorClass, Unavailable
from landfast.model import Letter, Position, Retried, Stream, Waiting
from landfast.ports import Decoder
from landfast.sinks.delta.errors import mapped
from landfast.sinks.delta.landing.dead_letters import DeltaDeadLetters
from landfast.sinks.delta.landing.letters import letter_id, not_before
from landfast.sinks.delta.landing.sink import DeltaSink
from landfast.sinks.delta.proof.acts import UNTOUCHED, Acts, Dealings
from landfast.sinks.delta.proof.coordinates import coordinates_of
from landfast.sinks.delta.proof.letters import Letters, Row
from landfast.sinks.delta.redrive.replay import OPEN_STILL, Candidate, Outcome, Replay, Result
from landfast.sinks.delta.redrive.trail import Trail
from landfast.sinks.delta.retrying.line import Line, Waiter
from landfast.sinks.delta.retrying.manner import FAILED, MICROSECONDS, Attempt, OwnManner
from landfast.sinks.delta.table.home import TableHome
from landfast.sinks.delta.table.trail import UNTRIED_PHASE

BY = "pipeline"
"""Who acts, in the trail."""
AT_ONCE_MAX = 1_000
"""Letters that are tried in one commit."""
NOT_PASSED_SECONDS = 1.0
"""How long a letter is left alone that was due, and whose batch has not landed yet."""
_KEPT = ("id", "topic", "topic_id", "partition", "offset", "phase", "not_before")


class DeltaRetries:
    """See `ports.DeadLetters` and `ports.Retries`: both over one table of letters.

    `delays_seconds`: how long a letter waits after each failure; who fails once more is given up.
    """

    def __init__(self, home: TableHome, sink: DeltaSink, decoder: Decoder, delays_seconds: Sequence[float]) -> None:
        self._home = home
        self._letters = DeltaDeadLetters(home, delays_seconds[0])
        self._trail = Trail(home, BY)
        self._manner = OwnManner(sink)
        self._replay = Replay(home, sink, decoder, self._trail, self._manner)
        self._delays = tuple(delays_seconds)
        self._line = Line()
        self._heard: int | None = None

    def claim(self, streams: Collection[Stream]) -> None:
        """See `ports.DeadLetters.claim`."""
        self._line.forget(streams)
        self._letters.claim(streams)

    def put(self, letters: Sequence[Letter]) -> None:
        """See `ports.DeadLetters.put`."""
        self._letters.put(letters)
        self._line.add(self._waiter(letter) for letter in letters if letter.later)

    def buried(self, stream: Stream, start: Position) -> AbstractSet[int]:
        """See `ports.DeadLetters.buried`."""
        return self._letters.buried(stream, start)

    def close(self) -> None:
        """See `ports.DeadLetters.close`."""
        self._letters.close()

    def waiting(self, streams: Collection[Stream]) -> Mapping[Stream, Waiting]:
        """See `ports.Retries.waiting`."""
        self._letters.check_ours(streams)
        found: dict[Stream, list[Waiter]] = {stream: [] for stream in streams}
        with mapped("reading which letters wait to be tried again"):
            for row, dealings in self._told(streams) if streams else ():
                found[coordinates_of(row).stream].append(self._known(row, dealings))
        for stream, waiters in found.items():
            self._line.begin(stream, waiters)
        return {stream: self._line.waiting(stream) for stream in streams}

    def due_seconds(self) -> float | None:
        """See `ports.Retries.due_seconds`."""
        due_at = self._line.next_due_at
        return None if due_at is None else max(0.0, due_at - self._home.clock.monotonic())

    def retry(self, streams: Collection[Stream], budget_seconds: float) -> Retried:
        """See `ports.Retries.retry`."""
        until = self._home.clock.monotonic() + budget_seconds
        self._line.keep(streams)
        counts: Counter[str] = Counter()
        try:
            unknown = [stream for stream in streams if stream not in self._line]
            if unknown:
                self.waiting(unknown)
            self._letters.check_ours(streams)
            self._hear()
            while due := self._line.due(self._home.clock.monotonic(), self._at_once_max):
                counts += self._tried(due)
                if self._home.clock.monotonic() >= until:
                    break
        except Conflict as conflict:
            if conflict.stream is not None:
                self._line.forget([conflict.stream])
            raise
        finally:
            # Where it ends early, some letters may have been dealt with that the line still holds: the trail says which.
            self._line.settle()
        waiting = {stream: self._line.waiting(stream) for stream in streams}
        return Retried(waiting, counts["landed"], counts["refused"], counts["given_up"])

    @property
    def _at_once_max(self) -> int:
        """A commit with rows for too many partitions of the table is refused, and each letter may have one of its own."""
        limit = self._home.settings.partitions_per_batch_max
        return min(AT_ONCE_MAX, limit) if self._home.shape.partition_by else AT_ONCE_MAX

    def _told(self, streams: Collection[Stream]) -> Iterator[tuple[Row, Dealings]]:
        """The letters of these streams that wait, by the tables."""
        settings = self._home.settings
        prefixes = {stream: f"{letter_id(self._home.pipeline_id, stream)}/" for stream in streams}
        acts = Acts(settings)
        for rows in Letters(settings).later(acts.unfinished):
            ours = [row for row in rows if row["id"].startswith(prefixes.get(coordinates_of(row).stream, "\0"))]
            known = {} if acts.none else acts.of(ours)
            for row in ours:
                dealings = known.get(row["id"], UNTOUCHED)
                if dealings.next_attempt_at(row) is not None:
                    yield row, dealings

    def _known(self, row: Row, dealings: Dealings) -> Waiter:
        failures = dealings.failures(row)
        at = (dealings.next_attempt_at(row) or 0) / MICROSECONDS
        return Waiter({name: row[name] for name in _KEPT}, row["key"], failures, self._due_at(at, failures))

    def _waiter(self, letter: Letter) -> Waiter:
        stream = letter.stream
        at = not_before(letter, self._delays[0]) or 0.0
        failures = 0 if letter.phase == UNTRIED_PHASE else 1
        row = {
            "id": letter_id(self._home.pipeline_id, letter),
            "topic": stream.topic,
            "topic_id": stream.incarnation,
            "partition": stream.partition,
            "offset": letter.offset,
            "phase": letter.phase,
            "not_before": round(at * MICROSECONDS),
        }
        return Waiter(row, letter.key, failures, self._due_at(at, failures))

    def _due_at(self, at: float, failures: int) -> float:
        """When a letter is due, by the clock that nobody sets: a calendar that was set back keeps it no longer than its delay."""
        clock = self._home.clock
        delay = self._delays[min(failures, len(self._delays)) - 1] if failures else 0.0
        return clock.monotonic() + min(max(0.0, at - clock.now()), delay)

    def _hear(self) -> None:
        """Take in what people have done with the letters that wait, where anybody has done anything since the last time."""
        version = None if self._line.next_due_at is None else self._trail.version()
        if version is None or version == self._heard:
            return
        waiters = self._line.each()
        for start in range(0, len(waiters), AT_ONCE_MAX):
            self._take_in(waiters[start : start + AT_ONCE_MAX])
        self._heard = version

    def _take_in(self, waiters: Sequence[Waiter]) -> Mapping[str, Dealings]:
        """What the trail says of these letters. Those that it says wait no more are gone from the line."""
        known = self._trail.dealings([waiter.row for waiter in waiters])
        for waiter in waiters:
            dealings = known.get(waiter.row["id"])
            if dealings is None:
                continue
            at, failures = dealings.next_attempt_at(waiter.row), dealings.failures(waiter.row)
            if at is None:
                self._line.remove(waiter)
            elif failures != waiter.failures:
                waiter.failures, waiter.due_at = failures, self._due_at(at / MICROSECONDS, failures)
        return known

    def _tried(self, due: Sequence[Waiter]) -> Counter[str]:
        """Try the first of these, as many as are held in memory at once; what came of it."""
        known = self._take_in(due)
        still_due = {waiter.row["id"] for waiter in self._line.due(self._home.clock.monotonic(), len(due))}
        tried = {waiter.row["id"]: waiter for waiter in due if waiter.row["id"] in still_due}
        candidates = self._candidates(list(tried.values()), known)
        self._manner.now = self._home.clock.now()
        self._manner.attempts = {one.letter["id"]: self._next_attempt(tried[one.letter["id"]]) for one in candidates}
        return Counter(self._settled(tried[result.letter["id"]], result) for result in self._results(candidates))

    def _results(self, candidates: Sequence[Candidate]) -> Iterator[Result]:
        """What came of these. What cannot be taken together, and nobody knows why, is halved until the letters to blame are alone."""
        try:
            yield from list(self._replay.run(candidates))
        except Unavailable as error:
            if error.kind != ErrorClass.DATA:
                raise
            if len(candidates) > 1:
                half = len(candidates) // 2
                first = list(self._results(candidates[:half]))
                stuck = {result.letter["id"] for result in first if result.outcome in OPEN_STILL}
                behind = self._manner.behind([one for one in candidates[:half] if one.letter["id"] in stuck], candidates[half:])
                yield from (*first, *(Result(one.letter, Outcome.BEHIND) for one in behind))
                yield from self._results([one for one in candidates[half:] if one not in behind])
                return
            for one in candidates:
                refused = Result(one.letter, Outcome.REFUSED, "refused_alone", error.message)
                self._trail.write([note for note in (self._manner.note(one, refused),) if note is not None])
                yield refused

    def _candidates(self, waiters: Sequence[Waiter], known: Mapping[str, Dealings]) -> list[Candidate]:
        """The first of these letters, whole, with the bytes of their newest edits. One that is not in its table any more waits no more."""
        if not waiters:
            return []
        with mapped("reading letters to try again"):
            rows = next(Letters(self._home.settings).whole([waiter.place for waiter in waiters]), [])
            edited = [row for row in rows if known.get(row["id"], UNTOUCHED).edit is not None]
            edits = Acts(self._home.settings).edits(edited) if edited else {}
        found = {row["id"] for row in rows}
        for waiter in waiters:
            if waiter.row["id"] not in found and (not rows or waiter.place < coordinates_of(rows[-1])):
                self._line.remove(waiter)
        return [Candidate(row, edits.get(row["id"], row["value"]), row["id"] in edits) for row in rows]

    def _next_attempt(self, waiter: Waiter) -> Attempt:
        number = waiter.failures + 1
        return Attempt(number, self._delays[number - 1] if number <= len(self._delays) else None)

    def _settled(self, waiter: Waiter, result: Result) -> str:
        """What an attempt came to, in a word; the line is as it is after it."""
        if result.outcome in OPEN_STILL and result.outcome not in FAILED:
            if result.outcome is Outcome.WAITING:
                waiter.due_at = self._home.clock.monotonic() + NOT_PASSED_SECONDS
            return str(result.outcome)
        attempt = self._next_attempt(waiter)
        if result.outcome in FAILED and attempt.delay_seconds is not None:
            waiter.failures, waiter.due_at = attempt.number, self._home.clock.monotonic() + attempt.delay_seconds
            return "refused"
        self._line.remove(waiter)
        if result.outcome in FAILED:
            return "given_up"
        return str(result.outcome) if result.outcome is Outcome.RESOLVED else "landed"
