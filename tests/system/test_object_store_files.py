"""The client for the files of an object store: it lets others run, takes deltalake's options, and names objects as deltalake does."""

from __future__ import annotations

import io
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, QueryBuilder

from landfast.errors import Misconfigured
from landfast.events import Maintained
from landfast.model import Run
from landfast.sinks.delta import DeltaSettings, inspect, open_table, probe_place
from landfast.sinks.delta.files.object_store import ObjectFiles
from landfast.sinks.delta.log.active import active_files
from landfast.sinks.delta.proof.verify import verify_table
from landfast.sinks.delta.upkeep.maintenance import Maintenance, MaintenanceSettings
from landfast.testing.fault_proxy import Action, FaultProxy, Kind, Rule
from landfast.testing.stores import BUCKET, FakeS3, VersityGateway, storage_options
from tests.sinks.delta_proof import LANE, OTHER, land, made
from tests.sinks.delta_world import NUMBERS, Ears, QuickClock, chunk_of
from tests.system.test_object_store import begun, table_at

pytestmark = pytest.mark.system

DELAY_SECONDS = 1.5
# Who holds the interpreter during the wait stops the others for all of it; a machine under load stops them for a moment.
STALL_SECONDS_MAX = 1.0


def longest_stall(act: Callable[[], object]) -> float:
    """The longest time for which another thread of this process could not run while `act` did."""
    ended = threading.Event()
    worst = 0.0

    def beat() -> None:
        nonlocal worst
        last = time.perf_counter()
        while not ended.wait(0.005):
            now = time.perf_counter()
            worst, last = max(worst, now - last), now
        worst = max(worst, time.perf_counter() - last)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        act()
    finally:
        ended.set()
        thread.join()
    return worst


def files_at(port: int, **options: str) -> ObjectFiles:
    return ObjectFiles(f"s3://{BUCKET}/{uuid.uuid4().hex}", storage_options(port, **options))


def write(files: ObjectFiles, name: str, content: bytes = b"content") -> None:
    with files.output(name) as stream:
        stream.write(content)


FILE_ACTS: list[object] = [
    pytest.param(lambda files: write(files, "new.parquet"), id="write"),
    pytest.param(lambda files: write(files, "large.parquet", bytes(20 * 2**20)), id="write-in-pieces"),
    pytest.param(lambda files: files.put("created.parquet", b"x"), id="put"),
    pytest.param(lambda files: files.read("old.parquet"), id="read"),
    pytest.param(lambda files: files.open("old.parquet").read(3), id="open"),
    pytest.param(lambda files: files.size("old.parquet"), id="size"),
    pytest.param(lambda files: files.names(""), id="names"),
    pytest.param(lambda files: files.remove("old.parquet"), id="remove"),
]


@pytest.mark.parametrize("act", FILE_ACTS)
def test_a_slow_store_stops_no_other_thread(proxy: FaultProxy, act: Callable[[ObjectFiles], object]) -> None:
    """While a reply is late, the other threads of the process run on: a store that hangs costs latency, not the membership."""
    files = files_at(proxy.port)
    write(files, "old.parquet")
    proxy.add(*(Rule(Action.DELAY_REPLY, kind, times=1, seconds=DELAY_SECONDS) for kind in Kind))
    began = time.perf_counter()
    assert longest_stall(lambda: act(files)) < STALL_SECONDS_MAX
    assert time.perf_counter() - began >= DELAY_SECONDS


@pytest.mark.parametrize("kind", list(Kind))
def test_a_slow_store_stops_no_other_thread_while_landing(proxy: FaultProxy, kind: Kind) -> None:
    """The same for everything that landing does, deltalake's part included."""
    world = table_at(proxy.port, timeout="10s")
    sink = begun(world)
    proxy.add(Rule(Action.DELAY_REPLY, kind, seconds=DELAY_SECONDS))
    began = time.perf_counter()

    def act() -> None:
        land(sink, made(LANE, range(10, 25), 25))
        sink.positions([LANE])

    assert longest_stall(act) < STALL_SECONDS_MAX
    assert time.perf_counter() - began >= DELAY_SECONDS
    assert proxy.faults() == 1


@pytest.mark.parametrize("kind", [Kind.LISTING, Kind.OTHER])
def test_a_slow_store_stops_no_other_thread_while_a_table_is_opened(proxy: FaultProxy, kind: Kind) -> None:
    """The same at the start of a run: a signal is heard and health is answered while the store is waited for."""
    world = table_at(proxy.port, timeout="10s")
    begun(world)
    proxy.add(Rule(Action.DELAY_REPLY, kind, seconds=DELAY_SECONDS))
    began = time.perf_counter()
    assert longest_stall(lambda: world.sink("run-2")) < STALL_SECONDS_MAX
    assert time.perf_counter() - began >= DELAY_SECONDS


@pytest.mark.parametrize("action", [Action.DROP_REPLY, Action.RESET_BEFORE, Action.ANSWER_BEFORE])
def test_n6_a_large_file_is_whole_whatever_becomes_of_a_piece(proxy: FaultProxy, action: Action) -> None:
    """A file that goes up in pieces is there as it was written, although an answer was lost on the way."""
    content = b"".join(number.to_bytes(8, "big") for number in range(3 * 2**20))
    files = files_at(proxy.port, max_retries="5", retry_timeout="30s")
    proxy.add(Rule(action, Kind.DATA, times=2))
    write(files, "large.parquet", content)
    assert proxy.faults() == 2
    assert files.read("large.parquet") == content


def test_reads_by_range_give_what_was_asked_for(store: VersityGateway) -> None:
    """A file is read from anywhere, to its end and not beyond."""
    files = files_at(store.port)
    content = bytes(range(256)) * 10
    write(files, "ranges", content)
    with files.open("ranges") as stored:
        assert stored.read(10) == content[:10]
        assert stored.seek(-6, io.SEEK_END) == len(content) - 6
        assert stored.read() == content[-6:]
        assert stored.read() == b""
        assert stored.seek(100) == 100
        assert stored.seek(5, io.SEEK_CUR) == 105
        assert stored.read(3) == content[105:108]
    with pytest.raises(FileNotFoundError):
        files.open("missing")


def test_names_and_sizes_are_those_directly_in_the_folder(store: VersityGateway) -> None:
    """A folder's files are told from its folders; what is not there is empty, and removing it is nothing."""
    files = files_at(store.port)
    for name in ("a", "folder/b", "folder/deeper/c", "folder_beside/d"):
        write(files, name, name.encode())
    assert files.names("") == ["a", "folder", "folder_beside"]
    assert files.names("folder") == ["b", "deeper"]
    assert files.sizes("folder") == {"b": 8}
    assert files.names("nowhere") == []
    assert files.sizes("nowhere") == {}
    files.remove("a")
    files.remove("a")
    assert files.size("a") is None
    assert files.read("a") is None


ODD_TEXTS = ["plain", "a b", "100%", "a%20b", "x=y", "ü/#?&+", "日本", None]


def test_odd_partition_values_are_found_by_every_reader(store: VersityGateway) -> None:
    """Objects are where the log says, whatever the value: deltalake reads them, a compaction rewrites them, a sweep removes them."""
    world = table_at(store.port, timeout="60s")
    world.settings = replace(world.settings, partition_by=("text",))
    sink = world.sink()
    for lane in (LANE, OTHER):
        span, decoded = made(lane, range(len(ODD_TEXTS)), len(ODD_TEXTS), first=True)
        rows = decoded.rows.set_column(1, decoded.rows.schema.field("text"), pa.array(ODD_TEXTS))
        land(sink, (span, replace(decoded, chunk=chunk_of(lane, range(len(ODD_TEXTS)), len(ODD_TEXTS)), rows=rows)))
    expected = sorted(((number, text) for number, text in enumerate(ODD_TEXTS)), key=str)

    def read() -> list[tuple[int, str | None]]:
        table = DeltaTable(world.path, storage_options=store.storage_options)
        rows = pa.table(QueryBuilder().register("t", table).execute("select number, text from t")).to_pylist()
        return sorted(((row["number"], row["text"]) for row in rows), key=str)

    assert read() == sorted([*expected, *expected], key=str)
    settings = MaintenanceSettings(
        compaction_interval_seconds=0, compaction_files_min=2, sweep_grace_seconds=0, sweep_interval_seconds=0, sweep_seen_seconds=0
    )
    files = ObjectFiles(world.path, store.storage_options)
    old = [file.path for file in active_files(DeltaTable(world.path, storage_options=store.storage_options))]
    keeper = Maintenance(settings, replace(world.settings, path=world.path), QuickClock(), ears := Ears())
    keeper.after_commits(DeltaTable(world.path, storage_options=store.storage_options).version(), 1, 60.0)
    assert [event for event in ears.heard if not isinstance(event, Maintained)] == []
    assert len(active_files(DeltaTable(world.path, storage_options=store.storage_options))) == len(ODD_TEXTS)
    assert [path for path in old if files.size(path) is not None] == []
    assert read() == sorted([*expected, *expected], key=str)
    assert verify_table(world.path, store.storage_options).proved


def test_parquet_is_read_by_range(store: VersityGateway) -> None:
    """A footer and single columns are read without the whole file."""
    files = files_at(store.port)
    table = pa.table({"a": list(range(100_000)), "b": ["text"] * 100_000})
    with files.output("file.parquet") as stream:
        pq.write_table(table, stream)
    with files.open("file.parquet") as stored:
        assert pq.read_metadata(stored).num_rows == 100_000
    with files.open("file.parquet") as stored:
        assert pq.read_table(stored, columns=["a"]).equals(table.select(["a"]))


def test_the_probe_is_quick_and_leaves_nothing(store: VersityGateway, proxy: FaultProxy) -> None:
    """Whether a store creates atomically is found out with few requests, and no object stays behind."""
    world = table_at(proxy.port)
    # A fault that changes nothing counts the requests.
    proxy.add(*(Rule(Action.DELAY_REPLY, kind, times=100_000, seconds=0) for kind in Kind))
    probe_place(replace(world.settings, path=world.path, probe_rounds=8))
    assert 8 < proxy.faults() < 50
    assert ObjectFiles(world.path, store.storage_options).names("") == []


def test_a_store_that_overwrites_only_in_a_race_is_found(store_cache: Path) -> None:
    """The condition may hold one after the other and fail side by side: the race finds it."""
    with FakeS3(store_cache) as fake, FaultProxy(fake.port) as before_it:
        # The first probe and two creations one after the other go through as they are; only then is the condition taken off.
        before_it.add(Rule(Action.DELAY_REPLY, Kind.OTHER, times=4), Rule(Action.STRIP_HEADER, times=100_000, header="if-none-match"))
        world = table_at(before_it.port)
        with pytest.raises(Misconfigured, match="at once") as refused:
            probe_place(replace(world.settings, path=world.path, probe_rounds=2))
    assert refused.value.code == "UNSAFE_STORE"


def test_a_connection_option_means_the_same_under_each_name(store: VersityGateway) -> None:
    """Names in capitals, with or without their provider's prefix, are deltalake's, and ours."""
    plain = {name: value for name, value in store.storage_options.items() if name != "aws_allow_http"}
    for name in ("aws_allow_http", "AWS_ALLOW_HTTP", "allow_http"):
        options = {key.upper(): value for key, value in plain.items()}
        options |= {name: "true", "timeout": "5s", "max_retries": "2", "retry_timeout": "1m 30s", "backoff_config.init_backoff": "50ms"}
        options |= {"max_backoff": "2s", "base": "2.5", "connect_timeout": "2s", "OBJECT_STORE_CONCURRENCY_LIMIT": "10"}
        files = ObjectFiles(f"s3://{BUCKET}/{uuid.uuid4().hex}", options)
        write(files, "file")
        assert files.read("file") == b"content"
        DeltaTable.create(f"s3://{BUCKET}/{uuid.uuid4().hex}", pa.schema([("a", pa.int64())]), storage_options=options)


@pytest.mark.parametrize(
    ("uri", "options", "said"),
    [
        pytest.param("s3://b/t", {"aws_profile": "s3cr3t"}, "aws_profile", id="profile"),
        pytest.param("s3://b/t", {"aws_s3_locking_provider": "s3cr3t"}, "aws_s3_locking_provider", id="lock"),
        pytest.param("s3://b/t", {"aws_acces_key_id": "s3cr3t"}, "aws_acces_key_id", id="misspelt"),
        pytest.param("s3://b/t", {"aws_access_key_id": "s3cr3t"}, "aws_access_key_id", id="half-a-pair"),
        pytest.param("s3://b/t", {"timeout": "s3cr3t"}, "timeout", id="timeout"),
        pytest.param("s3://b/t", {"retry_timeout": "s3cr3t"}, "retry_timeout", id="retry-timeout"),
        pytest.param("s3://b/t", {"max_retries": "s3cr3t"}, "max_retries", id="retries"),
        pytest.param("gs://b/t", {"google_service_account_key": "s3cr3t"}, "google_service_account_key", id="key-file"),
        pytest.param("az://c/t", {"azure_storage_account_key": "s3cr3t"}, "azure_storage_account_key", id="no-account"),
        pytest.param("tape://reel/t", {}, "none", id="unknown-kind"),
    ],
)
def test_options_that_cannot_be_used_are_refused_by_name(uri: str, options: dict[str, str], said: str) -> None:
    """What the client cannot do is said at once, by the option's name and never with its value."""
    with pytest.raises(Misconfigured) as refused:
        ObjectFiles(uri, options)
    assert refused.value.code in {"CONFIG_INVALID", "CONFIG_UNKNOWN"}
    assert said in refused.value.message
    assert refused.value.next_step
    assert "s3cr3t" not in f"{refused.value} {refused.value.next_step} {refused.value.__cause__}"


@pytest.mark.parametrize(
    ("uri", "options"),
    [
        ("gs://bucket/table", {"google_skip_signature": "true"}),
        ("az://container/table", {"azure_storage_account_name": "account", "azure_storage_account_key": "a2V5"}),
        ("abfss://container@account.dfs.core.windows.net/table", {"azure_storage_sas_token": "sv=1&sig=2", "azure_allow_http": "true"}),
        ("s3a://bucket/table", {"AWS_REGION": "eu-west-1", "aws_skip_signature": "true"}),
    ],
)
def test_every_provider_of_deltalake_is_reached(uri: str, options: dict[str, str]) -> None:
    """The URIs and options of the other clouds make a client too."""
    assert not ObjectFiles(uri, options).local


@pytest.mark.parametrize(
    ("path", "more", "code"), [("nosuch", {}, "BUCKET_MISSING"), (BUCKET, {"aws_secret_access_key": "wrong"}, "SINK_AUTH")]
)
def test_a_store_that_cannot_be_used_is_found_before_the_first_read(
    store: VersityGateway, path: str, more: dict[str, str], code: str
) -> None:
    """A missing bucket and a refused key: `check`, `run` and a proof say the same code, and what to do."""
    settings = DeltaSettings(path=f"s3://{path}/{uuid.uuid4().hex}", storage_options={**storage_options(store.port), **more})
    run = Run("run-1", "numbers", "digest", 0.0)
    looks: list[Callable[[], object]] = [
        lambda: probe_place(settings),
        lambda: inspect(settings, "numbers", NUMBERS),
        lambda: open_table(settings, run, NUMBERS, QuickClock(), Ears()),
        lambda: verify_table(settings.path, settings.storage_options),
    ]
    for look in looks:
        with pytest.raises(Misconfigured) as caught:
            look()
        assert (caught.value.code, bool(caught.value.next_step)) == (code, True)
