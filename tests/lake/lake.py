"""A lake: real Delta tables on a disk, and all who write to them, in one thread, moved on by chance from one act of the disk to the next.

Workers of the engine land a simulated log, with upserts or without, and in some lakes try dead letters again by themselves; people replay
them; jobs write to several tables at once; a reader looks at what is sealed. Anyone may be killed between any two acts. The seed decides
all of it but the names of files.
"""

from __future__ import annotations

import random
import re
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from landfast import wiring
from landfast.config import load
from landfast.core.batching import BatchLimits
from landfast.core.breaker import BreakerLimits
from landfast.core.report import Outcome
from landfast.core.retry import RetryPolicy
from landfast.core.route import FlowLimits, Later, Route, every_topic
from landfast.core.runner import Runner, RunnerLimits, Workplace
from landfast.core.upkeep import UpkeepLimits
from landfast.delta_api import DeltaWriteRetryPolicy, complete_commits, sealed, start_run
from landfast.errors import LandfastError, Misconfigured
from landfast.events import ConflictMet, LaneHalted, LettersBuried, LettersRetried
from landfast.model import Chunk, Decoded
from landfast.ports import Clock, Decoder
from landfast.sinks.delta import DeltaDeadLetters, DeltaSink
from landfast.sinks.delta.files.local import Disk
from landfast.sinks.delta.proof.coordinates import coordinates_of
from landfast.sinks.delta.proof.letters import LetterLimits, Letters
from landfast.sinks.delta.proof.verify import verify_table
from landfast.sinks.delta.redrive.replay import Candidate, Replay
from landfast.sinks.delta.redrive.trail import Trail
from landfast.sinks.delta.retrying.retries import DeltaRetries
from landfast.sinks.delta.upkeep.maintenance import Maintenance, MaintenanceSettings
from landfast.testing.memory import MemoryGroup, MemoryLog, MemorySource, MemorySourceSettings, RecordingObserver
from landfast.testing.world.scheduler import Scheduler, TaskExecutor, VirtualClock
from tests.redrive.entity_letters_world import value_of
from tests.sinks.delta_world import run as run_named
from tests.sinks.entity_world import BY_TIME, Event, entities_at, event_at, held, newest_of

TOPIC = "events"
BAD = b"not what it should be: "
LATE = re.compile(rb"after (\d+): ")
FATE = "fate"
QUIET_AT_SECONDS = 20.0
ACT_SECONDS_MAX = 0.1
BEFALLS_SHARE = 0.02
"""Of the acts of a disk: so often whoever is at it is killed, or stands still for a while."""
SECONDS_MAX = 2_000.0
STEPS_MAX = 60_000
PATIENT = DeltaWriteRetryPolicy(attempts_max=500, wait_seconds_max=0.001)
"""Waits of a job are real ones: next to none."""

_SETTINGS = """
name = "numbers"
[source]
servers = "127.0.0.1:1"
topics = ["events"]
[decode.columns]
id = "string"
updated = "int64"
gone = "boolean"
note = "string"
[sink]
path = "{path}"
{mode}
"""
_UPSERT = 'mode = "upsert"\nkey = ["id"]\norder_by = "updated"\ndelete_when = "gone"'


def mended(value: bytes) -> bytes:
    """What the record should have been."""
    return LATE.sub(b"", value.removeprefix(BAD), count=1)


@dataclass(frozen=True, slots=True)
class Patient:
    """Decodes what comes too early when its time has come."""

    decoder: Decoder
    clock: Clock

    def decode(self, chunk: Chunk) -> Decoded:
        """See `ports.Decoder`."""
        values = [None if value is None else self._as_it_is_now(value) for value in chunk.values]
        return replace(self.decoder.decode(replace(chunk, values=values)), chunk=chunk)

    def _as_it_is_now(self, value: bytes) -> bytes:
        found = LATE.match(value)
        return value if found is None or int(found[1]) > self.clock.monotonic() else mended(value)


@contextmanager
def stepped(step: Callable[[], None]) -> Iterator[None]:
    """Let `step` happen before and after each act of a disk that makes something durable or gives it its name."""

    def around(act: Callable[..., None]) -> Callable[..., None]:
        def stepping(*given: Any) -> None:
            step()
            act(*given)
            step()

        return stepping

    with pytest.MonkeyPatch.context() as patch:
        for name in ("sync_file", "link", "remove", "rename"):
            patch.setattr(Disk, name, around(getattr(Disk, name)))
        yield


@dataclass(slots=True)
class Met:
    """What befell a lake."""

    kills: int = 0
    conflicts: int = 0
    letters: int = 0
    tried_again: int = 0
    replayed: int = 0
    sealed: int = 0
    compactions: int = 0
    problems: list[str] = field(default_factory=list)


class Lake:
    """One lake, from its seed to the judgement over it."""

    def __init__(self, seed: int, folder: Path) -> None:
        self._draw = random.Random(seed)
        self._folder = folder
        self.upserts = self._draw.random() < 2 / 3
        self.tries_again = self._draw.random() < 1 / 2
        self.met = Met()
        self._scheduler = Scheduler(seed, self._start_again)
        self._ending = self._quiet = False
        self._starts = 0
        self._living: dict[str, Callable[[str], None]] = {}
        self._log = MemoryLog()
        self._streams = self._log.create(TOPIC, 2)
        self._group = MemoryGroup(self._log, [TOPIC])
        self._runners: dict[str, Runner] = {}
        self._ears: list[RecordingObserver] = []
        self._events: list[Event] = []
        world = entities_at(folder, BY_TIME, checkpoint_commits=4)
        if not self.upserts:
            world = replace(world, settings=replace(world.settings, upsert=None))
        self._world = replace(world, clock=VirtualClock(self._scheduler))  # type: ignore[arg-type]  # any clock does
        file = folder / "pipeline.toml"
        file.write_text(_SETTINGS.format(path=world.path, mode=_UPSERT if self.upserts else ""))
        self._route = load(file).routes[0]

    @property
    def trace(self) -> str:
        """A digest of the order of everything."""
        return self._scheduler.trace_hash

    def play(self) -> Met:
        """Let everything happen, then let it come to rest, then judge.

        Raises:
            Stuck: it does not come to rest.
        """
        try:
            with stepped(self._step):
                self._world.home("first")
                for actor in (self._work, self._work, self._redrive, self._redrive, self._write_both, self._write_both, self._read_sealed):
                    self._start(actor)
                self._scheduler.spawn(FATE, "fate", self._befall)
                self._scheduler.run(lambda: self._quiet and not self._living, SECONDS_MAX, STEPS_MAX)
                self._judge()
        finally:
            self._ending = True
            self._scheduler.close()
        return self.met

    # ---- who lives in it ----

    def _step(self) -> None:
        """Let others go on around an act of the disk, which takes its time; now and then whoever is at it meets something."""
        # Calls on other threads are not chance's: who started them waits for them.
        task = self._scheduler._current  # noqa: SLF001 — whose turn it is concerns nobody else
        if task is None or self._ending or threading.current_thread() is not threading.main_thread():
            return
        chance = self._draw.random()
        if chance < BEFALLS_SHARE and not self._quiet and task.owner in self._living:
            deed = self._draw.choice((self._kill, self._freeze))
            self._scheduler.spawn(FATE, "meets", lambda: deed(task.owner))
        self._scheduler.sleep(self._draw.uniform(0.0, ACT_SECONDS_MAX))

    def _start(self, actor: Callable[[str], None]) -> None:
        self._starts += 1
        name = f"{actor.__name__.strip('_')}-{self._starts}"
        self._living[name] = actor

        def live() -> None:
            actor(name)
            self._living.pop(name, None)

        self._scheduler.spawn(name, "main", live)

    def _start_again(self, name: str) -> None:
        actor = self._living.pop(name)

        def start() -> None:
            self._scheduler.sleep(1.0)
            if name in self._runners:
                self._group.leave(name)
            self._start(actor)

        self._scheduler.spawn(FATE, "start", start)

    def _befall(self) -> None:
        """Produce, kill, move streams about; then nothing disturbs any more, and who works goes on to the end."""
        while self._scheduler.now < QUIET_AT_SECONDS:
            self._scheduler.sleep(self._draw.uniform(0.0, 1.0))
            deed = self._draw.choice((self._produce, self._produce, self._produce, self._move))
            deed()
        self._quiet = True
        for runner in self._runners.values():
            runner.stop()

    def _produce(self) -> None:
        stream = self._draw.choice(self._streams)
        for _ in range(self._draw.randrange(1, 9)):
            event = event_at(stream.partition, self._log[stream].end, ids=12)
            self._events.append(event)
            late = b"after %d: " % (self._scheduler.now + self._draw.uniform(1.0, 9.0))
            bad = self._draw.choices((b"", BAD, late), (0.75, 0.1, 0.15))[0]
            self._log.append(TOPIC, stream.partition, bad + value_of(event), key=(event.id or "").encode())

    def _kill(self, name: str) -> None:
        if name in self._living:
            self.met.kills += 1
            self._scheduler.drop(name)
            self._start_again(name)

    def _move(self) -> None:
        """A stream goes to a member; half of the time at once, so that whoever had it lands what it can until it hears of that."""
        members, stream = self._group.members, self._draw.choice(self._streams)
        if members:
            self._group.assign(self._draw.choice(members), [stream])
            if self._draw.random() < 0.5:
                self._group.lose([stream])

    def _freeze(self, name: str) -> None:
        """Somebody stands still for a while, wherever it was; a worker is thrown out of its group meanwhile, and wakes as a zombie."""
        scheduler = self._scheduler
        waits = self._draw.uniform(0.2, 3.0), self._draw.uniform(0.2, 3.0)
        scheduler.freeze(name)

        def thaw() -> None:
            scheduler.sleep(waits[0])
            member = name in self._group.members
            if member:
                self._group.leave(name)
                self._group.balance()
            scheduler.sleep(waits[1])
            scheduler.thaw(name)
            if member and name in self._living:
                self._group.rejoin(name)

        scheduler.spawn(FATE, "thaw", thaw)

    def _work(self, name: str) -> None:
        """A worker of the engine; when it is quiet, one to the end of the log."""
        scheduler, clock, ears = self._scheduler, self._world.clock, RecordingObserver()
        self._ears.append(ears)
        home = replace(self._world, ears=ears).home(name)  # type: ignore[arg-type]  # any observer does
        often = MaintenanceSettings(checkpoint_commits=4, compaction_interval_seconds=0.0, compaction_files_min=3)
        sink = DeltaSink(home, Maintenance(often, home.settings, clock, ears))
        decoder = Patient(wiring.decoder_of(self._route.decode, sink.schema, self._route.sink.key), clock)
        retries = DeltaRetries(home, sink, decoder, (0.5, 2.0, 4.0)) if self.tries_again else None
        limits = FlowLimits(
            batch=BatchLimits(records_max=6, seconds_max=0.5),
            breaker=BreakerLimits(share_max=1.0),
            retry=RetryPolicy(attempts_max=1_000, total_seconds_max=100_000.0),
            conflicts_max=1_000,
            upkeep=UpkeepLimits(landings_between=3),
            later=Later(waiting_records_max=12),
        )
        route = Route("route", every_topic, decoder, sink, retries or DeltaDeadLetters(home), limits, retries)
        source = MemorySource(self._group, name, clock, MemorySourceSettings(chunk_records_max=4))
        workplace = Workplace(
            clock,
            lambda: TaskExecutor(scheduler, name, "pool", 2),
            lambda: TaskExecutor(scheduler, name, "committer", 1),
            ears,
            lambda: 0.5,
        )
        patient = RunnerLimits(poll_records=5, poll_seconds=0.5, busy_poll_seconds=0.1, others_seconds_max=200.0)
        runner = Runner(source, source, [route], run_named("numbers", name), patient, workplace)
        self._runners[name] = runner
        quiet = self._quiet
        report = runner.run(until_end=quiet)
        if report.outcome is Outcome.BROKEN or report.halts:
            self.met.problems.append(f"{name}: {report.outcome} {report.error} {report.halts}")
        elif not quiet:
            # Whoever was stopped is followed by one that lands the rest.
            self._work(f"{name}+")

    def _redrive(self, name: str) -> None:
        """Mend and replay the open letters, again and again; the last time when all has landed."""
        last = False
        while not last:
            self._scheduler.sleep(self._draw.uniform(0.2, 5.0))
            last = self._quiet and not any("work" in other for other in self._living)
            with suppress(LandfastError):
                still_open = self._replay(name)
                last = last and not still_open

    def _replay(self, name: str) -> int:
        home = self._world.home(name)
        sink, trail, letters = DeltaSink(home), Trail(home, "ann"), Letters(home.settings, LetterLimits(3))
        replay = Replay(home, sink, wiring.decoder_of(self._route.decode, sink.schema, self._route.sink.key), trail)
        still_open = 0
        for rows in letters.windows():
            by_letter = trail.dealings(rows)
            wanted = [coordinates_of(row) for row in rows if row["id"] not in by_letter or by_letter[row["id"]].resolution is None]
            for part in letters.whole(wanted):
                results = list(replay.run([Candidate(row, mended(row["value"]), edited=True) for row in part]))
                self.met.replayed += sum(result.outcome == "landed" for result in results)
                still_open += sum(result.outcome not in {"landed", "older", "already there", "resolved"} for result in results)
        return still_open

    def _write_both(self, name: str) -> None:
        """A job of three commits to two tables, resumed by whoever comes after it."""
        job = f"job-{int(name.rpartition('-')[2]) % 2}" if not self._quiet else "job-0"
        for sequence in range(3):
            self._scheduler.sleep(self._draw.uniform(0.0, 2.0))
            run = start_run("pair", run_id=job).with_sequence(sequence)
            with suppress(LandfastError), run.commit_to(self._folder / "a", self._folder / "b", retry=PATIENT) as commit:
                for table in ("a", "b"):
                    commit.write(self._folder / table, pa.table({"job": [job] * 2, "sequence": [sequence] * 2}))

    def _read_sealed(self, _name: str) -> None:
        """What is sealed is there in both tables, or in none, at every moment."""
        while not self._quiet:
            self._scheduler.sleep(self._draw.uniform(0.0, 0.7))
            with suppress(Misconfigured, LandfastError):
                self._look_at_sealed()

    def _look_at_sealed(self) -> dict[tuple[str, int], int]:
        found = []
        for path, version in sealed(self._folder / "a", self._folder / "b").items():
            rows = DeltaTable(path, version=version).to_pyarrow_table().to_pylist()
            found.append(Counter((row["job"], row["sequence"]) for row in rows))
        if found[0] != found[1]:
            self.met.problems.append(f"sealed versions differ: {found}")
        return found[0]

    # ---- the judgement ----

    def _judge(self) -> None:
        problems, path = self.met.problems, self._world.path
        for ears in self._ears:
            problems += [f"halted: {event}" for event in ears.of(LaneHalted)]
            self.met.conflicts += len(ears.of(ConflictMet))
            self.met.tried_again += sum(event.landed for event in ears.of(LettersRetried))
            self.met.letters += sum(event.letters for event in ears.of(LettersBuried))
        self.met.compactions = sum(commit["operation"] == "OPTIMIZE" for commit in DeltaTable(path).history())
        if self.upserts:
            if held(path) != newest_of(self._events, BY_TIME):
                problems.append(f"the table has {held(path)}, and not {newest_of(self._events, BY_TIME)}")
        else:
            rows = DeltaTable(path).to_pyarrow_table(columns=["_partition", "_offset"]).to_pylist()
            landed = Counter((row["_partition"], row["_offset"]) for row in rows)
            if landed != Counter((event.partition, event.offset) for event in self._events):
                problems.append(f"rows: {landed}")
        verdict = verify_table(path)
        problems += [str(finding) for finding in verdict.findings]
        complete_commits(self._folder / "a")
        seen = self._look_at_sealed()
        self.met.sealed = len(seen)
        if any(count != 2 for count in seen.values()):
            problems.append(f"commits to both: {seen}")


def problems_of(seed: int, folder: Path) -> Met:
    """Play the lake of this seed in a folder of its own, which is removed where nothing is wrong."""
    place = folder / f"lake-{seed}"
    place.mkdir()
    met = Lake(seed, place).play()
    if not met.problems:
        shutil.rmtree(place)
    return met
