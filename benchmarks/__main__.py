"""`make bench`: one broker, one workload, everyone on it in turn, one table and one JSON file at the end. No bar fails here."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks import measure, pipeline, workload
from benchmarks.measure import Cost, percentile
from landfast.testing.kafka import RealKafka
from landfast.testing.kafka_records import create_topic

ROOT = Path(__file__).resolve().parents[1]
MIB = 1024 * 1024
COMMITS_COMPARED = 200
COMMIT_ROWS = 100
BATCHES_PER_COMMIT_MAX = 4
"""Several batches that wait are landed by one commit; the topic holds enough for so many."""
COMMITS_SECONDS_MAX = 150.0
SMALL_MACHINE = ({"rows": 100_000, "bytes": "16 MiB"}, {"memory_bytes": "64 MiB", "staging_threads": 1})
LATENCY_RECORDS_PER_SECOND = 10_000
START_SECONDS_MAX = 60.0
LATENCY_DRAIN_SECONDS = 10.0
WARM_UPS = 2
FLOORS = ("consume", "decode", "parquet")

Result = dict[str, Any]


class Bench:
    """The broker, the folder and the topics of one benchmark."""

    def __init__(self, servers: str, folder: Path, records: int) -> None:
        self._servers = servers
        self._folder = folder
        self.records = records
        self.tenth = max(records // 10, 1)

    def fill(self, topic: str, records: int) -> None:
        """Make a topic and fill it."""
        create_topic(self._servers, topic, workload.PARTITIONS)
        size = workload.produce(self._servers, topic, records)
        _say(f"{topic}: {records:,} records, {size / records:.0f} bytes each, {workload.PARTITIONS} partitions")

    def landfast(self, name: str, topic: str, records: int, *settings: dict[str, object]) -> Result:
        """Landfast on a topic, as a process, to its end."""
        path = pipeline.write_settings(self._folder / name, self._servers, topic, *settings)
        cost, commits = pipeline.land(path)
        _expect(sum(commit.rows for commit in commits), records, name)
        seconds = [commit.seconds for commit in commits]
        return _result(name, records, cost, seconds) | {"files": sum(commit.files for commit in commits)}

    def commits(self, name: str, topic: str, commits: int) -> list[pipeline.Commit]:
        """The commits of a run of small batches, stopped once the table has about so many versions."""
        settings = pipeline.write_settings(
            self._folder / name, self._servers, topic, {"rows": COMMIT_ROWS}, {"poll_records": COMMIT_ROWS}, {"confirm_seconds": 0.001}
        )
        with pipeline.running(settings):
            pipeline.wait_for_version(settings.parent / "table", commits, COMMITS_SECONDS_MAX)
        return pipeline.commits((settings.parent / "run.log").read_text(errors="replace"))

    def handwritten(self, name: str, topic: str, records: int) -> Result:
        """The hand-written loop on a topic, as a process, until it has read as many records."""
        folder = self._folder / name
        folder.mkdir()
        command = measure.python("benchmarks.handwritten", self._servers, topic, name, str(folder / "table"), str(records))
        cost = measure.run(command, folder / "run.log")
        seconds = json.loads(cost.output)["commit_seconds"]
        return _result(name, records, cost, seconds) | {"files": len(list((folder / "table").glob("*.parquet")))}

    def floor(self, name: str, part: str, topic: str) -> Result:
        """One part alone."""
        folder = self._folder / name
        folder.mkdir()
        command = measure.python("benchmarks.floors", part, self._servers, topic, str(folder), str(self.records))
        cost = measure.run(command, folder / "run.log")
        told = json.loads(cost.output)
        return {
            "name": name,
            **_rates(self.records, told["wall_seconds"], told["cpu_seconds"]),
            "peak_mib": cost.peak_bytes / MIB,
        }

    def latency(self, name: str, batch: dict[str, object], seconds: float) -> Result:
        """From produce to readable, at a steady rate."""
        create_topic(self._servers, name, workload.PARTITIONS)
        settings = pipeline.write_settings(self._folder / name, self._servers, name, batch)
        table = settings.parent / "table"
        with pipeline.running(settings), pipeline.Readable(table) as readable:
            # Joining the group and making the table are a matter of the start, not of the steady rate.
            workload.produce(self._servers, name, workload.PARTITIONS)
            readable.wait_for_rows(workload.PARTITIONS, START_SECONDS_MAX)
            steady_from = time.time()
            sent = workload.produce_steadily(self._servers, name, records_per_second=LATENCY_RECORDS_PER_SECOND, seconds=seconds)
            # The last records land by the same clock as the others, not because the run was stopped.
            time.sleep(LATENCY_DRAIN_SECONDS)
        found = pipeline.latencies(table, readable.seen, steady_from)
        return {
            "name": name,
            "records_per_second": sent / seconds,
            "records": sent,
            "records_readable": len(found),
            "p50_seconds": percentile(found, 0.5),
            "p99_seconds": percentile(found, 0.99),
            "max_seconds": max(found, default=0.0),
        }


def _result(name: str, records: int, cost: Cost, commit_seconds: list[float]) -> Result:
    return {
        "name": name,
        **_rates(records, cost.wall_seconds, cost.cpu_seconds),
        "peak_mib": cost.peak_bytes / MIB,
        "commits": len(commit_seconds),
        "commit_p50_milliseconds": percentile(commit_seconds, 0.5) * 1000,
        "commit_p99_milliseconds": percentile(commit_seconds, 0.99) * 1000,
    }


def _rates(records: int, wall_seconds: float, cpu_seconds: float) -> Result:
    return {
        "records": records,
        "wall_seconds": wall_seconds,
        "cpu_seconds": cpu_seconds,
        "records_per_second": records / wall_seconds,
        "cpu_microseconds_per_record": cpu_seconds / records * 1e6,
    }


def _slope(whole: Result, tenth: Result) -> Result:
    """The cost of one more record: the difference of two runs takes the start-up out."""
    records = whole["records"] - tenth["records"]
    wall = max(whole["wall_seconds"] - tenth["wall_seconds"], 1e-9)
    return {"name": f"{whole['name']}, slope", **_rates(records, wall, whole["cpu_seconds"] - tenth["cpu_seconds"])}


def _expect(landed: int, records: int, name: str) -> None:
    if landed != records:
        message = f"{name} landed {landed:,} rows of {records:,}: its figures mean nothing"
        raise RuntimeError(message)


def throughput(bench: Bench, rounds: int) -> list[dict[str, Result]]:
    """Everyone in turn on the same topic, and on one of a tenth for the slope, round after round: the results of each round, by name.

    The broker is a Java machine that compiles what it does often: whoever reads from it first pays for that, so two readings before the
    first round count for nobody. What else runs on the computer comes and goes: everyone's turn comes in every round.
    """
    bench.fill("bench", bench.records)
    bench.fill("bench-tenth", bench.tenth)
    for number in range(WARM_UPS):
        bench.floor(f"warm-up-{number}", "consume", "bench")
    found: list[dict[str, Result]] = []
    for number in range(1, rounds + 1):
        _say(f"round {number} of {rounds}")
        found.append({})
        for name, result in _round(bench, number):
            found[-1][name] = result
            _say(_line(result))
    return found


def _round(bench: Bench, number: int) -> Iterable[tuple[str, Result]]:
    """Everyone once. The names of the runs differ from round to round: each has a group and a table of its own."""
    kinds: tuple[tuple[str, Callable[[str, str, int], Result]], ...] = (("landfast", bench.landfast), ("handwritten", bench.handwritten))
    for name, run in kinds:
        whole = run(f"{name}-{number}", "bench", bench.records)
        tenth = run(f"{name}-tenth-{number}", "bench-tenth", bench.tenth)
        yield name, whole
        yield f"{name}, slope", _slope(whole, tenth)
    yield "landfast-small", bench.landfast(f"landfast-small-{number}", "bench", bench.records, *SMALL_MACHINE)
    for part in FLOORS:
        yield f"floor: {part}", bench.floor(f"floor-{part}-{number}", part, "bench")


def medians(rounds: list[dict[str, Result]]) -> list[Result]:
    """The median of each figure; of the peaks the highest, since a bound is what they are read for."""
    found: list[Result] = []
    for name, first in rounds[0].items():
        results = [results[name] for results in rounds]
        figures = {key: statistics.median(one[key] for one in results) for key, value in first.items() if isinstance(value, (int, float))}
        peaks = {"peak_mib": max(one["peak_mib"] for one in results)} if "peak_mib" in first else {}
        found.append({"name": name, **figures, **peaks})
    return found


def flatness(bench: Bench, commits: int) -> Result:
    """Whether the last of many commits takes as long as the first: small batches, so that commits are what the run is made of.

    The run is stopped after so many versions of the table, or after a set time: the result says how many commits it saw.
    """
    bench.fill("bench-commits", commits * COMMIT_ROWS * BATCHES_PER_COMMIT_MAX)
    landed = bench.commits("landfast-commits", "bench-commits", commits)
    seconds = [commit.seconds for commit in landed]
    blocks = [seconds[start : start + COMMITS_COMPARED] for start in range(0, len(seconds), COMMITS_COMPARED)]
    return {
        "name": "landfast-commits",
        "commits": len(landed),
        "files": sum(commit.files for commit in landed),
        "commits_per_block": COMMITS_COMPARED,
        "p50_milliseconds": [round(percentile(block, 0.5) * 1000, 1) for block in blocks],
        "p99_milliseconds": [round(percentile(block, 0.99) * 1000, 1) for block in blocks],
    }


def bars(rounds: list[dict[str, Result]]) -> Result:
    """The ratios that the figures are read for: formed within each round, and of the rounds the median."""
    found = [_ratios(results) for results in rounds]
    return {key: statistics.median(ratios[key] for ratios in found) for key in found[0]} | {"rounds": found}


def _ratios(results: dict[str, Result]) -> Result:
    ours, theirs = results["landfast, slope"], results["handwritten, slope"]
    floors = sum(results[f"floor: {part}"]["cpu_microseconds_per_record"] for part in FLOORS)
    cpu = ours["cpu_microseconds_per_record"]
    return {
        "cpu_share_of_handwritten": cpu / theirs["cpu_microseconds_per_record"],
        "speed_over_handwritten": results["landfast"]["records_per_second"] / results["handwritten"]["records_per_second"],
        "speed_over_handwritten_slope": ours["records_per_second"] / theirs["records_per_second"],
        "floors_cpu_microseconds_per_record": floors,
        "cpu_over_floors": cpu / floors,
        "peak_mib": results["landfast"]["peak_mib"],
        "peak_mib_small_machine": results["landfast-small"]["peak_mib"],
    }


def _line(kept: Result) -> str:
    """One result as a line of the table."""
    text = f"{kept['name']:<22} {kept['records_per_second']:>10,.0f} records/s {kept['cpu_microseconds_per_record']:>7.2f} µs CPU"
    if "peak_mib" in kept:
        text += f" {kept['peak_mib']:>6.0f} MiB"
    if "commits" in kept:
        text += (
            f" {kept['commits']:>5.0f} commits, p50 {kept['commit_p50_milliseconds']:.1f} ms, p99 {kept['commit_p99_milliseconds']:.1f} ms"
        )
        text += f", {kept['files']:.0f} files"
    return text


def _say(text: str) -> None:
    print(text, flush=True)


def _machine() -> Result:
    packages = ("confluent-kafka", "deltalake", "landfast", "pyarrow")
    return {
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--records", type=int, default=2_000_000, help="records of the main comparison")
    parser.add_argument("--rounds", type=int, default=3, help="how often everyone has a turn; the medians count")
    parser.add_argument("--commits", type=int, default=2_000, help="commits of the flatness run; 0 leaves it out")
    parser.add_argument("--seconds", type=float, default=30.0, help="seconds of each latency run; 0 leaves them out")
    parser.add_argument("--out", type=Path, default=ROOT / ".cache" / "bench.json", help="where the figures go as JSON")
    return parser.parse_args()


def main() -> None:
    """Measure, print, write."""
    given = _arguments()
    workload.check_record()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=given.out.parent))
    figures: Result = {"machine": _machine()}
    try:
        with RealKafka() as kafka:
            bench = Bench(kafka.servers, folder, given.records)
            rounds = throughput(bench, given.rounds)
            figures["throughput"], figures["bars"] = medians(rounds), bars(rounds)
            _say(f"medians of {given.rounds} rounds")
            for result in figures["throughput"]:
                _say(_line(result))
            if given.commits:
                figures["flatness"] = flatness(bench, given.commits)
            if given.seconds:
                batches: tuple[tuple[str, dict[str, object]], ...] = (("latency-defaults", {}), ("latency-1s", {"seconds": 1.0}))
                figures["latency"] = [bench.latency(name, batch, given.seconds) for name, batch in batches]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    given.out.write_text(json.dumps(figures, indent=2) + "\n")
    for name in ("bars", "flatness", "latency"):
        if name in figures:
            _say(f"{name}: {json.dumps(figures[name], indent=2)}")
    _say(f"All figures: {given.out}")


if __name__ == "__main__":
    main()
