"""A world: the whole engine, several workers of it, over a simulated log, group, table and dead letters. What happens is in a schedule."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from landfast.core.report import Outcome
from landfast.model import Stream
from landfast.testing.faults import Call
from landfast.testing.ledger import Verdict, ahead, audit, passed_before_buried
from landfast.testing.memory import MemoryLetterStore, MemoryLog, TableCommit, VersionTaken
from landfast.testing.world.deeds import do
from landfast.testing.world.operator import finished_early, operators_view, read_without_leave
from landfast.testing.world.retried import audit_retried, waiting_letters
from landfast.testing.world.schedule import QUIET_AT_SECONDS, Act, Deed, Schedule, disturbance
from landfast.testing.world.scheduler import Scheduler
from landfast.testing.world.workers import Ground, WatchedGroup, WatchedTable, Worker, fate, hired

TOPIC = "t"
FOREIGN = "somebody else"
"""The run that commits of another tool name."""

FATE = "fate"
"""The owner of the tasks that belong to no worker: they are never frozen, and nothing befalls them."""

REST_SECONDS_MAX = 900.0
STEPS_MAX = 60_000
RESTART_SECONDS = 1.0
REJOIN_SECONDS = 3.0
LATE_SECONDS = 4.0
OPERATOR_SECONDS = 40.0
_NEVER = (-1, 0, 0)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What came of a schedule. `problems` is empty where all is well."""

    problems: tuple[str, ...]
    verdict: Verdict
    trace_hash: str
    seconds: float
    steps: int
    commits: tuple[TableCommit, ...]


class World:
    """Plays one schedule.

    robbed     streams that lost records to retention or to a truncation: what the ledger says of them proves nothing
    replaced   streams of a topic that was created again, old and new: they may stop, and what lands of each must be its own
    halted     streams of which a worker said that it stands still
    compacted  records that were compacted away, perhaps after they were read
    done       every deed that has happened
    by_hand    letters that a person has resolved
    both_own   whether two workers ever held the same stream for theirs at once
    late       versions that were put when nobody waited for them any more
    quiet      nothing disturbs any more
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.log = MemoryLog()
        self.log.create(TOPIC, schedule.sizes.partitions)
        self.group = WatchedGroup(self.log, [TOPIC], self._look)
        self.table = WatchedTable(self._look)
        self.store = MemoryLetterStore()
        self.scheduler = Scheduler(schedule.seed, self._crashed)
        self._store_seconds = schedule.sizes.store_seconds
        self.workers: list[Worker] = []
        self.robbed: set[Stream] = set()
        self.replaced: set[Stream] = set()
        self.halted: set[Stream] = set()
        self.compacted: set[tuple[Stream, int]] = set()
        self.done: set[Deed] = set()
        self.by_hand: set[tuple[Stream, int]] = set()
        self.both_own = False
        self.late = 0
        self._violations: list[str] = []
        self._rows = iter(schedule.faults)
        self._numbers = itertools.count(1)
        self.quiet = self._ending = False
        self._acknowledgements_seen = self._commits_seen = 0
        self._frozen: set[str] = set()
        self._settled_at, self._is_settled = _NEVER, False

    # ---- the life of a world ----

    def play(self) -> Outcomes:
        """Let everything happen, then let it come to rest, then judge.

        Raises:
            Stuck: it does not come to rest: a record is neither landed nor halted, or a worker does not stop.
        """
        try:
            for _ in range(self.schedule.sizes.workers):
                self._start()
            self.scheduler.spawn(FATE, "fate", self._act)
            self.scheduler.run(self._at_rest, QUIET_AT_SECONDS + REST_SECONDS_MAX, STEPS_MAX)
            self._ending = True
            for worker in self.living:
                worker.runner.stop()
            self.scheduler.run(lambda: not self.living, REST_SECONDS_MAX, STEPS_MAX)
            return self._judge()
        finally:
            self.scheduler.close()

    def _act(self) -> None:
        for act in self.schedule.acts:
            self.scheduler.sleep(act.at_seconds - self.scheduler.now)
            self.do(act)
        self.scheduler.sleep(QUIET_AT_SECONDS - self.scheduler.now)
        for stream in self.log.streams():
            self.log[stream].close_transaction()
        for worker in self.workers:
            worker.plan.calm()
            self.thaw(worker.name)
        self.group.balance()
        self.quiet, self._settled_at = True, _NEVER

    def _at_rest(self) -> bool:
        """Whether everything has landed that must, and workers of bounded runs have ended by themselves."""
        return self.quiet and self._settled and (not self.schedule.sizes.until_end or not self.living)

    @property
    def _settled(self) -> bool:
        """Whether everything has landed, but for what stands still and says so."""
        stands = (self.table.version, len(self.halted), self.store.changes)
        if self._settled_at != stands:
            self._settled_at = stands
            self._is_settled = not any(self.waiting()) and not (self._tries_again and any(waiting_letters(self)))
        return self._is_settled

    @property
    def _tries_again(self) -> bool:
        """Whether letters must not wait for ever: a bounded run leaves those that are not due."""
        return bool(self.schedule.sizes.later_seconds) and not self.schedule.sizes.until_end

    def waiting(self) -> Iterator[tuple[Stream, int]]:
        """What was written, is not passed, and of which nobody has said that it stands still; of topics as they are today.

        Of a stream that the table has never seen that is only what the log still has: nobody can say what went before.
        """
        for stream in self.log.streams():
            if stream not in self.halted:
                partition, position = self.log[stream], self.table.positions.get(stream)
                owed = partition.records if position is None else (offset for offset in partition.ever if offset >= position)
                yield from ((stream, offset) for offset in owed)

    # ---- workers ----

    @property
    def living(self) -> list[Worker]:
        """The workers that run."""
        return [worker for worker in self.workers if worker.alive]

    def _start(self) -> None:
        ground = Ground(self.group, self.table, self.store, self.scheduler, self.halted)
        faults = () if self.quiet else next(self._rows, ())
        name = f"worker-{next(self._numbers)}"
        worker = hired(ground, self.schedule.sizes, name, faults, WorldPowers(self, name))
        worker.plan.between = partial(self._before, worker)
        self.workers.append(worker)
        self.scheduler.spawn(worker.name, "main", lambda: self._run(worker))

    def _run(self, worker: Worker) -> None:
        worker.report = worker.runner.run(until_end=self.schedule.sizes.until_end)
        self.scheduler.trace(f"{worker.name} {worker.report.outcome}")
        worker.company = bool(self.living)
        if Deed.SKEW not in self.done:
            # What waits is tried in time, and then the next run goes on; but for a clock that was set back it is not due in any of them.
            self.halted -= {stream for stream, halt in worker.report.halts.items() if halt.code == "RETRY_BACKLOG"}
        if self.schedule.sizes.until_end and worker.report.outcome is Outcome.FINISHED:
            self._violations += finished_early(self, worker)
        if not (self.quiet and self._settled):
            # Who halted waits for an operator: to start it again at once would only shake the group.
            self._start_after(OPERATOR_SECONDS if worker.report.outcome is Outcome.HALTED else RESTART_SECONDS)

    def _start_after(self, seconds: float) -> None:
        def start() -> None:
            if not self._ending:
                self._start()

        self.later(seconds, start)

    def _crashed(self, name: str) -> None:
        """A process is gone. The group learns of it when its session ends, and another process is started."""
        worker = next(each for each in self.workers if each.name == name)
        worker.crashed = worker.plan.dead = True
        self.later(self.schedule.sizes.session_seconds, lambda: self.group.leave(name))
        self._start_after(RESTART_SECONDS)

    def _before(self, worker: Worker, _number: int, call: Call) -> None:
        self.scheduler.trace(f"{worker.name} {call.place}")
        if call.port == "observer":
            return
        if call.port == "source":
            self._before_reading(worker, call.method)
        if self._store_seconds and call.port in {"table", "store"}:
            self.scheduler.sleep(self.scheduler.between(0.0, self._store_seconds))
        else:
            self.scheduler.pause()

    def _before_reading(self, worker: Worker, method: str) -> None:
        if method == "poll":
            worker.look_ahead()
        elif method == "close":
            worker.leaving = True
        elif method == "rewind" and not self.both_own:
            self._look_at_lanes()

    def _look_at_lanes(self) -> None:
        owners: Counter[Stream] = Counter()
        for worker in self.living:
            for flow in worker.runner.flows:
                owners.update(stream for stream, lane in flow.lanes.items() if lane.epoch)
        self.both_own = any(count > 1 for count in owners.values())

    def _look(self) -> None:
        """What must hold at every moment: nothing acknowledged that is not held, no record passed before its letter is buried."""
        if len(self.group.acknowledged) > self._acknowledgements_seen:
            news = self.group.acknowledged[self._acknowledgements_seen :]
            self._acknowledgements_seen += len(news)
            self._violations += [f"acknowledged ahead: {each}" for each in ahead(news, self.table.positions)]
        if self.table.version == self._commits_seen:
            return
        commits = self.table.commits[self._commits_seen :]
        self._commits_seen += len(commits)
        for commit in commits:
            if not commit.spans:
                continue  # It takes streams over, or is another tool's: it passes nothing.
            unburied = passed_before_buried(commit, self.log.truth(), self.store.letters, fate)
            # Where a log was cut off, another record may lie by now where the one lay that was read.
            self._violations += [f"passed before buried: {stream}@{offset}" for stream, offset in unburied if stream not in self.robbed]

    # ---- for deeds ----

    def do(self, act: Act) -> None:
        """Let an act happen."""
        self.scheduler.trace(f"{act.deed} {act.pick} {act.amount}")
        self.done.add(act.deed)
        do(self, act)

    def later(self, seconds: float, deed: Callable[[], object]) -> None:
        """Do something after so much virtual time."""

        def wait() -> None:
            self.scheduler.sleep(seconds)
            deed()

        self.scheduler.spawn(FATE, "later", wait)

    def freeze(self, worker: Worker) -> None:
        """A worker stands still, until `thaw`."""
        self.scheduler.freeze(worker.name)
        self._frozen.add(worker.name)
        worker.was_away = True

    def thaw(self, name: str) -> None:
        """It goes on, if it stood still."""
        if name in self._frozen:
            self._frozen.discard(name)
            self.scheduler.thaw(name)

    def stand_still(self, worker: Worker, seconds: float) -> None:
        """A worker stands still for so long; if that is longer than its session, the group gives its streams away: it wakes as a zombie."""
        name, session_seconds = worker.name, self.schedule.sizes.session_seconds
        self.freeze(worker)
        if seconds > session_seconds:
            self.later(session_seconds, lambda: self.throw_out(worker))
        self.later(seconds, lambda: self.thaw(name))

    def throw_out(self, worker: Worker) -> None:
        """The group takes a worker for dead; it comes back when it is let in again. Who never joined has nothing to come back to."""
        if worker.name not in self.group.members:
            return
        self.group.leave(worker.name)
        worker.was_away = True

        def rejoin() -> None:
            if worker.alive and not worker.leaving:
                self.group.rejoin(worker.name)

        self.later(REJOIN_SECONDS, rejoin)

    def commit_as_another_tool(self) -> None:
        """Somebody else puts a version that moves no position, and does not try twice."""
        version = self.table.version + 1
        with contextlib.suppress(VersionTaken):
            self.table.put(version, TableCommit(f"foreign-{version}", FOREIGN, 0))

    def kill(self, worker: Worker) -> None:
        """A worker is gone from one moment to the next."""
        self.scheduler.drop(worker.name)
        self._crashed(worker.name)

    # ---- the judgement ----

    def _judge(self) -> Outcomes:
        self._look()
        if self.schedule.sizes.later_seconds:
            verdict = audit_retried(self)
        else:
            verdict = audit(self.log.truth(), self.table.commits, self.store.letters, fate)
        problems = [*self._violations, *self._wrongs(verdict)]
        problems += [*operators_view(self), *read_without_leave(self.table.commits)]
        scheduler = self.scheduler
        return Outcomes(tuple(problems), verdict, scheduler.trace_hash, scheduler.now, scheduler.steps, self.table.commits)

    def _wrongs(self, verdict: Verdict) -> list[str]:
        """What the ledger holds against the world."""
        found: list[str] = []
        for kind in ("lost", "pending", "twice", "phantom", "misplaced", "changed", "out_of_order"):
            found += [f"{kind}: {stream}@{offset}" for stream, offset in getattr(verdict, kind) if self._counts(kind, stream, offset)]
        return found + ([] if self.robbed or self.compacted else list(verdict.unaccounted))

    def _counts(self, kind: str, stream: Stream, offset: int) -> bool:
        """Whether what the ledger says of a place can only be the engine's doing."""
        if kind == "phantom" and (stream, offset) in self.compacted:
            return False  # It was read before it was compacted away: it has landed, and that is as good as not at all.
        if kind == "pending" and (stream in self.replaced or stream in self.halted):
            return False
        return kind == "twice" or stream not in self.robbed


class WorldPowers:
    """What faults may do to a worker of a world: see `faults.Powers`."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name

    def freeze(self, half_sessions: int) -> None:
        """The worker stands still, from this very call on."""
        world = self._world
        if not world.quiet:
            world.stand_still(next(worker for worker in world.workers if worker.name == self._name), self._seconds(half_sessions))
            world.scheduler.pause()

    def hang(self, half_sessions: int) -> None:
        """This call takes long."""
        self._world.scheduler.sleep(self._seconds(half_sessions))

    def later(self, call: Callable[[], object]) -> None:
        """What was sent arrives when nobody waits for it any more, if there is still room for it."""

        def arrive() -> None:
            try:
                call()
            except VersionTaken:
                self._world.scheduler.trace("too late")
            else:
                self._world.late += 1

        self._world.later(LATE_SECONDS * self._world.schedule.sizes.session_seconds / 10, arrive)

    def overtake(self) -> None:
        """Somebody else commits first."""
        self._world.commit_as_another_tool()

    def disturb(self, number: int) -> None:
        """Something happens around the workers."""
        if not self._world.quiet:
            self._world.do(disturbance(number))

    def _seconds(self, half_sessions: int) -> float:
        return half_sessions * self._world.schedule.sizes.session_seconds * self._world.scheduler.between(0.3, 0.7)
