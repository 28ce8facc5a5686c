"""The Delta sink on a real S3-compatible store, with the faults that stores and networks make: each record lands exactly once."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from obstore.exceptions import BaseError as StoreError

from landfast.errors import Misconfigured, Unavailable
from landfast.events import Maintained
from landfast.sinks.delta import DeltaDeadLetters, DeltaSettings, DeltaSink
from landfast.sinks.delta.files.storage import files_of
from landfast.sinks.delta.log.spans import read_spans
from landfast.sinks.delta.proof.verify import verify_table
from landfast.sinks.delta.table.creation import creation_refusals
from landfast.sinks.delta.upkeep.maintenance import Maintenance, MaintenanceSettings
from landfast.testing.fault_proxy import Action, FaultProxy, Kind, Rule
from landfast.testing.stores import BUCKET, FakeS3, VersityGateway, storage_options
from tests.sinks.delta_proof import LANE, OTHER, land, letter, made
from tests.sinks.delta_world import DeltaWorld, Ears, QuickClock

pytestmark = pytest.mark.system

OPTIONS = {"timeout": "2s", "max_retries": "3", "retry_timeout": "20s"}
SETTINGS = DeltaSettings(path="", probe_rounds=1, commit_attempts_max=3)


def table_at(port: int, path: str | None = None, **options: str) -> DeltaWorld:
    settings = replace(SETTINGS, storage_options=storage_options(port, **{**OPTIONS, **options}))
    return DeltaWorld(path or f"s3://{BUCKET}/{uuid.uuid4().hex}", settings=settings)


def begun(world: DeltaWorld) -> DeltaSink:
    """A sink whose table has one commit."""
    sink = world.sink()
    land(sink, made(LANE, range(10), 10, first=True), made(OTHER, range(20), 20, first=True))
    return sink


def assert_landed_once(world: DeltaWorld, store: VersityGateway, rows: int, commits: int) -> None:
    """The proof holds, every commit is there once, and no version adds a file that another has added."""
    options = store.storage_options
    verdict = verify_table(world.path, options)
    assert verdict.proved, verdict.findings
    assert (verdict.rows, verdict.undigested) == (rows, 0)
    assert len({record.version for record in read_spans(world.path, options)}) == commits
    files = files_of(world.path, options)
    newest = DeltaTable(world.path, storage_options=options).version()
    entries = [files.read(f"_delta_log/{version:020d}.json") or b"" for version in range(newest + 1)]
    added = Counter(line for entry in entries for line in entry.splitlines() if line.startswith(b'{"add"'))
    assert set(added.values()) <= {1}


AFTER_THE_EFFECT: Sequence[object] = [
    pytest.param([Rule(Action.DROP_REPLY, Kind.COMMIT)], id="reply-lost-once"),
    pytest.param([Rule(Action.DROP_REPLY, Kind.COMMIT, times=50)], id="reply-lost-each-time"),
    pytest.param([Rule(Action.ANSWER_AFTER, Kind.COMMIT, status=503)], id="503-after-the-effect"),
    pytest.param([Rule(Action.ANSWER_AFTER, Kind.COMMIT, times=50, status=500)], id="500-after-the-effect-each-time"),
    pytest.param([Rule(Action.DELAY_REPLY, Kind.COMMIT, seconds=4)], id="slower-than-the-timeout"),
    pytest.param([Rule(Action.ANSWER_AFTER, Kind.COMMIT, status=409)], id="409-after-the-effect"),
]

BEFORE_THE_EFFECT: Sequence[object] = [
    pytest.param([Rule(Action.RESET_BEFORE, Kind.COMMIT)], id="reset-before"),
    pytest.param([Rule(Action.ANSWER_BEFORE, Kind.COMMIT, times=2, status=503)], id="503-before"),
    pytest.param([Rule(Action.ANSWER_BEFORE, Kind.COMMIT, status=500)], id="500-before"),
    pytest.param([Rule(Action.ANSWER_BEFORE, Kind.COMMIT, status=409)], id="409-before"),
]


def fresh(rules: Sequence[Rule]) -> list[Rule]:
    return [replace(rule) for rule in rules]


@pytest.mark.parametrize("rules", [*AFTER_THE_EFFECT, *BEFORE_THE_EFFECT])
def test_n3_n4_a_commit_lands_once_whatever_becomes_of_its_reply(store: VersityGateway, proxy: FaultProxy, rules: Sequence[Rule]) -> None:
    """The sink says landed, it is landed, and it is landed once; the next commit goes on from there."""
    world = table_at(proxy.port)
    sink = begun(world)
    proxy.add(*fresh(rules))
    land(sink, made(LANE, range(10, 25), 25))
    assert proxy.faults()
    proxy.clear()
    land(sink, made(LANE, range(25, 30), 30))
    assert_landed_once(world, store, rows=50, commits=3)


def test_a_refused_look_after_the_commit_is_resolved(store: VersityGateway, proxy: FaultProxy) -> None:
    """A commit that landed, after which the store refuses to show it, is found to have landed."""
    world = table_at(proxy.port)
    sink = begun(world)
    proxy.add(Rule(Action.ANSWER_BEFORE, Kind.OTHER, times=2, after=Kind.COMMIT, status=403))
    land(sink, made(LANE, range(10, 25), 25))
    assert proxy.faults()
    proxy.clear()
    land(sink, made(LANE, range(25, 30), 30))
    assert_landed_once(world, store, rows=50, commits=3)


@pytest.mark.museum(9)
def test_a_store_that_always_answers_409_lands_nothing_and_loses_nothing(store: VersityGateway, proxy: FaultProxy) -> None:
    """Attempts end, the error says that trying again is safe, and trying again lands the same batch once."""
    world = table_at(proxy.port)
    sink = begun(world)
    proxy.add(Rule(Action.ANSWER_BEFORE, Kind.COMMIT, times=100_000, status=409))
    with pytest.raises(Unavailable):
        land(sink, made(LANE, range(10, 25), 25))
    proxy.clear()
    land(sink, made(LANE, range(10, 25), 25))
    assert_landed_once(world, store, rows=45, commits=2)


def test_a_compaction_between_a_commit_and_its_lost_reply_doubles_nothing(store: VersityGateway, proxy: FaultProxy) -> None:
    """The commit is in, its reply is held, another process compacts its files away, then the reply is lost: still once."""
    world = table_at(proxy.port, timeout="60s")
    sink = begun(world)
    proxy.add(Rule(Action.HOLD_REPLY, Kind.COMMIT))
    landing = threading.Thread(target=land, args=(sink, made(LANE, range(10, 25), 25)))
    landing.start()
    assert proxy.wait_for_fault()
    ears = Ears()
    settings = MaintenanceSettings(compaction_interval_seconds=0, compaction_files_min=2, checkpoint_commits=1)
    other = table_at(store.port, world.path)
    keeper = Maintenance(settings, replace(other.settings, path=world.path), QuickClock(), ears)
    keeper.after_commits(DeltaTable(world.path, storage_options=store.storage_options).version(), 1, 60.0)
    assert [event.act for event in ears.heard if isinstance(event, Maintained)] == ["checkpoint", "compaction"]
    proxy.release()
    landing.join(60)
    assert not landing.is_alive()
    land(sink, made(LANE, range(25, 30), 30))
    assert_landed_once(world, store, rows=50, commits=3)


@pytest.mark.parametrize("action", [Action.DROP_REPLY, Action.RESET_BEFORE])
def test_n6_a_data_file_whose_upload_fails_is_uploaded_again(store: VersityGateway, proxy: FaultProxy, action: Action) -> None:
    """A fault while a data file is written costs a retry, not a row."""
    world = table_at(proxy.port)
    sink = begun(world)
    proxy.add(Rule(action, Kind.DATA))
    land(sink, made(LANE, range(10, 25), 25))
    assert proxy.faults()
    assert_landed_once(world, store, rows=45, commits=2)


def test_letters_are_buried_once_whatever_becomes_of_the_reply(store: VersityGateway, proxy: FaultProxy) -> None:
    """A put whose reply is lost is found to have happened; no letter comes twice."""
    world = table_at(proxy.port)
    sink = begun(world)
    letters = DeltaDeadLetters(world.home())
    letters.claim({LANE})
    proxy.add(Rule(Action.DROP_REPLY, Kind.COMMIT))
    letters.put([letter(LANE, 12)])
    assert proxy.faults()
    land(sink, made(LANE, range(10, 25), 25, dead={12}))
    verdict = verify_table(world.path, store.storage_options)
    assert verdict.proved, verdict.findings
    assert (verdict.letters, verdict.totals.dead) == (1, 1)


def test_workers_that_share_a_table_land_each_record_once(store: VersityGateway) -> None:
    """Two owners of different streams commit side by side, against each other's versions."""
    world = table_at(store.port)
    world.settings = replace(world.settings, commit_attempts_max=50)
    begun(world)

    def work(lane: int) -> None:
        stream, start = (LANE, 10) if lane == 0 else (OTHER, 20)
        sink = world.sink(f"run-{lane + 2}")
        for number in range(5):
            land(sink, made(stream, range(start + number * 3, start + number * 3 + 3), start + number * 3 + 3))

    threads = [threading.Thread(target=work, args=(lane,)) for lane in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert_landed_once(world, store, rows=60, commits=11)


def test_u14_a_wrong_secret_is_a_refusal_with_its_code(store: VersityGateway) -> None:
    """Wrong credentials are told as such, without showing them."""
    begun(world := table_at(store.port))
    wrong = table_at(store.port, world.path, aws_secret_access_key="hunter2-wrong")
    with pytest.raises(Misconfigured, match="refused access") as refused:
        wrong.sink()
    assert refused.value.code == "SINK_AUTH"
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("rules", "opens"),
    [([], True), ([Rule(Action.STRIP_HEADER, times=100_000, header="if-none-match")], False)],
    ids=["safe", "unsafe"],
)
def test_s4_a_store_that_overwrites_is_refused_at_the_start(store_cache: Path, rules: Sequence[Rule], opens: bool) -> None:
    """A store that ignores the condition of a write would let two writers destroy each other: UNSAFE_STORE before the first read."""
    with FakeS3(store_cache) as fake, FaultProxy(fake.port) as before_it:
        before_it.add(*fresh(rules))
        world = table_at(before_it.port)
        if opens:
            begun(world)
            return
        with pytest.raises(Misconfigured) as refused:
            world.sink()
        assert refused.value.code == "UNSAFE_STORE"
        assert "_landfast_probe" not in " ".join(files_of(world.path, fake.storage_options).names(""))


@pytest.mark.parametrize("steps", ["/inner", "/deep/below/inner"])
def test_no_table_is_begun_inside_another_in_a_store(store: VersityGateway, steps: str) -> None:
    """Whoever cleans the outer table up would take the inner one's files. Beside it, though under a longer name, is a free place."""
    outer = table_at(store.port)
    begun(outer)
    with pytest.raises(Misconfigured) as caught:
        table_at(store.port, outer.path + steps).sink()
    assert caught.value.code == "NOT_A_TABLE"
    assert f"inside the Delta table at {outer.path}," in caught.value.message
    assert files_of(outer.path + steps, store.storage_options).names("") == []
    begun(table_at(store.port, f"{outer.path}-other{steps}"))


def test_who_may_not_look_above_a_table_can_create_it(store: VersityGateway, proxy: FaultProxy) -> None:
    """Rights that end at a prefix of the bucket are no reason to refuse; a store that does not answer is asked again."""
    options = storage_options(proxy.port, max_retries="0")
    settings = replace(SETTINGS, path=f"s3://{BUCKET}/deep/{uuid.uuid4().hex}", storage_options=options)
    schema = pa.schema([pa.field("n", pa.int64())])
    proxy.add(Rule(Action.ANSWER_BEFORE, Kind.LISTING, times=2, status=403))
    assert list(creation_refusals(settings, schema)) == []
    assert proxy.faults() == 2
    proxy.add(Rule(Action.ANSWER_BEFORE, Kind.LISTING, status=503))
    with pytest.raises(StoreError):
        list(creation_refusals(settings, schema))
