"""A small real table with its settings file, for the commands that only look."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from landfast.cli.app import app
from tests.sinks.delta_proof import proved_table
from tests.sinks.delta_world import DeltaWorld, world_at

_SETTINGS = """
name = "numbers"
[source]
servers = "127.0.0.1:1"
topics = ["events"]
request_seconds_max = 0.2
[source.options]
"sasl.password" = "env:LOOK_PASSWORD"
[decode.columns]
number = "int64 not null"
text = "string"
[sink]
path = "table"
"""

PASSWORD = "canary-7f3a91"


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Its one line of JSON."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Table:
    """A table of 179 rows, two dead letters and two tombstones in two streams, and the settings of its pipeline."""

    world: DeltaWorld
    file: Path

    def ask(self, *arguments: object) -> Answer:
        """Run a command in this process."""
        return ask(*arguments)


def ask(*arguments: object) -> Answer:
    """Run a command in this process, with the password in its environment."""
    ended = CliRunner(env={"LOOK_PASSWORD": PASSWORD}).invoke(app, [str(argument) for argument in arguments])
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return Answer(ended.exit_code, ended.stdout, ended.stderr)


def settings_file(folder: Path) -> Path:
    """The settings of a pipeline whose broker does not answer."""
    file = folder / "pipeline.toml"
    file.write_text(_SETTINGS, encoding="utf-8")
    return file


def table_at(folder: Path) -> Table:
    """Make the table and its settings file."""
    world = world_at(folder)
    proved_table(world).close()
    return Table(world, settings_file(folder))
