"""A process that forks while its pipeline runs: two of them would go on with one client."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import create_topic
from tests.faults.lines import road, unique

pytestmark = pytest.mark.system

PROGRAM = """
import os, sys
from landfast import Pipeline
from landfast.events import BatchLanded

class Forking:
    child = None

    def notice(self, event):
        if isinstance(event, BatchLanded) and self.child is None:
            self.child = os.fork()

ears = Forking()
report = Pipeline.from_file(sys.argv[1]).run(until_end=True, observer=ears)
if ears.child == 0:
    print("child", report.error and report.error.code, flush=True)
    os._exit(4)
_, status = os.waitpid(ears.child, 0)
print("parent", report.outcome, os.waitstatus_to_exitcode(status), flush=True)
os._exit(0)
"""


def test_p19_a_process_that_forks_while_it_reads(kafka: RealKafka, tmp_path: Path) -> None:
    """The child stops at once and says why, without touching what is its parent's; the parent lands all."""
    topic = unique("forked")
    create_topic(kafka.servers, topic, 1)
    made = road(tmp_path, kafka.servers, topic, 1, extra="[batch]\nrows = 50\n")
    made.load.produce(500)
    done = subprocess.run([sys.executable, "-c", PROGRAM, made.line.file], capture_output=True, text=True, timeout=180, check=False)
    assert set(done.stdout.splitlines()) == {"child UNSAFE_FORK", "parent finished 4"}, done.stdout + done.stderr[-2000:]
    made.settle()
