"""The torture itself: workers land a load while they are killed, stopped and held, until there is time to settle."""

from __future__ import annotations

import enum
import itertools
import queue
import random
import signal
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from landfast.cli.torture.crew import Load, Process, Said, Saying, Worker
from landfast.cli.torture.ground import Ground
from landfast.cli.torture.points import JOINING
from landfast.cli.torture.posts import Limits, Post, State, instance, leave_debris
from landfast.cli.torture.score import Score
from landfast.cli.torture.torment import Deed, Plan, Torment
from landfast.errors import Broken
from landfast.ports import Clock

TICK_SECONDS = 0.05
SETTLE_SECONDS_MAX = 120.0
"""How long nothing may land while something has to, once nobody is hurt any more."""
JOIN_SECONDS_MAX = 60.0
"""A worker that has no partitions for so long is hurt all the same."""
END_SECONDS_MAX = 90.0
KILLS_PER_MEASUREMENT, CALM_SECONDS_MAX = 20, 60.0
"""After so many kills the time of a recovery is measured, in calm, which may take so long and two sessions."""
CRASHES_MAX = 4
"""When so many workers have ended by themselves and nothing has landed in between, nothing more is to be learned."""
LEAVE_SECONDS_MAX = 60.0

_LEFT_WELL = (0, 3)
"""Exit codes of a worker that was asked to end: it may have had to leave something to the next one."""


def _ended_well(post: Post, code: int | None) -> bool:
    """Whether a worker that was asked to end did so. One that had not joined may not have been listening yet."""
    return code in _LEFT_WELL or (code == -signal.SIGTERM and not post.joined)


class Calm(enum.Enum):
    """Whether nobody but one is hurt for a while, so that the time of a recovery can be measured."""

    NONE = "everybody is fair game"
    COMING = "nobody is hurt until all that was lost is recovered"
    BEFORE = "one will be killed"
    AFTER = "one was killed, and has to be made up for"
    FOR_GOOD = "the torture is over"


class Harness:
    """Runs one torture. Use it once."""

    def __init__(self, ground: Ground, limits: Limits, clock: Clock, show: Callable[[Score, float], None]) -> None:
        self.score = Score(ground.lanes, ground.points)
        self.torment = Torment(limits.seed, ground.session_seconds)
        self.crashes: list[str] = []
        self.settled = False
        self.torture_seconds = self.settle_seconds = 0.0
        self.load_over = False
        self.doubtful: frozenset[int] = frozenset()
        self._ground = ground
        self._limits = limits
        self._clock = clock
        self._show = show
        self._saying: Saying = queue.SimpleQueue()
        self._unheard: deque[Said] = deque()
        self._posts: list[Post] = []
        self._numbers = itertools.count(1)
        self._fruitless = self._commits_before = 0
        self._standing_by: Worker | None = None
        self._load: Load | None = None
        self._calm = Calm.NONE
        self._calm_until = 0.0
        self._kills_measured = 0
        self._chance = random.Random(limits.seed)  # noqa: S311 — repeatable, and no secret
        self._told_at = 0.0
        self._debris_at = 0.0
        self._logs = ground.folder / "logs"
        # Points that are still ahead of a worker that has joined.
        self._at_work = [point for point in ground.points if point not in JOINING]

    def run(self) -> None:
        """Torture, then let settle. Every process is gone when this returns or raises.

        Raises:
            Broken: the load could not go on, or worker after worker ended by itself.
        """
        self._logs.mkdir()
        with self._processes():
            began = self._clock.monotonic()
            while self._clock.monotonic() - began < self._limits.seconds and not self._enough_kills:
                self._turn(began)
                self._measure()
                for post in self._posts:
                    self._step(post)
            self._spare_all()
            self.torture_seconds = self._clock.monotonic() - began
            self._settle(began)

    @contextmanager
    def _processes(self) -> Iterator[None]:
        """The load and the crew, who are gone when the block ends."""
        order = self._ground.load(self._limits.seed, self._limits.records_per_second_max)
        self._load = Load(order, self._logs / "load.log", self._saying)
        try:
            for number in range(self._limits.workers):
                self._posts.append(Post(number, self._hired()))
                self._begin(self._posts[-1])
            self._standing_by = self._hired()
            yield
        finally:
            crew = [post.worker for post in self._posts] + ([] if self._standing_by is None else [self._standing_by])
            for process in (self._load, *crew):
                process.kill()

    @property
    def _may_hurt(self) -> bool:
        """Whoever kills faster than anybody lands tests nothing but the start."""
        return bool(self.score.landed) and self.score.kills_since_landing < self._limits.workers and self._calm is Calm.NONE

    @property
    def _enough_kills(self) -> bool:
        return self._limits.kills is not None and self.score.kills_in_all >= self._limits.kills

    def _hired(self) -> Worker:
        return Worker(self._ground.file, self._logs / f"worker-{next(self._numbers)}.log", self._saying)

    def _begin(self, post: Post) -> None:
        post.worker.begin(instance(post.number, self._ground.settings.source.protocol), None)

    # What is heard.

    def _turn(self, began: float) -> None:
        """Hear what was said, for a moment; tell the load how far it may go."""
        with suppress(queue.Empty):
            if not self._unheard:
                self._unheard.append(self._saying.get(timeout=TICK_SECONDS))
            while True:
                self._unheard.append(self._saying.get_nowait())
        while self._unheard:
            self._hear(self._unheard.popleft())
        now = self._clock.monotonic()
        if now - self._told_at > 4 * TICK_SECONDS and self._load is not None:
            self._told_at = now
            self._load.landed(self.score.landed)
            self._show(self.score, now - began)
        if now > self._debris_at:
            self._debris_at = now + 20.0
            leave_debris(self._ground.table, self._clock)

    def _hear(self, said: Said) -> None:
        if said.by is self._load:
            self._hear_load(said)
            return
        now = self._clock.monotonic()
        post = next((post for post in self._posts if post.worker is said.by), None)
        if said.facts is not None and "at" not in said.facts and "on" not in said.facts:
            self.score.hear(said.by.pid, said.facts, now)
            if post is not None and "rebalanced" in said.facts:
                self._joined(post, now)
        elif post is None and said.by is self._standing_by:
            self._crashed(self._standing_by, "ended while it stood by")
            self._standing_by = self._hired()
        elif post is not None and said.facts is None:
            self._ended(post)
        elif post is not None and said.facts is not None and "at" in said.facts:
            self._reached(post, str(said.facts["at"]), now)
        elif post is not None and post.state is State.GOING_ON:
            self._rest(post)

    def _joined(self, post: Post, now: float) -> None:
        """A worker has been given partitions: what is planned for it begins to count, if it did not from its start."""
        if not post.joined and post.state is State.WAITING and post.plan is not None and not post.plan.early:
            post.due = now + post.plan.after_seconds
        post.joined = True

    def _hear_load(self, said: Said) -> None:
        if said.facts is None:
            if not self.load_over:
                raise Broken("TORTURE_FAILED", f"the load ended by itself. Its last words:\n{said.by.last_words}")
            return
        self.score.hear_load(said.facts)
        if said.facts.get("over"):
            self.load_over = True
            self.doubtful = frozenset(said.facts["doubtful_numbers"])

    def _ended(self, post: Post) -> None:
        """A worker has ended, and not by a kill of ours."""
        code = post.worker.wait(END_SECONDS_MAX)
        self.score.gone(post.worker.pid)
        if post.state is not State.LEAVING or not _ended_well(post, code):
            self._crashed(post.worker, f"ended by itself with {code}")
        post.worker.kill()
        post.worker.log.unlink(missing_ok=True)
        self._replace(post)

    def _crashed(self, worker: Worker, how: str) -> None:
        self.crashes.append(f"a worker {how}. Its last words:\n{worker.last_words}")
        self.score.counts["ended by themselves"] += 1
        commits = self.score.counts["commits"]
        self._fruitless = 1 if commits > self._commits_before else self._fruitless + 1
        self._commits_before = commits
        if self._fruitless >= CRASHES_MAX:
            raise Broken("TORTURE_FAILED", f"{self._fruitless} workers in a row ended by themselves, the last so: {self.crashes[-1]}")

    # The time of a recovery.

    def _measure(self) -> None:
        """Now and then let everything calm down, kill one worker, and wait until nothing of it is missing."""
        now, calm = self._clock.monotonic(), self._calm
        kills = self.score.kills_in_all
        if calm is Calm.NONE:
            if kills - self._kills_measured >= KILLS_PER_MEASUREMENT:
                self._calm, self._calm_until = Calm.COMING, now + CALM_SECONDS_MAX + 2 * self._ground.session_seconds
                self._let_be()
        elif now > self._calm_until or (calm is Calm.AFTER and not self.score.outages):
            self._calm, self._kills_measured, self.score.measured = Calm.NONE, kills, False
        elif calm is Calm.COMING and not self.score.outages and all(post.joined and post.state is State.FREE for post in self._posts):
            self._calm, self.score.measured = Calm.BEFORE, True
            self._plan(self._chance.choice(self._posts), Plan(Deed.KILL, after_seconds=self._chance.uniform(0.1, 1.0)))
            self._kills_measured = kills
        elif calm is Calm.BEFORE and kills > self._kills_measured:
            self._calm = Calm.AFTER

    def _let_be(self) -> None:
        """Take all plans back."""
        for post in self._posts:
            if post.state is State.WAITING:
                self._rest(post)
            elif post.state is State.STILL and post.plan is not None:
                self._go_on(post, post.plan)

    # What is done.

    def _step(self, post: Post) -> None:
        """Do what is due to this worker, or plan something."""
        now = self._clock.monotonic()
        if post.state is State.FREE:
            if self._may_hurt:
                self._plan(post, self.torment.plan(now, self._at_work if post.joined else self._ground.points))
        elif post.state is State.GOING_ON:
            # It may not have stood still yet when it was told; it says when it goes on.
            post.worker.signal(signal.SIGCONT)
        elif now >= post.due:
            self._due(post, now)

    def _plan(self, post: Post, plan: Plan) -> None:
        post.state, post.plan = State.WAITING, plan
        post.due = self._clock.monotonic() + (plan.after_seconds if post.joined or plan.early else JOIN_SECONDS_MAX)
        if plan.point:
            post.worker.obey(plan.order)

    def _due(self, post: Post, now: float) -> None:
        plan = post.plan
        if plan is None:
            return
        if post.state is State.LEAVING:
            self._crashed(post.worker, f"did not end within {LEAVE_SECONDS_MAX:g} s")
            self._kill(post, "")
        elif post.state is State.STILL:
            self._after_standing_still(post, plan)
        elif plan.point:
            self.torment.not_reached(plan, now)
            self._rest(post)
        else:
            self._at_any_moment(post, plan, now)

    def _reached(self, post: Post, point: str, now: float) -> None:
        """The worker stands still at the point where it was to."""
        plan = post.plan
        if plan is None or post.state is not State.WAITING or plan.point != point:
            # Too late: it was given up. Whoever is held goes on, who stands still too.
            post.worker.obey(None)
            post.state = State.GOING_ON
        elif plan.deed is Deed.KILL:
            self._kill(post, plan.point)
        else:
            self._stand_still(post, plan, now)

    def _at_any_moment(self, post: Post, plan: Plan, now: float) -> None:
        match plan.deed:
            case Deed.KILL:
                self._kill(post, "")
            case Deed.KILL_ALL:
                for one in self._posts:
                    self._kill(one, "")
            case Deed.LEAVE:
                self.score.deeds[plan.deed.value] += 1
                post.state, post.due = State.LEAVING, now + LEAVE_SECONDS_MAX
                post.worker.signal(signal.SIGTERM)
            case _:
                post.worker.signal(signal.SIGSTOP)
                self._stand_still(post, plan, now)

    def _stand_still(self, post: Post, plan: Plan, now: float) -> None:
        post.state, post.due = State.STILL, now + plan.lasts_seconds

    def _after_standing_still(self, post: Post, plan: Plan) -> None:
        if plan.deed is Deed.KILL_STOPPED:
            self._kill(post, plan.point)
            return
        self.score.deeds[plan.deed.value] += 1
        self._go_on(post, plan)

    def _go_on(self, post: Post, plan: Plan) -> None:
        """Let it go on; where it stands at a point, it says so."""
        if plan.point:
            post.worker.obey(None)
            post.state = State.GOING_ON
        post.worker.signal(signal.SIGCONT)
        if not plan.point:
            self._rest(post)

    def _rest(self, post: Post) -> None:
        if post.state is State.LEAVING:
            return
        if post.plan is not None and post.plan.point and post.state is State.WAITING:
            post.worker.obey(None)
        post.state, post.plan = State.FREE, None

    def _kill(self, post: Post, point: str) -> None:
        at = self._clock.monotonic()
        post.worker.kill()
        self._drain(post.worker)
        self.score.killed(post.worker.pid, at, point)
        self.torment.killed[point] += 1
        post.worker.log.unlink(missing_ok=True)
        self._replace(post)

    def _drain(self, dead: Process) -> None:
        """Hear what it had said before it was killed, so that nothing of it comes as news afterwards."""
        while not any(said.by is dead and said.facts is None for said in self._unheard):
            self._unheard.append(self._saying.get())
        now = self._clock.monotonic()
        for said in self._unheard:
            if said.by is dead and said.facts is not None:
                self.score.hear(dead.pid, said.facts, now)
        self._unheard = deque(said for said in self._unheard if said.by is not dead)

    def _replace(self, post: Post) -> None:
        """Let the one that stands by take the place, and the next one stand by. Starting Python would be most of a short life."""
        post.worker, self._standing_by = self._standing_by or self._hired(), self._hired()
        self._begin(post)
        post.state, post.plan, post.joined = State.FREE, None, False
        if self._may_hurt:
            self._plan(post, self.torment.plan(self._clock.monotonic(), self._ground.points))

    # The end.

    def _spare_all(self) -> None:
        """From now on nobody is hurt, and whoever stood still goes on."""
        self._calm = Calm.FOR_GOOD
        for post in self._posts:
            if post.state is not State.LEAVING:
                post.worker.obey(None)
                post.worker.signal(signal.SIGCONT)
                post.state, post.plan = State.FREE, None

    def _settle(self, began: float) -> None:
        """Wait until all that is acknowledged has landed, then let everybody end."""
        load = self._load
        if load is None:
            return
        load.stop()
        begun = reached = self._clock.monotonic()
        left = self.score.backlog
        while not (self.load_over and self.score.settled):
            self._turn(began)
            self._keep_going()
            now = self._clock.monotonic()
            if self.score.backlog != left or not self.load_over:
                left, reached = self.score.backlog, now
            if now - reached > SETTLE_SECONDS_MAX:
                break
        self.settled = self.load_over and self.score.settled
        self.settle_seconds = self._clock.monotonic() - begun
        self._end_all()

    def _keep_going(self) -> None:
        """Whoever has not heard yet that he may go on is told again."""
        for post in self._posts:
            post.worker.signal(signal.SIGCONT)

    def _end_all(self) -> None:
        for post in self._posts:
            post.worker.signal(signal.SIGTERM)
        for post in self._posts:
            code = post.worker.wait(END_SECONDS_MAX)
            if not _ended_well(post, code):
                self._crashed(post.worker, f"{'did not end' if code is None else f'ended with {code}'} when it was asked to")
