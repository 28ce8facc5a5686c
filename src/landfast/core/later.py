"""Letters that are tried again by themselves: which keys of each lane wait for them, and when they have their turn on the committer."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from landfast import events
from landfast.core.held import Held, earliest
from landfast.core.landing import Landed
from landfast.core.lanes import Lane, LaneState
from landfast.core.ledger import Ledger
from landfast.core.retry import Backoff
from landfast.core.route import Route, Surroundings
from landfast.model import Halt, Letter, Position, Retried, Stream, Waiting

LOOK_SECONDS_MAX = 30.0
"""While something waits, how long until the store is looked at again: people discard letters, and replay them."""

REST_SECONDS = 1.0
"""After a round that tried nothing, although something was due."""


@dataclass(frozen=True, slots=True)
class Round:
    """A round of attempts, and the epochs of the lanes that it is for."""

    epochs: Mapping[Stream, int]
    answer: Future[Retried]


class Attempts:
    """What waits of a flow's lanes, and the rounds in which it is tried again. Where a route has no retries it does nothing.

    No landing is under way during a round: from its first attempt until its answer is taken in nobody knows which keys wait.

    backoff  where it stands between its failures
    """

    def __init__(self, route: Route, surroundings: Surroundings, lanes: Mapping[Stream, Lane], ledger: Ledger) -> None:
        self.backoff = Backoff(route.limits.retry, route.limits.retry_by_class)
        self._retries = route.retries
        self._name = route.name
        self._limits = route.limits.later
        self._around = surroundings
        self._lanes = lanes
        self._ledger = ledger
        self._round: Round | None = None
        self._look_soon = self._gives_way = False
        self._looked_at = self._rest_until = 0.0
        self._told = (0, 0)
        self._told_full = False
        self._buried: dict[Stream, Sequence[Position]] = {}

    # ---- what waits ----

    def placed(self, lane: Lane, waiting: Waiting) -> None:
        """A lane begins anew: what waits of it is in the store, or was learned from what is read again."""
        if self._retries is not None:
            lane.held, lane.waits = self._held(lane, waiting), waiting.records
            self._buried[lane.stream] = sorted(lane.buried)
            self._looked_at = self._around.clock.monotonic()

    def _held(self, lane: Lane, waiting: Waiting) -> Held:
        return Held(earliest(waiting.keys, lane.learned), self._limits.reasons)

    def learn(self, letters: Iterable[Letter]) -> bool:
        """Take in the keys of a batch's letters that are to be tried again; whether one was not held when the batch was cut."""
        if self._retries is None:
            return False
        found: dict[Stream, dict[bytes, Position]] = {}
        for letter in letters:
            held = self._lanes[letter.stream].held
            if (
                held is not None
                and letter.later
                and letter.key is not None
                and letter.offset < held.keys.get(letter.key, letter.offset + 1)
            ):
                keys = found.setdefault(letter.stream, {})
                keys[letter.key] = min(letter.offset, keys.get(letter.key, letter.offset))
        learned = {stream: keys for stream, keys in found.items() if keys}
        for stream, keys in learned.items():
            self._lanes[stream].learned = earliest(self._lanes[stream].learned, keys)
        return bool(learned)

    def landed(self, landed: Landed) -> None:
        """Letters are in the store now. What was learned of a record that became none after all is found out in the next round."""
        if self._retries is None:
            return
        self._gives_way = False
        places = set()
        for letter in landed.letters:
            if letter.later:
                places.add((letter.stream, letter.offset))
                self._lanes[letter.stream].waits += 1
        for span in landed.receipt.spans:
            lane = self._lanes[span.stream]
            passed = [(key, offset) for key, offset in lane.learned.items() if offset < span.end]
            self._look_soon = self._look_soon or any((span.stream, offset) not in places for _, offset in passed)
            lane.learned = {key: offset for key, offset in lane.learned.items() if offset >= span.end} if passed else lane.learned

    # ---- rounds ----

    @property
    def open(self) -> bool:
        """Whether a round was begun, and its answer was not taken in."""
        return self._round is not None

    @property
    def under_way(self) -> bool:
        """Whether letters are being tried."""
        return self._round is not None and not self._round.answer.done()

    @property
    def owed(self) -> bool:
        """Whether a bounded run should wait for a round: one is due, and is not known to fail."""
        return self.open or (not self.backoff.attempt and self._due(self._around.clock.monotonic()) and bool(self._running()))

    def start(self, now: float) -> bool:
        """Begin a round if one is due."""
        if self._round is not None or self._retries is None or not self._due(now):
            return False
        epochs = self._running()
        if epochs:
            self._look_soon = False
            call = partial(self._retries.retry, tuple(epochs), self._limits.attempts_seconds_max)
            self._round = Round(epochs, self._around.committer.submit(call))
        return bool(epochs)

    def _running(self) -> dict[Stream, int]:
        return {stream: lane.epoch for stream, lane in self._lanes.items() if lane.state is LaneState.RUNNING}

    def _due(self, now: float) -> bool:
        if self._retries is None or self.backoff.waiting(now):
            return False
        overdue = now - self._looked_at >= LOOK_SECONDS_MAX
        if self._gives_way and not overdue:
            return False
        due_seconds = self._retries.due_seconds()
        if due_seconds is None or self._look_soon:
            return self._look_soon
        return overdue or (due_seconds <= 0 and now >= self._rest_until)

    def ended(self) -> Round | None:
        """The round, when it has ended."""
        if self._round is None or not self._round.answer.done():
            return None
        ended, self._round = self._round, None
        return ended

    def current(self, ended: Round) -> list[Stream]:
        """The lanes that stand as they stood when the round began."""
        running = self._running()
        return [stream for stream, epoch in ended.epochs.items() if running.get(stream) == epoch]

    def take_in(self, ended: Round, now: float, in_flight: Collection[Stream]) -> set[Stream]:
        """What a round came to; the lanes of which something was cut, or handed out, when something else waited than does now.

        That is read again, and something has to land before another round may have it done again: nothing might land for long.

        Raises:
            Conflict, Unavailable, Broken: what it ended with.
        """
        retried = ended.answer.result()
        self.backoff.succeeded()
        self._looked_at = now
        if retried.landed or retried.refused or retried.given_up:
            self._around.observer.notice(events.LettersRetried(self._name, retried.landed, retried.refused, retried.given_up))
        else:
            self._rest_until = now + REST_SECONDS
        changed: set[Stream] = set()
        for stream in self.current(ended):
            lane = self._lanes[stream]
            before, lane.held = lane.held, self._held(lane, retried.waiting[stream])
            lane.waits = retried.waiting[stream].records
            if before is not None and not lane.held.alike(before, self._ledger.safe(stream) or 0):
                changed.add(stream)
        stale = {stream for stream in changed if stream in in_flight or self._lanes[stream].handed}
        self._gives_way = self._gives_way or bool(stale)
        return stale

    # ---- how much waits ----

    @property
    def letters(self) -> int:
        """Letters that wait."""
        return sum(lane.waits for lane in self._lanes.values() if lane.state is not LaneState.HALTED)

    def look(self) -> None:
        """Tell what waits, if that has changed, and whether it is as much as may be."""
        if self._retries is None:
            return
        self._end_bounded()
        keys = sum(len(lane.held.keys) for lane in self._lanes.values() if lane.held is not None)
        told = (self.letters, keys)
        if told == self._told:
            return
        self._told = told
        letters, most = told[0], self._limits.waiting_records_max
        self._around.observer.notice(events.LettersWaiting(self._name, *told, most))
        full = self.full
        if self._told_full != full:
            self._told_full = full
            words = f"{letters} dead letters wait to be tried again, of at most {most}"
            words += ": nothing is read until a tenth fewer do" if full else ": reading goes on"
            self._around.observer.notice(events.Notice(self._name, "RETRY_BACKLOG", words, "warning" if full else "cleared"))

    def _end_bounded(self) -> None:
        """A run to the end of the log waits for no letter: where so many wait that its lanes are not read on, they halt there."""
        if not self.full or self.owed:
            return
        for stream in self.held():
            lane = self._lanes[stream]
            if lane.stop_at is not None and lane.reads:
                lane.end(_backlog(self.letters, self._limits.waiting_records_max))

    @property
    def full(self) -> bool:
        """Whether as many letters wait as may. Once told, that holds until a tenth fewer do: it must not begin and end all the time."""
        if self._retries is None:
            return False
        most = self._limits.waiting_records_max
        ahead = sum(map(self._ahead, self._lanes.values()))
        return self.letters - ahead >= (max(1, most * 9 // 10) if self._told_full else most)

    def _ahead(self, lane: Lane) -> int:
        """Letters of a lane that a batch left behind which has not landed: only reading gets past them, and they are not tried before."""
        buried = self._buried.get(lane.stream, ()) if lane.state is not LaneState.HALTED else ()
        return len(buried) - bisect_left(buried, self._ledger.safe(lane.stream) or 0)

    def held(self) -> set[Stream]:
        """Streams that are not to be read for what waits already. What was read before still is."""
        return {stream for stream, lane in self._lanes.items() if not lane.reading_again} if self.full else set()


def _backlog(letters: int, most: int) -> Halt:
    message = f"{letters} dead letters wait to be tried again, of at most {most}, and nothing more is read until fewer do"
    step = "Run it again when they have landed or were given up; or raise retry.later.waiting_records_max."
    return Halt("RETRY_BACKLOG", message, step)
