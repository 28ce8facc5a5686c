"""How a program embeds Landfast, as types: checked by mypy, never run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_type

from landfast import Outcome, Pipeline, RunReport, Settings, Stream, Totals, stop_on_signals
from landfast.events import BatchLanded, Event
from landfast.model import Chunk, Decoded
from landfast.ports import Decoder, Observer


def land_a_file() -> int:
    """The shortest program: a settings file, to the end."""
    report = Pipeline.from_file("pipeline.toml").run(until_end=True)
    assert_type(report, RunReport)
    assert_type(report.totals, Totals)
    assert_type(report.streams, Mapping[Stream, Totals])
    assert_type(report.outcome, Outcome)
    return report.totals.written


def land_until_a_signal() -> RunReport:
    """Stops gracefully on SIGTERM and Ctrl-C."""
    pipeline = Pipeline.from_file("pipeline.toml")
    with stop_on_signals(pipeline.stop):
        return pipeline.run()


def land_with_sections() -> RunReport:
    """The same settings as mappings, with the keys of the sections of a file."""
    pipeline = Pipeline(
        source={"servers": "127.0.0.1:9092", "topics": ["sensors"]},
        decoder={"columns": {"event_id": "string not null", "voltage": "float64"}},
        sink={"path": "lake/sensors"},
        batch={"seconds": 1.0},
    )
    return pipeline.run(until_end=True, observer=Landings())


class Landings:
    """An observer is any object with this one method."""

    def __init__(self) -> None:
        self.rows = 0

    def notice(self, event: Event) -> None:
        """Count what lands."""
        if isinstance(event, BatchLanded):
            self.rows += event.receipt.rows


class Refusing:
    """A decoder is any object with this one method."""

    def __init__(self, inner: Decoder) -> None:
        self._inner = inner

    def decode(self, chunk: Chunk) -> Decoded:
        """Whatever the inner one says."""
        return self._inner.decode(chunk)


def own_parts(inner: Decoder) -> tuple[Observer, Decoder]:
    """Own parts satisfy the ports by their shape, without a base class."""
    return Landings(), Refusing(inner)


def land_loaded_settings(settings: Settings, inner: Decoder) -> Outcome:
    """Settings that were loaded already, with an observer of one's own."""
    observer, _ = own_parts(inner)
    return Pipeline.from_settings(settings).run(observer=observer).outcome
