"""`landfast torture` as a user runs it: a verdict, a report, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from landfast.cli.torture.ground import Ground, Wanted, ground
from landfast.cli.torture.harness import Harness
from landfast.cli.torture.points import LOCAL, POINTS
from landfast.cli.torture.posts import Limits
from landfast.errors import Broken
from landfast.system import SystemClock
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import admin
from landfast.testing.local_ports import HOST, free_ports
from landfast.testing.stores import ACCESS_KEY, BUCKET, SECRET_KEY, VersityGateway
from landfast.testing.wait import wait_until

pytestmark = pytest.mark.system

SECONDS_MAX = 600.0


@contextmanager
def _torture(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """The command, its temporary files below `folder`, its output in two files there."""
    with (folder / "out.txt").open("w") as out, (folder / "err.txt").open("w") as err:
        (folder / "temporary").mkdir()
        environment = {**os.environ, "TMPDIR": str(folder / "temporary")}
        process = subprocess.Popen(
            [sys.executable, "-m", "landfast", "torture", *words], stdout=out, stderr=err, text=True, cwd=folder, env=environment
        )
        try:
            yield process
        finally:
            # It takes its workers with it.
            process.terminate()
            process.wait(SECONDS_MAX)


def _ended(folder: Path, *words: str) -> tuple[int, str, str]:
    with _torture(folder, *words) as process:
        process.wait(SECONDS_MAX)
    return process.returncode, (folder / "out.txt").read_text(), (folder / "err.txt").read_text()


def _left_behind(folder: Path, said: str) -> list[str]:
    """Files below the temporary folder, and processes that know the torture's name."""
    (name,) = set(re.findall(r"landfast-torture-[0-9a-f]{8}", said))
    processes = [line.decode(errors="replace") for line in _command_lines() if name.encode() in line]
    return [*(path.name for path in (folder / "temporary").iterdir()), *processes]


def _command_lines() -> set[bytes]:
    """Of all processes there are."""
    lines: set[bytes] = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        # One that ends meanwhile has none.
        with suppress(OSError):
            lines.add(path.read_bytes())
    return lines


@pytest.mark.long
def test_a_torture_on_the_embedded_broker_finds_nothing(tmp_path: Path) -> None:
    """Without a cluster it takes a broker of its own and says so; workers die at fault points; every record is in its place."""
    code, out, err = _ended(tmp_path, "--minutes", "5", "--kills", "6", "--seed", "7", "--rate", "1000", "--json", "report.json")
    assert code == 0, out + err
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["well"] is True, report["complaints"]
    assert report["seed"] == 7
    assert report["kills"]["in_all"] >= 6
    assert sum(report["kills"]["at_points"].values()) >= 1
    assert report["kills"]["in_all"] == report["kills"]["at_any_moment"] + sum(report["kills"]["at_points"].values())
    records = report["records"]
    assert records["acknowledged"] == records["rows"] + records["dead_letters"] + records["skipped"] > 0
    assert records["dead_letters"] > 0
    assert [report[wrong] for wrong in ("lost", "doubled", "changed", "misplaced", "aborted", "phantom", "out_of_order")] == [0] * 7
    assert report["bound"]["rate_below"] == 3 / report["kills"]["in_all"]
    assert report["assignments"]["to_a_worker"] >= 1
    assert "an embedded broker, which has no transactions" in err
    assert "landfast verify: proved" in out
    assert _left_behind(tmp_path, err) == []


@pytest.mark.long
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_torture_on_a_cluster_leaves_nothing_there(kafka: RealKafka, tmp_path: Path, protocol: str) -> None:
    """On a real broker transactions are part of the load, none that was aborted lands, and topics and group are gone at the end."""
    options = ("--option", f"group.protocol={protocol}", "--option", "session.timeout.ms=2000")
    words = ("--servers", kafka.servers, *options, "--path", "place")
    code, out, err = _ended(tmp_path, *words, "--minutes", "5", "--kills", "2", "--rate", "1000", "--json", "report.json")
    assert code == 0, out + err
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["records"]["in_aborted_transactions"] > 0
    assert report["verify"]["compared"]["records"] == report["records"]["acknowledged"]
    assert (report["session_seconds"], report["protocol"]) == (2.0, protocol)
    assert list((tmp_path / "place").iterdir()) == []
    _assert_clean(kafka, tmp_path, err)


@pytest.mark.long
def test_a_torture_of_a_table_in_a_store_leaves_nothing_there(
    store: VersityGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers are killed at the points that a store has, the judge reads the table from there, and no command line shows a secret."""
    monkeypatch.setenv("TORTURE_KEY", ACCESS_KEY)
    monkeypatch.setenv("TORTURE_SECRET", SECRET_KEY)
    options = {**store.storage_options, "aws_access_key_id": "env:TORTURE_KEY", "aws_secret_access_key": "env:TORTURE_SECRET"}
    words = [word for key, value in options.items() for word in ("--storage-option", f"{key}={value}")]
    lines: set[bytes] = set()
    with _torture(
        tmp_path, "--path", f"s3://{BUCKET}/somewhere", *words, "--kills", "3", "--rate", "500", "--json", "report.json"
    ) as process:
        wait_until(lambda: lines.update(_command_lines()) or process.poll() is not None, SECONDS_MAX)
    out, err = (tmp_path / "out.txt").read_text(), (tmp_path / "err.txt").read_text()
    assert process.returncode == 0, out + err
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["kills"]["points"] == len(report["kills"]["at_points"]) == len(POINTS) - len(LOCAL)
    assert report["records"]["rows"] > 0
    assert not [path for path in (store.folder / BUCKET / "somewhere").rglob("*") if path.is_file()]
    assert any(b"landfast.cli.torture.worker" in line for line in lines)
    assert SECRET_KEY not in json.dumps(report) + out + err + str(lines)
    assert _left_behind(tmp_path, err) == []


@pytest.mark.long
def test_ctrl_c_leaves_nothing_behind(kafka: RealKafka, tmp_path: Path) -> None:
    """Interrupted in the middle of it, with workers at work and standing still, it takes everything away and exits with 130."""
    words = ("--servers", kafka.servers, "--option", "session.timeout.ms=2000", "--minutes", "60")
    with _torture(tmp_path, *words) as process:
        logs = (tmp_path / "temporary").glob
        wait_until(lambda: process.poll() is not None or any(logs("*/table/*.parquet")), SECONDS_MAX)
        # Whoever is impatient presses twice.
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS_MAX) == 130, (tmp_path / "err.txt").read_text()
    _assert_clean(kafka, tmp_path, (tmp_path / "err.txt").read_text())


def _assert_clean(kafka: RealKafka, folder: Path, said: str) -> None:
    (name,) = set(re.findall(r"landfast-torture-[0-9a-f]{8}", said))
    client = admin(kafka.servers)
    # A deleted topic may still be named for a moment.
    wait_until(lambda: not [topic for topic in client.list_topics(timeout=30).topics if topic.startswith(name)], SECONDS_MAX)
    assert name not in {group.group_id for group in client.list_consumer_groups().result(30).valid}
    assert _left_behind(folder, said) == []


@pytest.mark.long
def test_servers_that_do_not_answer_are_named(tmp_path: Path) -> None:
    """A cluster that is not there ends it before anything is made, with the address and the next step."""
    (port,) = free_ports(1)
    code, out, err = _ended(tmp_path, "--servers", f"{HOST}:{port}", "--json", "report.json")
    assert code == 3
    assert out == ""
    assert "SOURCE_DOWN" in err
    assert f"{HOST}:{port}" in err
    assert "next:  Check --servers" in err
    assert list((tmp_path / "temporary").iterdir()) == []
    assert not (tmp_path / "report.json").exists()


@contextmanager
def _harness(folder: Path) -> Iterator[tuple[Ground, Harness]]:
    """A place on an embedded broker, and a harness for it."""
    with ground(Wanted("landfast-torture-inside", path=str(folder)), print) as place:
        yield place, Harness(place, Limits(120.0, None, 2, 500, 1), SystemClock(), lambda *_: None)


@pytest.mark.long
def test_workers_that_end_by_themselves_end_the_torture(tmp_path: Path) -> None:
    """Where no worker can work, it is not tried for ever: the torture ends with what the last of them said."""
    with _harness(tmp_path) as (place, harness):
        place.file.write_text("name = 1\n", encoding="utf-8")
        with pytest.raises(Broken, match="CONFIG_"):
            harness.run()
    assert list(tmp_path.iterdir()) == []


def test_a_load_that_ends_by_itself_ends_the_torture(tmp_path: Path) -> None:
    """Without a load nothing is tested: the torture ends with what it said."""
    with _harness(tmp_path) as (place, harness):
        (place.folder / "ledger").write_text("in the way", encoding="utf-8")
        with pytest.raises(Broken, match="the load ended by itself"):
            harness.run()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--option", "nonsense"], "--option, the 1. one given: write it as KEY=VALUE"),
        (
            ["--storage-option", "aws_region=x", "--storage-option", "aws_secret_access_key hidden"],
            "the 2. one given: write it as KEY=VALUE",
        ),
        (["--option", "session.timeout=1"], "session.timeout.ms"),
        (["--json", "no/such/folder.json"], "--json"),
        (["--path", "/proc/here"], "--path"),
        (["--option", "sasl.password=plain"], "--option: sasl.password"),
        (["--path", "s3://lake", "--storage-option", "aws_secret_access_key=plain"], "--storage-option: aws_secret_access_key"),
    ],
)
def test_what_cannot_be_granted_is_refused_at_once(tmp_path: Path, words: list[str], said: str) -> None:
    """A wish that cannot be granted is named, and nothing is made."""
    code, _, err = _ended(tmp_path, *words)
    assert code == 2, err
    assert said in err
    assert list((tmp_path / "temporary").iterdir()) == []
