"""What a process cost: its whole life, start-up included, with every process it started and waited for."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Cost:
    """Wall and CPU seconds (user and system) and peak resident bytes of one process."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    output: str


def run(command: Sequence[str], log: Path, environment: dict[str, str] | None = None) -> Cost:
    """Run a program to its end and measure it; what it says on stderr goes to `log`.

    Raises:
        RuntimeError: it failed; the end of `log` is in the message.
    """
    with log.open("wb") as errors:
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env={**os.environ, **(environment or {})})
        output: list[bytes] = []
        reader = threading.Thread(target=lambda: output.append(process.stdout.read() if process.stdout else b""))
        reader.start()
        peak = _watch(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        reader.join()
    if process.returncode != 0:
        message = f"{' '.join(command)} ended with {process.returncode}: {log.read_text(errors='replace')[-2000:]}"
        raise RuntimeError(message)
    peak = peak or usage.ru_maxrss * 1024
    return Cost(wall, usage.ru_utime + usage.ru_stime, peak, b"".join(output).decode(errors="replace"))


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this project with this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def _watch(pid: int) -> int:
    """The high-water mark of the process's own memory until it ends; 0 where the system does not tell.

    `ru_maxrss` would include what this process held when it started the other one.
    """
    peak = 0
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        try:
            text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        except OSError:
            text = ""
        marks = [line.split()[1] for line in text.splitlines() if line.startswith("VmHWM:")]
        peak = max([peak, *(int(mark) * 1024 for mark in marks)])
        time.sleep(SAMPLE_SECONDS)
    return peak


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of `values` lies; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
