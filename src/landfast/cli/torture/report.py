"""What came of a torture, as data: figures, verdict, and what another needs to repeat it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landfast.cli.torture.harness import Harness
from landfast.cli.torture.judge import Count
from landfast.cli.torture.posts import Limits
from landfast.cli.torture.score import percentile
from landfast.system import cores

_LIBRARIES = ("confluent-kafka", "deltalake", "pyarrow")
_PROOF = ("proved", "outcome", "version", "files", "checked_spans", "compared", "unchecked", "findings")
_CONFIDENCE = 0.95
_RULE_OF_THREE = 3
_IN_CHECKOUT = "src/landfast/cli/torture/"
"""Where this folder lies in a checkout of Landfast."""


@dataclass(frozen=True, slots=True)
class Times:
    """How long each part took, in seconds: workers were hurt; then what was left landed; then it was judged, and proved."""

    torture: float
    settle: float
    judge: float
    verify: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """A torture that has come to its end.

    place    where it took place, in the words of the report
    commit   of the code, when it began: a checkout may be changed in an hour
    began    when, in the words of the report
    proof    what `landfast verify --json` says of the table
    """

    limits: Limits
    place: Mapping[str, Any]
    commit: str | None
    began: str
    times: Times
    harness: Harness
    count: Count
    proof: Mapping[str, Any]

    @property
    def complaints(self) -> list[str]:
        """What is wrong, in words; empty where all is well."""
        harness = self.harness
        found = [f"{wrong.replace('_', ' ')}: {count:,} records" for wrong, count in self.count.wrong.items() if count]
        if not self.proof.get("proved"):
            found.append("landfast verify: not proved")
        if not harness.settled:
            found.append(f"not settled: {harness.score.backlog:,} offsets were acknowledged and had not landed")
        found += [f"halted: {code} ({times} times)" for code, times in sorted(harness.score.halts.items())]
        return found + [_in_short(crash) for crash in harness.crashes]

    @property
    def well(self) -> bool:
        """Whether nothing is wrong."""
        return not self.complaints

    def as_object(self) -> dict[str, Any]:
        """The report as JSON."""
        harness, score, limits = self.harness, self.harness.score, self.limits
        return {
            "well": self.well,
            "complaints": self.complaints,
            "crashes": harness.crashes,
            "seed": limits.seed,
            "version": importlib.metadata.version("landfast"),
            "commit": self.commit,
            "machine": machine(),
            **self.place,
            "settings": {
                "seconds_max": limits.seconds,
                "kills_max": limits.kills,
                "workers": limits.workers,
                "records_per_second_max": limits.records_per_second_max,
                "lanes": len(score.lanes),
            },
            "began": self.began,
            "torture_seconds": round(self.times.torture, 1),
            "settled": harness.settled,
            "settle_seconds": round(self.times.settle, 1),
            "judge_seconds": round(self.times.judge, 1),
            "verify_seconds": round(self.times.verify, 1),
            "memory_mib_max": memory_mib_max(),
            "kills": {
                "in_all": score.kills_in_all,
                "at_any_moment": score.kills[""],
                "at_points": {point: score.kills[point] for point in score.points},
                "points": len(score.points),
                "points_reached": score.points_reached,
            },
            "other_deeds": dict(sorted(score.deeds.items())),
            "assignments": {"to_a_worker": score.counts["rebalances"], "of_a_partition": score.counts["gained"]},
            "commits": score.counts["commits"],
            "commits_of_former_owners_refused": score.counts["conflicts"],
            "outcomes_resolved": {key.removeprefix("resolved "): n for key, n in score.counts.items() if key.startswith("resolved ")},
            "upkeep": {act: score.counts[act] for act in ("checkpoint", "compaction", "sweep", "clean-up")},
            "recovery_seconds": _distribution(score.recoveries),
            "recovery_seconds_in_storm": _distribution(score.recoveries_in_storm),
            "records": self._records(),
            **self.count.wrong,
            "places": self.count.places,
            "verify": {
                key: self.proof.get(key) for key in ("proved", "outcome", "version", "files", "checked_spans", "compared", "findings")
            },
            "bound": self._bound(),
        }

    def _records(self) -> dict[str, Any]:
        load, count = self.harness.score.load, self.count
        return {
            "acknowledged": count.acknowledged,
            "acknowledged_per_second": round(count.acknowledged / self.times.torture) if self.times.torture else 0,
            "rows": count.rows,
            "dead_letters": count.letters,
            "skipped": count.skipped,
            "in_aborted_transactions": count.aborted,
            "transactions": load.get("transactions", 0),
            "doubtful": load.get("doubtful", 0),
            "read": self.harness.score.counts["read"],
            "replayed": self.replayed,
        }

    @property
    def replayed(self) -> int:
        """Records that were read again, because whoever had read them could not land them."""
        return max(0, self.harness.score.counts["read"] - self.count.acknowledged)

    def _bound(self) -> dict[str, Any]:
        """The rule of three: with no failure in n independent trials the true rate is below 3/n, at 95 %."""
        kills = self.harness.score.kills_in_all
        if not self.well or not kills:
            return {"failures": None if self.well else "see complaints", "kills": kills, "rate_below": None, "confidence": _CONFIDENCE}
        return {"failures": 0, "kills": kills, "rate_below": _RULE_OF_THREE / kills, "confidence": _CONFIDENCE}


def _distribution(seconds: Sequence[float]) -> dict[str, Any]:
    found = {"p50": percentile(seconds, 0.5), "p99": percentile(seconds, 0.99), "max": percentile(seconds, 1)}
    return {"count": len(seconds), **{name: None if value is None else round(value, 2) for name, value in found.items()}}


def memory_mib_max() -> int:
    """The most memory that this process has had: that of the torturer and of the judge."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(most / (2**20 if sys.platform == "darwin" else 2**10))


def machine() -> dict[str, Any]:
    """What it ran on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    libraries = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {
        "system": platform.platform(),
        "cores": cores(),
        "memory_gib": round(memory / 2**30, 1),
        "python": platform.python_version(),
        **libraries,
    }


def commit(folder: Path = Path(__file__).parent) -> str | None:
    """The commit that this code is of, where it runs from a checkout of Landfast, and whether something was changed since.

    Installed below a checkout of something else, whose commit says nothing of it, it is known by its version alone.
    """
    if _git(folder, "rev-parse", "--show-prefix") != _IN_CHECKOUT:
        return None
    return _git(folder, "describe", "--always", "--abbrev=40", "--dirty=+changes", "--exclude=*")


def _git(folder: Path, *words: str) -> str | None:
    command = ["git", "-C", str(folder), *words]
    try:
        found = subprocess.run(command, check=False, capture_output=True, text=True, timeout=10)  # noqa: S603 — every word of it stands here
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None if found.returncode == 0 else None


def _in_short(crash: str) -> str:
    """How a worker ended, and the last line that it wrote: that is where it says why."""
    how, *words = [line for line in crash.splitlines() if line.strip()]
    return f"{how} {words[-1]}" if words else how
