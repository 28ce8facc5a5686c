"""What a reader copies runs, and says what its page says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from landfast.testing.kafka import RealKafka
from tests.house.tree import ROOT


def test_the_job_that_is_killed_again_and_again_lands_each_row_once(tmp_path: Path) -> None:
    """First what deltalake alone makes of a repeated transaction, then five real kills, then the count."""
    program = ROOT / "examples" / "s4-idempotent-writes" / "nightly.py"
    ended = subprocess.run([sys.executable, str(program), str(tmp_path / "lake")], check=False, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "each order is there 2 times" in ended.stdout
    assert ended.stdout.count("  killed\n") == 5
    assert ended.stdout.splitlines()[-1] == "7,000 orders, each there once: True; commits 7, whole: True"


def test_the_worker_whose_disk_is_full_for_a_while_lands_each_event_once(tmp_path: Path) -> None:
    """First the loop that loses three batches, then the same events and a full disk with Landfast, then the count and the proof."""
    program = ROOT / "examples" / "s1-verified-before-cleared" / "worker.py"
    ended = subprocess.run([sys.executable, str(program), str(tmp_path / "lake")], check=False, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1,000 events read and committed, 300 of them nowhere" in ended.stdout
    assert ended.stdout.count("DISK_FULL") == 3
    assert ended.stdout.splitlines()[-1] == "2,000 events, each row there once: True; 3 dead letters; proved: True"


def test_the_worker_that_keeps_one_row_per_claim_has_the_last_event_of_each(tmp_path: Path) -> None:
    """First the merge that puts old events over new ones, then upserts, replays that change nothing older, and a history."""
    program = ROOT / "examples" / "s1-entity-worker" / "worker.py"
    ended = subprocess.run([sys.executable, str(program), str(tmp_path / "lake")], check=False, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[0] == "merged by hand, one batch tried again later: 102 of 151 claims are not as their last event says"
    assert "dead letters mended and replayed: 4 landed, 8 older; again: 0" in lines
    assert lines[-2:] == [
        "151 claims, each as its last event says: True; proved: True",
        "600 events in the history, and the newest of each claim is its row: True",
    ]


@pytest.mark.system
def test_the_service_that_is_stopped_and_killed_bills_every_order(kafka: RealKafka) -> None:
    """First what auto-commit makes of a stop, then a kill and a stop of the service, on a real broker; every order is counted."""
    program = ROOT / "examples" / "s5-small-service" / "billing.py"
    ended = subprocess.run([sys.executable, str(program), kafka.servers], check=False, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = ended.stdout.splitlines()
    assert "without Landfast, stopped once and started again: 30 of 130 orders are never billed" in lines
    assert "killed, stopped and started again: 0 of 160 orders are not billed" in lines[-2]
    assert lines[-1] == "in the dead-letter topic: [77]"
