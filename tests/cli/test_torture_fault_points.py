"""A worker stands still exactly where it is told to, and every fault point has its turn."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from landfast.cli.demo.picture import Ink
from landfast.cli.torture.ground import Wanted, ground
from landfast.cli.torture.harness import Harness
from landfast.cli.torture.judge import Count
from landfast.cli.torture.picture import line, lines
from landfast.cli.torture.points import POINTS, Herald, Order
from landfast.cli.torture.posts import Limits, leave_debris
from landfast.cli.torture.records import Lane, lanes
from landfast.cli.torture.report import Outcome, Times, commit
from landfast.cli.torture.score import Score, percentile
from landfast.cli.torture.story import described
from landfast.cli.torture.torment import REST_SECONDS, Deed, Torment
from landfast.cli.torture.worker import order_of
from landfast.sinks.delta.files.names import is_own
from landfast.system import SystemClock
from landfast.testing.wait import wait_until

STANDING = """
import sys
from landfast.cli.torture.points import Herald, Order
herald = Herald(1)
herald.obey(Order("commit.begun", 2, "stop"))
for number in range(3):
    herald.tell(number=number)
    herald.at("commit.begun")
"""


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="the state of a process is read from /proc")
def test_a_process_stands_still_at_the_very_point() -> None:
    """The second time it comes by it announces the point and stops itself, as a whole; continued, it says so and goes on."""
    with subprocess.Popen([sys.executable, "-c", STANDING], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert [json.loads(process.stdout.readline()) for _ in range(3)] == [{"number": 0}, {"number": 1}, {"at": "commit.begun"}]
        wait_until(lambda: _state(process.pid) == "T", 60)
        process.send_signal(signal.SIGCONT)
        assert [json.loads(said) for said in process.stdout] == [{"on": "commit.begun"}, {"number": 2}]


def test_a_held_thread_waits_for_leave_and_the_others_do_not() -> None:
    """Only the thread that comes by at the right time is held; it goes on when it is told to."""
    reader, writer = os.pipe()
    with os.fdopen(reader) as announcements:
        herald = Herald(writer)
        herald.obey(Order("stage.begun", 1, "hold"))
        held = threading.Thread(target=herald.at, args=("stage.begun",))
        held.start()
        assert json.loads(announcements.readline()) == {"at": "stage.begun"}
        herald.at("stage.begun")
        herald.at("stage.ended")
        assert held.is_alive()
        herald.obey(None)
        held.join(60)
        assert json.loads(announcements.readline()) == {"on": "stage.begun"}
        os.close(writer)
        assert announcements.read() == ""


def test_an_act_is_known_to_its_own_thread_only() -> None:
    """What a thread does is part of the act it was told; threads that nobody told write files."""
    herald = Herald(0)
    seen: list[str] = []
    with herald.during("commit"):
        other = threading.Thread(target=lambda: seen.append(herald.act))
        other.start()
        other.join()
        with herald.during("put"):
            seen.append(herald.act)
        seen.append(herald.act)
    assert [*seen, herald.act] == ["stage", "put", "commit", "stage"]


def test_an_order_travels_as_a_line() -> None:
    """What the torturer says is what the worker hears."""
    order = Order("commit.unanswered", 3, "stop")
    assert order_of(json.loads(json.dumps(order.as_object()))) == order
    assert order_of({}) is None


def test_every_point_has_its_turn() -> None:
    """The points at which the fewest were killed come first, so that none is left out; the same seed draws the same plans."""
    torment, twin = Torment(5, 6.0), Torment(5, 6.0)
    killed: Counter[str] = Counter()
    for _ in range(2000):
        plan = torment.plan(0.0)
        assert plan == twin.plan(0.0)
        if plan.point and plan.deed in {Deed.KILL, Deed.KILL_STOPPED}:
            for one in (torment, twin):
                one.killed[plan.point] += 1
            killed[plan.point] += 1
    assert set(killed) == set(POINTS)
    assert max(killed.values()) <= 2 * min(killed.values())


def test_points_that_nobody_comes_by_do_not_take_every_plan() -> None:
    """Some things happen seldom: who waits for these alone kills ever more rarely. Plans for them come less and less often."""
    torment, seldom = Torment(5, 6.0), set(sorted(POINTS)[:5])
    waited: list[float] = []
    for second in range(20_000):
        plan = torment.plan(float(second))
        if plan.point in seldom:
            torment.not_reached(plan, float(second))
            waited.append(second)
        elif plan.point:
            torment.killed[plan.point] += 1
    assert len(waited) < 1_000
    assert sum(second >= 10_000 for second in waited) < sum(second < 10_000 for second in waited)


def test_a_point_that_is_not_reached_rests() -> None:
    """A point that nobody came by is not waited for again at once, but later."""
    torment = Torment(5, 6.0)
    plan = next(plan for plan in iter(lambda: torment.plan(0.0), None) if plan.point)
    torment.not_reached(plan, 0.0)
    soon = {torment.plan(REST_SECONDS / 2).point for _ in range(500)}
    later = {torment.plan(REST_SECONDS).point for _ in range(500)}
    assert plan.point not in soon
    assert plan.point in later


def test_a_recovery_ends_when_all_that_the_dead_held_has_landed_again() -> None:
    """The time from a kill until the last of the partitions with load lands; quiet ones say nothing about it."""
    score = Score((Lane("t", 0, 4.0), Lane("t", 1, 4.0), Lane("t", 2, 0.02)))
    for partition in range(3):
        score.hear(77, {"gained": ["t", partition, 10]}, 0.0)
    score.killed(77, 1.0, "commit.begun")
    score.hear(78, {"landed": [["t", 0, 20]]}, 2.0)
    assert not score.recoveries_in_storm
    score.hear(78, {"landed": [["t", 0, 30], ["t", 1, 5]]}, 4.5)
    assert score.recoveries_in_storm == [3.5]
    assert score.landed == {0: 30, 1: 10, 2: 10}
    assert (score.kills_in_all, score.kills_since_landing) == (1, 0)


def test_a_recovery_in_calm_is_told_apart() -> None:
    """Only a kill before and after which nobody else is hurt says how long a recovery takes."""
    score = Score((Lane("t", 0, 4.0),), measured=True)
    score.hear(77, {"gained": ["t", 0, 10]}, 0.0)
    score.killed(77, 1.0, "")
    score.hear(78, {"landed": [["t", 0, 20]]}, 2.5)
    assert (score.recoveries, score.recoveries_in_storm) == ([1.5], [])


def test_settled_means_that_what_must_land_has_landed() -> None:
    """What an aborted transaction left at the end of a partition is not waited for."""
    score = Score((Lane("t", 0, 4.0),))
    score.hear_load({"ends": [[0, 12]], "needed": [[0, 9]], "acknowledged": 9})
    score.hear(1, {"landed": [["t", 0, 8]]}, 0.0)
    assert (score.settled, score.backlog) == (False, 4)
    score.hear(1, {"landed": [["t", 0, 9]]}, 0.0)
    assert score.settled


def test_percentiles_are_values_that_were_measured() -> None:
    """The share of measurements that are at most as large."""
    values = [random.Random(1).uniform(0, 1) for _ in range(3)] + [float(value) for value in range(1, 98)]
    assert percentile([], 0.5) is None
    assert percentile([3.0], 0.99) == 3.0
    assert percentile(values, 0.99) == 96.0
    assert percentile(values, 1) == 97.0


def test_the_load_is_hot_and_quiet() -> None:
    """Every topic has partitions that always have something to land, and one that hardly ever has."""
    assert Counter((lane.topic, lane.hot) for lane in lanes(["a", "b"], 4)) == {
        ("a", True): 3,
        ("a", False): 1,
        ("b", True): 3,
        ("b", False): 1,
    }


def test_debris_looks_like_a_file_of_ours_of_long_ago(tmp_path: Path) -> None:
    """There is something to sweep, and a sweep by the ordinary grace period takes it."""
    leave_debris(str(tmp_path / "table"), SystemClock())
    assert not (tmp_path / "table").exists()
    leave_debris(str(tmp_path), SystemClock())
    (file,) = tmp_path.iterdir()
    assert is_own(file.name)
    assert SystemClock().now() - file.stat().st_mtime > 8 * 86_400


def test_the_picture_fits_a_small_terminal(tmp_path: Path) -> None:
    """Eighty columns are enough for the verdict and for what is shown meanwhile, also after a very long campaign that found much."""
    with ground(Wanted("landfast-torture-picture", path=str(tmp_path)), print) as place:
        limits = Limits(3600.0, 1000, 3, 4000, 2**31)
        harness = Harness(place, limits, SystemClock(), lambda *_: None)
        harness.score.kills.update(dict.fromkeys(POINTS, 10_000))
        harness.score.deeds.update({deed.value: 10_000 for deed in (Deed.FREEZE, Deed.HOLD, Deed.LEAVE)})
        harness.score.counts.update(rebalances=100_000, conflicts=10_000, read=2_000_000_000)
        harness.score.recoveries += [12.3] * 10_000
        harness.score.recoveries_in_storm += [12.3] * 10_000
        count = Count(999_999_999, 989_999_999, 999_999, 999_999, 99_999_999)
        outcome = Outcome(limits, described(place), None, "", Times(3600.0, 12.3, 45.6, 78.9), harness, count, {"proved": True})
        shown = lines(outcome, Ink())
        assert max(map(len, shown)) <= 80, [one for one in shown if len(one) > 80]
        assert len(line(harness.score, 3599.0, limits)) <= 80
        assert line(harness.score, 3659.0, limits).startswith("1:00:59 of 1:00:00: 460,000 kills, 0 records, 0 to land")
        assert "NO" in "\n".join(shown)
        harness.settled = True
        assert lines(outcome, Ink("#", "=", "x"))[-1].startswith("0 failures in 460,000 kills: a rate below 6.5e-06 per kill, at 95 %")
        count.wrong["lost"] = 3
        assert lines(outcome, Ink())[-2:] == ["FOUND:", "  lost: 3 records"]
        assert outcome.as_object()["bound"]["rate_below"] is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("lies", "known"),
    [("src/landfast/cli/torture", True), (".venv/lib/landfast/cli/torture", False), ("lib/src/landfast/cli/torture", False)],
)
def test_only_a_checkout_of_landfast_has_a_commit(tmp_path: Path, lies: str, known: bool) -> None:
    """Installed below a repository of something else, the report does not take that one's commit for ours."""
    folder = tmp_path / lies
    folder.mkdir(parents=True)
    assert commit(folder) is None
    (folder / "report.py").touch()
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    for words in (("init", "--quiet"), ("add", "."), (*who, "commit", "--quiet", "--message", "x")):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    found = commit(folder)
    assert (found is not None) is known
    assert re.fullmatch("[0-9a-f]{40}", found or "0" * 40)


def test_the_guide_lists_every_fault_point() -> None:
    """Whoever reads a report can look up what each point means."""
    guide = (Path(__file__).resolve().parents[2] / "docs" / "guides" / "torture.md").read_text(encoding="utf-8")
    table = guide.partition("## The fault points")[2]
    assert dict(re.findall(r"^\| `([a-z_.]+)` \| (.*) \|$", table, re.MULTILINE)) == POINTS
