"""The pipeline as Python offers it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import landfast
from landfast import Misconfigured, Outcome, Pipeline, Unavailable
from landfast.cli import exits
from landfast.cli.screen import Screen
from landfast.events import RecordsRead, RetryScheduled, RunStarted
from landfast.model import Chunk, Decoded, Receipt, Staged
from landfast.ports import Observer
from landfast.system import SystemClock
from landfast.testing.memory import (
    LineDecoder,
    MemoryDeadLetters,
    MemoryGroup,
    MemoryLetterStore,
    MemoryLog,
    MemorySink,
    MemorySource,
    MemoryTable,
    RecordingObserver,
)
from landfast.testing.wait import wait_until


class World:
    """A topic in memory and a table for it; every pipeline is another process of the same world."""

    def __init__(self, records: int) -> None:
        self.log = MemoryLog()
        self.log.create("orders", partitions=2)
        self.group = MemoryGroup(self.log, ["orders"])
        self.table = MemoryTable()
        self.letters = MemoryLetterStore()
        self.append(records)

    def append(self, records: int) -> None:
        """Put more records into the log, in turns."""
        for index in range(records):
            self.log.append("orders", index % 2, b"{}")

    def pipeline(self, **more: Any) -> Pipeline:
        """One more process."""
        source = MemorySource(self.group, "worker", SystemClock())
        parts = {"source": source, "decoder": LineDecoder(), "sink": MemorySink(self.table)}
        return Pipeline(**{**parts, "dead_letters": MemoryDeadLetters(self.letters), "name": "orders", **more})


def stopped_after(pipeline: Pipeline, records: int) -> Observer:
    """An observer that stops the pipeline once so many records are read."""

    class Stopper(RecordingObserver):
        def notice(self, event: Any) -> None:
            super().notice(event)
            if sum(one.records for one in self.of(RecordsRead)) >= records:
                pipeline.stop()

    return Stopper()


def test_a_bounded_run_lands_all_and_says_so() -> None:
    """`run(until_end=True)` lands what the log holds and returns the equation."""
    world = World(500)
    report = world.pipeline().run(until_end=True)
    assert (report.outcome, report.error, report.abandoned) == (Outcome.FINISHED, None, 0)
    assert (report.totals.read, report.totals.written, len(world.table.rows)) == (500, 500, 500)
    assert report.totals.holds


@pytest.mark.parametrize("records", [50, 75, 130])
def test_a_stop_lands_what_was_read_and_reads_none_of_it_again(records: int) -> None:
    """50 events and a stop: 50 landed, and zero read again at the next start, although the batch was far from full."""
    world = World(records)
    pipeline = world.pipeline(batch={"rows": 100, "seconds": 3600})
    report = pipeline.run(observer=stopped_after(pipeline, records))
    assert (report.outcome, report.abandoned, len(world.table.rows)) == (Outcome.STOPPED, 0, records)
    again = world.pipeline().run(until_end=True)
    assert (again.totals.read, len(world.table.rows)) == (0, records)


def test_a_stop_from_another_thread_ends_the_run() -> None:
    """`stop` may be called from any thread."""
    world = World(10)
    pipeline = world.pipeline()
    observer = stopped_after(pipeline, 1_000_000)
    reports: list[landfast.RunReport] = []
    thread = threading.Thread(target=lambda: reports.append(pipeline.run(observer=observer)))
    thread.start()
    pipeline.stop()
    thread.join(timeout=30)
    assert [report.outcome for report in reports] == [Outcome.STOPPED]


def test_a_stop_before_the_run_ends_it_at_once() -> None:
    """A signal that comes while the pipeline is put up is not forgotten."""
    world = World(10)
    pipeline = world.pipeline()
    pipeline.stop()
    assert pipeline.run().outcome is Outcome.STOPPED
    assert not world.table.rows


def test_d19_an_exception_in_a_decoder_of_yours_loses_nothing() -> None:
    """75 events and an exception in processing: the run ends and says why, nothing is passed, and a mended decoder lands all 75."""

    class Broken:
        def decode(self, chunk: Chunk) -> Decoded:
            raise ZeroDivisionError

    world = World(75)
    report = world.pipeline(decoder=Broken()).run(until_end=True)
    assert report.outcome is Outcome.BROKEN
    assert report.error is not None
    assert report.error.code == "UNEXPECTED"
    assert not world.table.rows
    assert world.pipeline().run(until_end=True).totals.written == 75


class Hanging(MemorySink):
    """A sink whose commits hang until they are let go."""

    def __init__(self, table: MemoryTable) -> None:
        super().__init__(table)
        self.release = threading.Event()

    def commit(self, staged: Sequence[Staged]) -> Receipt:
        """Wait, then land."""
        self.release.wait(60)
        return super().commit(staged)


class Failing(MemorySink):
    """A sink that is out of order."""

    def commit(self, staged: Sequence[Staged]) -> Receipt:
        """Refuse, as a store that is down does."""
        raise Unavailable("SINK_DOWN", "the store is down")


def test_p11_a_flush_that_hangs_is_given_up_after_the_deadline(capsys: pytest.CaptureFixture[str]) -> None:
    """A stop while the store hangs ends within the deadline, says how much did not land, and loses nothing."""
    world = World(50)
    sink = Hanging(world.table)
    pipeline = world.pipeline(sink=sink, engine={"shutdown_seconds": 0.2}, batch={"rows": 50})
    report = pipeline.run(observer=stopped_after(pipeline, 50))
    assert (report.outcome, report.abandoned, exits.of_report(report)) == (Outcome.STOPPED, 50, exits.HALTED)
    Screen(as_json=False).show_report(report)
    assert "SHUTDOWN_PARTIAL: 50 records" in capsys.readouterr().err
    again = world.pipeline().run(until_end=True)
    assert (again.totals.written, len(world.table.rows)) == (50, 50)
    # The commit that hung comes to life when it is too late: the fence refuses it.
    sink.release.set()
    wait_until(lambda: not any(thread.name.startswith("landfast-commit") for thread in threading.enumerate()), 30)
    assert len(world.table.rows) == 50


def test_a_flush_that_fails_leaves_all_for_the_next_start() -> None:
    """When retries are over the lanes halt with everything intact, the source is closed, and the next start lands the 50."""
    world = World(50)
    retry = {"attempts": 3, "first_wait_seconds": 0.001, "wait_seconds_max": 0.002}
    report = world.pipeline(sink=Failing(world.table), engine={"retry": retry}).run(until_end=True)
    assert report.outcome is Outcome.HALTED
    assert {halt.code for halt in report.halts.values()} == {"SINK_DOWN"}
    assert exits.of_report(report) == exits.HALTED
    assert world.pipeline().run(until_end=True).totals.written == 50


def test_the_observer_hears_of_the_run() -> None:
    """An observer of one's own hears what happens, from the start on."""
    observer = RecordingObserver()
    report = World(3).pipeline().run(until_end=True, observer=observer)
    assert [event.run_id for event in observer.of(RunStarted)] == [report.run.id]


SETTINGS: dict[str, Any] = {
    "source": {"servers": "h:1", "topics": ["t"]},
    "decoder": {"columns": {"a": "string"}},
    "sink": {"path": "lake/t"},
}


def test_settings_are_checked_when_the_pipeline_is_made() -> None:
    """Wrong settings are refused by the constructor, all at once, before anything is connected."""
    with pytest.raises(Misconfigured, match=r"3 faults") as caught:
        Pipeline(**{**SETTINGS, "sink": {"pth": "x"}, "batch": {"rows": 0}})
    assert "did you mean path?" in caught.value.message
    Pipeline(**SETTINGS)
    Pipeline(**{**SETTINGS, "decoder": LineDecoder()})


def test_settings_and_objects_do_not_mix() -> None:
    """Half a pipeline of settings and half of objects is refused with the way out."""
    with pytest.raises(Misconfigured, match="some parts are settings"):
        Pipeline(**{**SETTINGS, "sink": MemorySink(MemoryTable())})
    with pytest.raises(Misconfigured, match=r"engine.shutdown_second: unknown key; did you mean shutdown_seconds"):
        World(1).pipeline(engine={"shutdown_second": 3})


def test_a_stop_while_the_brokers_are_waited_for_is_a_stop(tmp_path: Path) -> None:
    """Nobody answers and the service is stopped: the run ends at once, as a stop, with nothing done."""
    source = {"servers": "127.0.0.1:1", "topics": ["t"], "request_seconds_max": 0.2}
    pipeline = Pipeline(source=source, decoder={"format": "raw"}, sink={"path": str(tmp_path / "t")}, engine={"open_wait_seconds": 3600})

    class Stopper(RecordingObserver):
        def notice(self, event: Any) -> None:
            super().notice(event)
            if self.of(RetryScheduled):
                pipeline.stop()

    report = pipeline.run(observer=Stopper())
    assert (report.outcome, report.totals.read, exits.of_report(report)) == (Outcome.STOPPED, 0, exits.WELL)
    assert not list(tmp_path.iterdir())


def test_a_pipeline_comes_from_a_file(tmp_path: Path) -> None:
    """`Pipeline.from_file` refuses what the file gets wrong, and loads what is right."""
    file = tmp_path / "p.toml"
    file.write_text('name = "n"\n[source]\nservers = "h:1"\ntopics = ["t"]\n[sink]\n', encoding="utf-8")
    with pytest.raises(Misconfigured, match=r"sink\.path: is missing"):
        Pipeline.from_file(file)
    file.write_text('name = "n"\n[source]\nservers = "h:1"\ntopics = ["t"]\n[sink]\npath = "x"\n', encoding="utf-8")
    assert isinstance(Pipeline.from_file(str(file)), Pipeline)


def test_every_public_name_is_there_and_no_other() -> None:
    """What is offered can be imported; which names these are is pinned among the house rules."""
    assert all(getattr(landfast, name) is not None for name in landfast.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Pipelin'"):
        _ = landfast.Pipelin
