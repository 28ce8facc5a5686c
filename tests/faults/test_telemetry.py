"""Nobody takes what a run says: its words go to a full disk, a closed pipe, or nowhere. Landing is not concerned."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from landfast.sinks.delta.proof.verify import verify_table
from landfast.testing.kafka import RealKafka
from tests.cli.command import fill, good, pipeline_file

pytestmark = pytest.mark.system

RECORDS = 300


def full() -> int:
    """A device that has no room for a single byte."""
    return os.open("/dev/full", os.O_WRONLY)


def broken() -> int:
    """A pipe whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize(("flag", "where"), [("--json", full), ("--until-end", broken)], ids=["full", "broken"])
def test_f7_a_run_whose_words_nobody_takes_lands_everything(kafka: RealKafka, tmp_path: Path, where: Callable[[], int], flag: str) -> None:
    """Standard output and error both fail at each write: every record lands once, and the exit code says how the run went."""
    topic = f"unheard{flag}".replace("=", "-")
    fill(kafka.servers, topic, [*good(RECORDS), b"no json"])
    file = pipeline_file(tmp_path, kafka.servers, topic)
    words = where()
    command = [sys.executable, "-m", "landfast", "run", str(file), "--until-end", flag]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=words, stderr=words, timeout=120, check=False)
    os.close(words)
    verdict = verify_table(str(tmp_path / "lake"))
    assert verdict.proved
    assert (verdict.rows, verdict.letters) == (RECORDS, 1)
    assert done.returncode == 0
