"""The command line as such: versions, help, and what is not known."""

from __future__ import annotations

import importlib.metadata
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from landfast import Broken, Conflict, Halted, Misconfigured, Outcome, RunReport, Stream, Unavailable
from landfast.cli import exits
from landfast.cli.screen import Screen
from landfast.errors import ErrorClass
from landfast.model import Halt, Run
from tests.cli.command import landfast

RUN = Run("r1", "p", "d", 0.0)
STREAM = Stream("orders", "id", 3)


def test_the_version_is_the_packages() -> None:
    """`landfast --version` names the version, at once and without a driver."""
    assert landfast("--version").out == f"landfast {importlib.metadata.version('landfast')}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rum"], "Did you mean 'run'?"),
        (["run", "x.toml", "--untilend"], "--until-end"),
        (["run"], "Missing argument"),
        (["run", "x.toml", "--metrics", "99999"], "--metrics"),
        (["--nonsense"], "No such option"),
    ],
)
def test_an_unknown_command_or_option_exits_2_with_the_nearest(arguments: list[str], words: str) -> None:
    """A slip on the command line is answered with the nearest known name and exit code 2."""
    ended = landfast(*arguments)
    assert ended.code == 2
    assert words in ended.err


def test_a_missing_file_exits_2(tmp_path: Path) -> None:
    """A settings file that is not there is named, in text and as JSON."""
    assert "CONFIG_UNREADABLE" in landfast("run", tmp_path / "no.toml").err
    ended = landfast("run", tmp_path / "no.toml", "--json")
    assert (ended.code, ended.errors[0]["code"], ended.out) == (2, "CONFIG_UNREADABLE", "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Misconfigured("A_B", "m"), 2),
        (Unavailable("A_B", "m"), 3),
        (Halted("A_B", "m"), 3),
        (Conflict("A_B", "m"), 3),
        (Broken("A_B", "m"), 4),
    ],
)
def test_an_error_has_its_exit_code(error: Exception, code: int) -> None:
    """The branch of an error says how the process ends."""
    assert exits.of_error(pickle.loads(pickle.dumps(error))) == code  # noqa: S301 — our own bytes
    assert exits.of_report(RunReport(RUN, Outcome.BROKEN, {}, {}, 1.0, 0, error)) == code  # type: ignore[arg-type]


def test_a_run_has_its_exit_code() -> None:
    """A clean end and a clean stop are 0; a halted lane, or a stop that gave up on records, is 3."""
    halts = {STREAM: Halt("DATA_EXPIRED", "m", "n")}
    assert exits.of_report(RunReport(RUN, Outcome.FINISHED, {}, {}, 1.0)) == 0
    assert exits.of_report(RunReport(RUN, Outcome.STOPPED, {}, {}, 1.0)) == 0
    assert exits.of_report(RunReport(RUN, Outcome.HALTED, {}, halts, 1.0)) == 3
    assert exits.of_report(RunReport(RUN, Outcome.STOPPED, {}, {}, 1.0, abandoned=5)) == 3
    assert set(exits.EXITS) == {0, 1, 2, 3, 4, 130}


def test_a_stop_that_gave_up_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """What a stop did not land is counted, and said to be safe."""
    Screen(as_json=False).show_report(RunReport(RUN, Outcome.STOPPED, {}, {}, 1.0, abandoned=1234))
    assert "SHUTDOWN_PARTIAL: 1,234 records" in capsys.readouterr().err


def test_a_defect_is_shown_by_classes_and_lines_alone(tmp_path: Path) -> None:
    """An exception that nothing maps ends with 4 and its code; what a driver says may quote a secret, so its words are not shown."""
    file = tmp_path / "p.toml"
    file.write_text('name = "n"\nsource = { servers = "h:1", topics = ["t"] }\nsink = { path = "t" }\n', encoding="utf-8")
    broken = "import landfast.config as c, landfast.cli.app as m\ndef load(path): raise ValueError('http://u:canary-77@h canary-78')\n"
    program = broken + "c.load = load\nm.main()\n"
    ended = subprocess.run([sys.executable, "-c", program, "runs", str(file)], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 4
    assert "UNEXPECTED: ValueError\n" in ended.stderr
    assert "in load\n" in ended.stderr
    assert "canary" not in ended.stderr + ended.stdout


def test_a_result_that_cannot_be_shown_changes_no_exit_code() -> None:
    """A full disk behind standard output is one line on standard error, and no defect."""
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        command = [sys.executable, "-m", "landfast", "explain", "DISK_FULL"]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (0, 1)
    assert "standard output cannot be written (No space left on device)" in ended.stderr


def test_what_a_run_has_cost_is_told_at_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    """Batches, and what was tried again, by the class of the error: for people and as data."""
    report = RunReport(RUN, Outcome.FINISHED, {}, {}, 1.0, batches=1200, retries={ErrorClass.TRANSIENT: 2, ErrorClass.AUTH: 1})
    Screen(as_json=False).show_report(report)
    assert "1,200 batches landed; tried again: auth 1, transient 2" in capsys.readouterr().out
    Screen(as_json=True).show_report(report)
    told = json.loads(capsys.readouterr().out)
    assert (told["batches"], told["retries"]) == (1200, {"auth": 1, "transient": 2})


def test_letters_that_go_on_waiting_are_counted_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever ends a run sees how many dead letters the next one will try again."""
    Screen(as_json=False).show_report(RunReport(RUN, Outcome.FINISHED, {}, {}, 1.0, waiting=2), str)
    assert "waiting to be tried again: 2 dead letters; the next run goes on with them" in capsys.readouterr().out


def test_lanes_that_halted_alike_share_one_block(capsys: pytest.CaptureFixture[str]) -> None:
    """A full disk halts every lane of a route; it is told once, with the route, the table and all partitions, and how it goes on."""
    full, torn = Halt("DISK_FULL", "the disk is full", "Free space."), Halt("BATCH_CORRUPT", "m", "n")
    halts: dict[Stream, Halt] = {Stream("orders", "id", partition): full for partition in (0, 1, 2, 3, 5, 11)}
    halts[Stream("orders", "id", 4)] = torn
    halts[Stream("others", "id", 4)] = full
    report = RunReport(RUN, Outcome.HALTED, {}, halts, 1.0)
    Screen(as_json=False).show_report(report, lambda topic: f"route {topic} → lake/{topic}")
    shown = capsys.readouterr()
    assert shown.err.count("DISK_FULL: ") == 2
    assert "  where: route orders → lake/orders, orders[0-3, 5, 11]\n" in shown.err
    assert "  where: route orders → lake/orders, orders[4]\n" in shown.err
    assert "8 halted: `landfast run` goes on where they stand, once their cause is gone" in shown.out


def test_what_broke_a_route_is_told_once_and_speaks_of_that_route(capsys: pytest.CaptureFixture[str]) -> None:
    """The lanes of the broken route stand in its block; those of a route that failed in the same words have a block of their own."""
    error = Misconfigured("NOT_A_TABLE", "files lie there", next_step="Choose another path.").at("route orders → lake/orders")
    halt = Halt(error.code, error.message, error.next_step)
    halts = {Stream(topic, "id", partition): halt for topic in ("orders", "others") for partition in (0, 1)}
    report = RunReport(RUN, Outcome.REFUSED, {}, halts, 1.0, error=error)
    Screen(as_json=False).show_report(report, lambda topic: f"route {topic} → lake/{topic}")
    shown = capsys.readouterr().err
    assert shown.count("NOT_A_TABLE: ") == 2
    assert "  where: route orders → lake/orders\n  lanes: orders[0-1]\n  safe:  Nothing of this route was read or written.\n" in shown
    assert "  where: route others → lake/others, others[0-1]\n  safe:  Nothing of this route was read or written.\n" in shown
    Screen(as_json=True).show_report(report, lambda topic: f"route {topic} → lake/{topic}")
    assert json.loads(capsys.readouterr().err.splitlines()[0])["error"]["lanes"] == "orders[0-1]"


def test_an_error_names_its_place_and_hides_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    """Stream and offset are named; a secret that a driver put into its words is masked."""
    error = Unavailable("SOURCE_DOWN", "refused for password canary-77", stream=STREAM, position=42, next_step="Wait.")
    Screen(as_json=False, secrets=("canary-77",)).show_error(error)
    Screen(as_json=True, secrets=("canary-77",)).show_error(error)
    shown = capsys.readouterr().err
    assert "canary-77" not in shown
    assert "  where: orders[3] offset 42" in shown
    assert '"where": "orders[3] offset 42"' in shown
