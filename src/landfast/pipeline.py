"""A pipeline, in Python: the same that `landfast run` runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from landfast import wiring
from landfast.config import BatchSettings, DeadLetterSettings, EngineSettings, RouteRetrySettings, Settings, from_mapping, load, section
from landfast.core.report import Outcome, RunReport
from landfast.core.route import Route, every_topic
from landfast.core.runner import Runner
from landfast.errors import Misconfigured, Unavailable
from landfast.model import Run
from landfast.ports import Clock, DeadLetters, Decoder, Extent, Observer, Sink, Source
from landfast.system import SystemClock

__all__ = ["Pipeline", "RunReport"]

_NEXT_STEP = "Give source, sink and dead_letters all as settings, or all as objects; beside settings the decoder may be either."


class ReadableSource(Source, Extent, Protocol):
    """A source that also knows what its log still has, as every source of Landfast does."""


class Pipeline:
    """One source, one decoder, one sink, and what bounds them. One made of settings may run again, after its run before has ended.

    After `stop`, each further run ends at once.

    `source`, `decoder`, `sink` and `dead_letters` are mappings with the keys of the sections of a settings file, or objects that keep
    the contracts of `landfast.ports`; relative paths are relative to the current folder. Nothing is connected before `run`.

    Raises:
        Misconfigured: every fault of the settings at once.
    """

    def __init__(
        self,
        *,
        source: ReadableSource | Mapping[str, Any],
        decoder: Decoder | Mapping[str, Any],
        sink: Sink | Mapping[str, Any],
        dead_letters: DeadLetters | Mapping[str, Any] | None = None,
        name: str = "pipeline",
        batch: Mapping[str, Any] | None = None,
        engine: Mapping[str, Any] | None = None,
        retry: Mapping[str, Any] | None = None,
    ) -> None:
        letters = {} if dead_letters is None else dead_letters
        if isinstance(source, Mapping) and isinstance(sink, Mapping) and isinstance(letters, Mapping):
            bounded = {"batch": batch or {}, "engine": engine or {}, "retry": retry or {}}
            body = {"name": name, "source": source, "sink": sink, "dead_letters": letters, **bounded}
            if isinstance(decoder, Mapping):
                self._prepare(_FromSettings(from_mapping({**body, "decode": decoder})))
            else:
                self._prepare(_FromSettings(from_mapping(body), {name: decoder}))
            return
        if isinstance(source, Mapping) or isinstance(decoder, Mapping) or isinstance(sink, Mapping) or isinstance(letters, Mapping):
            raise Misconfigured("CONFIG_INVALID", "some parts are settings and others are objects", next_step=_NEXT_STEP)
        bounds = section(EngineSettings, engine or {}, "engine")
        patience = section(RouteRetrySettings, retry or {}, "retry")
        if patience.later.delays_seconds:
            message = "retry.later: with parts that are objects, nothing is tried again later"
            raise Misconfigured("CONFIG_INVALID", message, next_step=_NEXT_STEP)
        limits = wiring.flow_limits(bounds, section(BatchSettings, batch or {}, "batch"), DeadLetterSettings(), patience)
        self._prepare(_FromObjects(name, source, Route(name, every_topic, decoder, sink, letters, limits), bounds))

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """The pipeline of a settings file, with `LANDFAST_…` variables laid over it.

        Raises:
            Misconfigured: every fault of the file at once.
        """
        return cls.from_settings(load(path))

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The pipeline of settings that `landfast.config.load` or `landfast.config.from_mapping` has made."""
        pipeline = cls.__new__(cls)
        pipeline._prepare(_FromSettings(settings))  # noqa: SLF001 — a method of this very class
        return pipeline

    def _prepare(self, plan: _Plan) -> None:
        self._plan = plan
        self._stopping = False
        self._runner: Runner | None = None

    def run(self, *, until_end: bool = False, observer: Observer | None = None, clock: Clock | None = None) -> RunReport:
        """Run until stopped; with `until_end`, until all that the log held at the start has landed.

        What goes wrong once the run has begun is in the report: look at `outcome`, `halts` and `error`. A stop while brokers or store
        are still waited for is a stop like any other.

        Raises:
            Misconfigured: what the settings point to cannot be used. Nothing was read. (Of several routes those that can be used run; what
                was wrong with the others is in the report.)
            Unavailable: the store did not answer within `engine.open_wait_seconds`. Nothing was read.
        """
        site = wiring.Site(clock or SystemClock(), observer or wiring.Silence(), lambda: self._stopping)
        run = wiring.new_run(self._plan.name, self._plan.digest, site.clock)
        try:
            self._runner = self._plan.build(run, site)
        except Unavailable:
            if not self._stopping:
                raise
            return RunReport(run, Outcome.STOPPED, {}, {}, site.clock.now() - run.started_at)
        if self._stopping:
            self._runner.stop()
        return self._runner.run(until_end=until_end)

    def stop(self) -> None:
        """Ask for a graceful end: what is read lands, within the shutdown deadline. From any thread; only sets a flag."""
        self._stopping = True
        if self._runner is not None:
            self._runner.stop()


class _Plan(Protocol):
    @property
    def name(self) -> str:
        """The pipeline's name."""

    @property
    def digest(self) -> str:
        """The digest of its settings; empty where it has none."""

    def build(self, run: Run, site: wiring.Site) -> Runner:
        """Put the pipeline up."""


@dataclass(frozen=True, slots=True)
class _FromSettings:
    settings: Settings
    decoders: Mapping[str, Decoder] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def digest(self) -> str:
        return self.settings.digest()

    def build(self, run: Run, site: wiring.Site) -> Runner:
        return wiring.build(self.settings, run, site, self.decoders)


@dataclass(frozen=True, slots=True)
class _FromObjects:
    name: str
    source: ReadableSource
    route: Route
    engine: EngineSettings
    digest: str = ""

    def build(self, run: Run, site: wiring.Site) -> Runner:
        return wiring.assembled(self.source, self.source, [self.route], run, self.engine, site)
