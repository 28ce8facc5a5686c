"""A world: the whole engine, several workers of it, over a simulated log, group, table and dead letters. What happens is in a schedule."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from landfast.core.report import Outcome
from landfast.model import Stream
from landfast.testing.faults import Call
from landfast.testing.ledger import Verdict, ahead, audit, passed_before_buried
from landfast.testing.memory import MemoryGroup, MemoryLetterStore, MemoryLog, MemoryTable, TableCommit
from landfast.testing.world.deeds import do
from landfast.testing.world.schedule import QUIET_AT_SECONDS, Schedule
from landfast.testing.world.scheduler import Scheduler
from landfast.testing.world.workers import Ground, Watch, Worker, fate, hired

TOPIC = "t"
FATE = "fate"
"""The owner of the tasks that belong to no worker: they are never frozen, and nothing befalls them."""

REST_SECONDS_MAX = 900.0
STEPS_MAX = 60_000
RESTART_SECONDS = 1.0
OPERATOR_SECONDS = 40.0


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
    compacted  records that were compacted away, perhaps after they were read
    both_own   whether two workers ever held the same stream for theirs at once
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.log = MemoryLog()
        self.log.create(TOPIC, schedule.sizes.partitions)
        self.group = MemoryGroup(self.log, [TOPIC])
        self.table = MemoryTable()
        self.store = MemoryLetterStore()
        self.scheduler = Scheduler(schedule.seed, self._crashed)
        self.workers: list[Worker] = []
        self.robbed: set[Stream] = set()
        self.replaced: set[Stream] = set()
        self.compacted: set[tuple[Stream, int]] = set()
        self.both_own = False
        self._violations: list[str] = []
        self._rows = iter(schedule.faults)
        self._numbers = itertools.count(1)
        self._quiet = self._ending = False
        self._acknowledgements_seen = self._commits_seen = 0
        self._frozen: set[str] = set()

    # ---- the life of a world ----

    def play(self) -> Outcomes:
        """Let everything happen, then let it come to rest, then judge.

        Raises:
            Stuck: it does not come to rest: a record is neither landed nor halted, or a worker does not stop.
        """
        for _ in range(self.schedule.sizes.workers):
            self._start()
        self.scheduler.spawn(FATE, "fate", self._act)
        self.scheduler.run(lambda: self._quiet and self._at_rest, QUIET_AT_SECONDS + REST_SECONDS_MAX, STEPS_MAX)
        self._ending = True
        for worker in self.living:
            worker.runner.stop()
        self.scheduler.run(lambda: not self.living, REST_SECONDS_MAX, STEPS_MAX)
        return self._judge()

    def _act(self) -> None:
        for act in self.schedule.acts:
            self.scheduler.sleep(act.at_seconds - self.scheduler.now)
            self.scheduler.trace(f"{act.deed} {act.pick} {act.amount}")
            do(self, act)
        self.scheduler.sleep(QUIET_AT_SECONDS - self.scheduler.now)
        for stream in self.log.streams():
            self.log[stream].close_transaction()
        for worker in self.workers:
            worker.plan.calm()
            self.thaw(worker.name)
        self.group.balance()
        self._quiet = True

    @property
    def _at_rest(self) -> bool:
        """Whether everything has landed that must, and workers of bounded runs have ended by themselves."""
        return self._settled and (not self.schedule.sizes.until_end or not self.living)

    @property
    def _settled(self) -> bool:
        """Whether everything has landed, but for what stands still where an operator has to decide."""
        positions = self.table.positions
        return all(
            offset < positions.get(stream, -1) or stream in self.robbed or stream in self.replaced
            for stream, records in self.log.truth().items()
            for offset in records
        )

    # ---- workers ----

    @property
    def living(self) -> list[Worker]:
        """The workers that run."""
        return [worker for worker in self.workers if worker.alive]

    def _start(self) -> None:
        ground = Ground(self.group, self.table, self.store, self.scheduler)
        faults = () if self._quiet else next(self._rows, ())
        worker = hired(ground, self.schedule.sizes, f"worker-{next(self._numbers)}", faults, Watch(self._before, self._after))
        self.workers.append(worker)
        self.scheduler.spawn(worker.name, "main", lambda: self._run(worker))

    def _run(self, worker: Worker) -> None:
        worker.report = worker.runner.run(until_end=self.schedule.sizes.until_end)
        self.scheduler.trace(f"{worker.name} {worker.report.outcome}")
        worker.company = bool(self.living)
        if not (self._quiet and self._settled):
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

    def _before(self, name: str, call: Call) -> None:
        self.scheduler.trace(f"{name} {call.port}.{call.method}")
        if call.method == "poll":
            self._look_at_lanes()
        if call.port != "observer":
            self.scheduler.pause()

    def _look_at_lanes(self) -> None:
        owners: Counter[Stream] = Counter()
        for worker in self.living:
            for flow in worker.runner.flows:
                owners.update(stream for stream, lane in flow.lanes.items() if lane.epoch)
                worker.ahead = worker.ahead or any(lane.decoding for lane in flow.lanes.values())
        self.both_own = self.both_own or any(count > 1 for count in owners.values())

    def _after(self) -> None:
        """What must hold at every moment: nothing acknowledged that is not held, no record passed before its letter is buried."""
        news = self.group.acknowledged[self._acknowledgements_seen :]
        if news:
            self._acknowledgements_seen += len(news)
            self._violations += [f"acknowledged ahead: {each}" for each in ahead(news, self.table.positions)]
        commits = self.table.commits[self._commits_seen :]
        self._commits_seen += len(commits)
        for commit in commits:
            unburied = passed_before_buried(commit, self.log.truth(), self.store.letters, fate)
            self._violations += [f"passed before buried: {stream}@{offset}" for stream, offset in unburied]

    # ---- for deeds ----

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

    def kill(self, worker: Worker) -> None:
        """A worker is gone from one moment to the next."""
        self.scheduler.drop(worker.name)
        self._crashed(worker.name)

    # ---- the judgement ----

    def _judge(self) -> Outcomes:
        self._after()
        verdict = audit(self.log.truth(), self.table.commits, self.store.letters, fate)
        problems = [*self._violations, *self._wrongs(verdict)]
        for worker in self.workers:
            if worker.report is not None and not worker.report.totals.holds:
                problems.append(f"{worker.name}: the equation does not hold: {worker.report.totals}")
            if worker.report is not None and worker.report.outcome is Outcome.BROKEN:
                problems.append(f"{worker.name}: {worker.report.error}")
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
        if kind == "pending" and stream in self.replaced:
            return False
        return kind == "twice" or stream not in self.robbed
