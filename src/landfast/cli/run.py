"""`landfast run`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from landfast.cli import exits
from landfast.cli.screen import Screen

SettingsFile = Annotated[Path, typer.Argument(metavar="FILE", readable=False, help="The settings file of the pipeline.")]
AsJson = Annotated[bool, typer.Option("--json", help="Logs, errors and the report as JSON.")]


def run(
    file: SettingsFile,
    until_end: Annotated[bool, typer.Option("--until-end", help="Stop when all that the log holds now has landed.")] = False,
    as_json: AsJson = False,
    metrics: Annotated[int | None, typer.Option(metavar="PORT", min=0, max=65_535, help="Serve metrics, /health and /ready there.")] = None,
) -> None:
    """Land the topics in their tables, until stopped. The first Ctrl-C or SIGTERM lands what was read, the second exits at once."""
    from landfast import config, wiring
    from landfast.errors import LandfastError
    from landfast.events import StopAsked
    from landfast.observe.observation import Observation, ObserveSettings
    from landfast.pipeline import Pipeline
    from landfast.system import SystemClock, stop_on_signals

    settings = config.load(file)
    texts = wiring.secrets(settings)
    screen = Screen(as_json=as_json, secrets=texts)
    clock = SystemClock()
    port = settings.metrics.port if metrics is None else metrics
    shown = ObserveSettings(as_json=as_json, metrics_port=port, metrics_host=settings.metrics.host, secrets=texts)
    pipeline = Pipeline.from_settings(settings)
    observed: list[Observation] = []

    def stop() -> None:
        # Told first: afterwards the run may end before anybody hears of it.
        for one in observed:
            one.notice(StopAsked("", settings.engine.shutdown_seconds))
        pipeline.stop()

    with stop_on_signals(stop):
        observation = Observation(shown, clock, sys.stderr)
        observed.append(observation)
        try:
            report = pipeline.run(until_end=until_end, observer=observation, clock=clock)
        except LandfastError as error:
            observation.close()
            screen.show_error(error)
            raise typer.Exit(exits.of_error(error)) from None
        observation.close()
        screen.show_report(report, lambda topic: next((wiring.named(route) for route in settings.routes if route.takes(topic)), topic))
    raise typer.Exit(exits.of_report(report))
