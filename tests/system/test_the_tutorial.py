"""Every step of the tutorial runs as it stands on the page."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from landfast.testing.kafka import RealKafka

pytestmark = pytest.mark.system

PAGE = Path(__file__).resolve().parents[2] / "docs" / "start" / "first-pipeline.md"
ADDRESS = "127.0.0.1:23456"
STEP_SECONDS_MAX = 120


def test_the_tutorial_runs_as_it_stands(kafka: RealKafka, tmp_path: Path) -> None:
    """A reader who types what the page says sees what the page says."""
    page = PAGE.read_text(encoding="utf-8").replace(ADDRESS, kafka.servers)
    produce, look = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (settings,) = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "produce.py").write_text(produce)
    (tmp_path / "look.py").write_text(look)
    (tmp_path / "pipeline.toml").write_text(settings)
    commands = [line.split() for line in re.findall(r"^(landfast .*)$", page, re.MULTILINE)]
    assert [command[1] for command in commands] == ["check", "run", "dead-letters", "verify"]
    type_in(tmp_path, sys.executable, "produce.py", kafka.servers)
    said = {command[1]: type_in(tmp_path, str(Path(sys.executable).parent / "landfast"), *command[1:]) for command in commands}
    assert "read 1,001 = written 1,000 + dead 1" in said["run"]
    assert "1 dead letter" in said["dead-letters"]
    assert "1_000" in type_in(tmp_path, sys.executable, "look.py")


def type_in(folder: Path, *command: str) -> str:
    """Run one command in the reader's folder; what it says, if it ends well."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=STEP_SECONDS_MAX, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout
