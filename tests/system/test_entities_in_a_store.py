"""A table with one row per key on a real S3-compatible store: files are written again there, and answers are lost, late or wrong."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import IO

import pytest
from deltalake import DeltaTable

from landfast.events import Maintained
from landfast.model import Position
from landfast.sinks.delta import DeltaSettings, DeltaSink
from landfast.sinks.delta.files.object_store import ObjectFiles
from landfast.sinks.delta.log.active import active_files
from landfast.sinks.delta.proof.verify import verify_table
from landfast.sinks.delta.upkeep.maintenance import Maintenance, MaintenanceSettings
from landfast.testing.fault_proxy import Action, FaultProxy, Kind, Rule
from landfast.testing.stores import BUCKET, VersityGateway, storage_options
from tests.sinks.delta_world import DeltaWorld, Ears, QuickClock, stream
from tests.sinks.entity_world import BY_TIME, ENTITIES, Event, batch, before, event_at, held, newest_of

pytestmark = pytest.mark.system

OPTIONS = {"timeout": "2s", "max_retries": "3", "retry_timeout": "20s"}
SETTINGS = DeltaSettings(path="", probe_rounds=1, upsert=BY_TIME)
STEP = 15


def entities_behind(port: int, path: str | None = None, **options: str) -> DeltaWorld:
    settings = replace(SETTINGS, storage_options=storage_options(port, **{**OPTIONS, **options}))
    return DeltaWorld(path or f"s3://{BUCKET}/{uuid.uuid4().hex}", ENTITIES, settings)


def land(sink: DeltaSink, partition: int = 0) -> Position:
    """The next records of a partition; where it has got to."""
    lane = stream(partition)
    start = int(str(sink.positions([lane])[lane] or 0))
    sink.commit([sink.stage(batch([event_at(partition, offset) for offset in range(start, start + STEP)]))])
    return start + STEP


def demand(world: DeltaWorld, store: VersityGateway, **ends: Position) -> None:
    """The table is what the dictionary comes to, no key has two rows, and the proof holds."""
    found = {int(name[1:]): end for name, end in ends.items()}
    assert held(world.path, store.storage_options) == newest_of(before(found), BY_TIME)
    verdict = verify_table(world.path, store.storage_options)
    assert (verdict.findings, str(verdict.outcome)) == ((), "proved")


ANSWERS: Sequence[object] = [
    pytest.param(Rule(Action.DROP_REPLY, Kind.COMMIT), id="reply-lost"),
    pytest.param(Rule(Action.ANSWER_AFTER, Kind.COMMIT, times=50, status=500), id="500-after-the-effect-each-time"),
    pytest.param(Rule(Action.ANSWER_AFTER, Kind.COMMIT, status=412), id="412-after-the-effect"),
    pytest.param(Rule(Action.ANSWER_BEFORE, Kind.COMMIT, status=409), id="409-before"),
    pytest.param(Rule(Action.RESET_BEFORE, Kind.COMMIT), id="reset-before"),
    pytest.param(Rule(Action.DROP_REPLY, Kind.DATA, times=2), id="reply-to-a-file-lost"),
    pytest.param(Rule(Action.RESET_BEFORE, Kind.DATA, times=2), id="file-reset-before"),
]


@pytest.mark.parametrize("rule", ANSWERS)
def test_rows_take_the_place_of_others_once_whatever_becomes_of_an_answer(store: VersityGateway, proxy: FaultProxy, rule: Rule) -> None:
    """Files go out and come in in one entry that is put if none is there; what its answer was is read back."""
    world = entities_behind(proxy.port)
    sink = world.sink()
    for _ in range(2):
        land(sink)
    proxy.add(replace(rule))
    land(sink)
    assert proxy.faults()
    proxy.clear()
    assert land(sink) == 4 * STEP
    demand(world, store, p0=4 * STEP)


def test_a_compaction_between_an_upsert_and_its_lost_reply_changes_nothing(store: VersityGateway, proxy: FaultProxy) -> None:
    """The commit is in, its reply is held, another process joins the files that it has put in, then the reply is lost."""
    world = entities_behind(proxy.port, timeout="60s")
    sink = world.sink()
    land(sink)
    proxy.add(Rule(Action.HOLD_REPLY, Kind.COMMIT))
    landing = threading.Thread(target=land, args=(sink,))
    landing.start()
    assert proxy.wait_for_fault()
    ears = Ears()
    settings = MaintenanceSettings(compaction_interval_seconds=0, compaction_files_min=2)
    keeper = Maintenance(settings, replace(entities_behind(store.port).settings, path=world.path), QuickClock(), ears)
    keeper.after_commits(DeltaTable(world.path, storage_options=store.storage_options).version(), 1, 60.0)
    assert "compaction" in [event.act for event in ears.heard if isinstance(event, Maintained)]
    proxy.release()
    landing.join(60)
    assert not landing.is_alive()
    land(sink)
    demand(world, store, p0=3 * STEP)


def test_only_files_that_may_hold_a_key_are_read(store: VersityGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the bounds of the key in the table's log: of the others not a byte is asked for."""
    world = entities_behind(store.port)
    sink = world.sink()
    opened: list[str] = []
    as_it_was = ObjectFiles.open

    def told(files: ObjectFiles, name: str) -> IO[bytes]:
        opened.append(name)
        return as_it_was(files, name)

    ids = ["a", "b", "k", "l", "y", "z"]
    for first in range(0, 6, 2):
        sink.commit([sink.stage(batch([Event(0, first, ids[first], 1), Event(0, first + 1, ids[first + 1], 1)]))])
    files = {file.path for file in active_files(DeltaTable(world.path, storage_options=store.storage_options))}
    monkeypatch.setattr(ObjectFiles, "open", told)
    sink.commit([sink.stage(batch([Event(0, 6, "k", 2)]))])
    assert len(files) == 3
    assert len(files & set(opened)) == 1
    events = [Event(0, offset, key, 1) for offset, key in enumerate(ids)]
    assert held(world.path, store.storage_options) == newest_of([*events, Event(0, 6, "k", 2)], BY_TIME)


def test_two_workers_rewrite_the_files_of_each_other_in_a_store(store: VersityGateway) -> None:
    """Each of a partition of its own, on the same keys: whoever is second works it out again, and both get to their end."""
    world = entities_behind(store.port)
    world.settings = replace(world.settings, commit_attempts_max=50)
    world.sink()

    def work(partition: int) -> None:
        sink = replace(world, ears=Ears()).sink(f"run-{partition}")
        for _ in range(5):
            land(sink, partition)

    workers = [threading.Thread(target=work, args=(partition,)) for partition in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    demand(world, store, p0=5 * STEP, p1=5 * STEP)
