"""`landfast init`: a settings file from a topic, with columns proposed from a sample of its records."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landfast.errors import Misconfigured

if TYPE_CHECKING:
    from landfast.decode.proposal import Proposal

_LEFT_OUT_MAX = 50


def init(
    servers: Annotated[str | None, typer.Option(help="Bootstrap servers, host:port, separated by commas.")] = None,
    topic: Annotated[str | None, typer.Option(help="The topic to land.")] = None,
    path: Annotated[str | None, typer.Option(help="The Delta table: a path, relative to the settings file, or a URI.")] = None,
    name: Annotated[str | None, typer.Option(help="The pipeline's name; the topic's if not given.")] = None,
    output: Annotated[Path, typer.Option(help="The file to write; an existing one is never overwritten.")] = Path("pipeline.toml"),
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="A librdkafka setting; secrets as KEY=env:NAME or KEY=file:PATH.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, max=100_000, help="How many records to look at.")] = 1000,
) -> None:
    """Sample a topic and write a commented settings file. Asks for what is not given; reads only, and joins no group."""
    from landfast import config, wiring
    from landfast.decode.proposal import survey
    from landfast.system import SystemClock

    _check_output(output)
    servers = servers or _asked("servers", "Bootstrap servers", "127.0.0.1:9092")
    topic = topic or _asked("topic", "Topic", None)
    name = name or re.sub(r"[^A-Za-z0-9._-]+", "-", topic).lstrip("._-") or "pipeline"
    path = path or _asked("path", "Delta table (path or URI)", f"lake/{topic}")
    options = _options(option or [])
    _check_path(path)
    body = {"name": name, "source": {"servers": servers, "topics": [topic], "options": options}, "sink": {"path": path}}
    settings = config.from_mapping(body, folder=output.resolve().parent, label="the answers")
    site = wiring.Site(SystemClock(), wiring.Silence())
    values = wiring.samples(settings, site, samples)
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(document(body, survey(values), len(values)))
    except OSError as error:
        raise _no_output(output, f"cannot be written ({error.strerror})") from error
    config.load(output, {})
    sys.stdout.write(f"Wrote {output} from {len(values):,} sampled records.\nLook it through, then: landfast check {output}\n")


def _check_output(output: Path) -> None:
    """Before anybody is asked anything: the file is not there yet, and its folder is."""
    if output.exists():
        raise _no_output(output, "is there already")
    if not output.absolute().parent.is_dir():
        raise _no_output(output, "has no folder to be in")
    if not os.access(output.absolute().parent, os.W_OK | os.X_OK):
        raise _no_output(output, "cannot be written: its folder refuses it")


def _no_output(output: Path, words: str) -> Misconfigured:
    return Misconfigured("CONFIG_INVALID", f"--output: {output} {words}", next_step="Name another file, or make room for this one.")


def _asked(flag: str, question: str, proposal: str | None) -> str:
    if not sys.stdin.isatty():
        raise Misconfigured("CONFIG_MISSING", f"--{flag} is missing, and there is nobody to ask", next_step=f"Give --{flag}.")
    return str(typer.prompt(question, default=proposal))


def _options(given: Sequence[str]) -> dict[str, str]:
    from landfast.config import Options

    options: dict[str, str] = {}
    for text in given:
        key, sign, value = text.partition("=")
        if not sign:
            raise Misconfigured("CONFIG_INVALID", "--option: must be KEY=VALUE", next_step="Write it as KEY=VALUE.")
        options[key.strip()] = value.strip()
    # What is hidden when it is shown has no place in a file that anybody may read and many will check in.
    hidden = [key for key, shown in Options(options).masked().items() if shown != options[key]]
    if hidden:
        message = f"--option: {', '.join(hidden)} would stand in the file in plain words"
        raise Misconfigured("CONFIG_INVALID", message, next_step="Give it as KEY=env:NAME or KEY=file:PATH.")
    return options


def _check_path(path: str) -> None:
    from landfast.config.options import mask_uri

    if mask_uri(path) != path:
        message = "--path: a user with a password, or a query, would stand in the file in plain words"
        raise Misconfigured(
            "CONFIG_INVALID", message, next_step="Give credentials in the environment, or in sink.storage_options by env:NAME."
        )


def document(body: Mapping[str, Any], found: Proposal, sampled: int) -> str:
    """The settings file: what was answered, what was proposed, and what may be worth changing as comments."""
    from landfast.decode.schema import to_columns

    source = body["source"]
    options = "".join(f"{_key(key)} = {quoted(value)}\n" for key, value in source["options"].items())
    columns = to_columns(found.schema)
    is_raw = sampled > 0 and not columns
    parts = [
        f"# {source['topics'][0]} → {printable(body['sink']['path'])}, exactly once. All settings: docs/reference/settings.md\n",
        f"name = {quoted(body['name'])}  # the consumer group is called after it: two tables need two names, or each gets only a part\n",
        "\n[source]\n",
        f"servers = {quoted(source['servers'])}\n",
        f"topics = [{quoted(source['topics'][0])}]\n",
        f"# group = {quoted('landfast-' + body['name'])}  # the default; it only shares out partitions\n",
        '# start = "earliest"  # earliest | latest | timestamp: only for streams the table has never seen\n',
        f"\n[source.options]  # librdkafka settings; secrets as env:NAME or file:PATH\n{options}" if options else "",
        "\n[decode]\n",
        f'format = "{"raw" if is_raw else "json"}"  # json | raw\n',
        "" if is_raw else 'unknown_fields = "rescue"  # rescue: kept in _rescued | dead: a dead letter | evolve: becomes a column\n',
        '# tombstones = "skip"  # skip | dead: records without a value\n',
        *_columns(columns, found, sampled),
        "\n[sink]\n",
        f"path = {quoted(body['sink']['path'])}\n",
        "# partition_by = []\n",
        '\n# [batch]\n# rows = 500000\n# bytes = "128 MiB"\n# seconds = 5.0  # bounds the latency\n',
        "\n# [dead_letters]\n# max_share = 0.05  # of the last 10,000 records: above it the lane halts\n# max_in_a_row = 1000\n",
    ]
    return "".join(parts)


def _columns(columns: Mapping[str, str], found: Proposal, sampled: int) -> list[str]:
    refused = ", ".join(f"{reason} {count:,}" for reason, count in sorted(found.refused.items()))
    aside = f"; {refused} could not be read and would be dead letters" if refused else ""
    if not columns:
        nothing = (
            "The topic is empty: no columns could be proposed." if not sampled else f"No JSON object among {sampled:,} records{aside}."
        )
        hint = "" if sampled else '# Fill in [decode.columns] before the first run, such as: id = "string not null"\n'
        return [f"# {nothing}\n{hint}"]
    lines = [f"\n[decode.columns]  # proposed from {found.read:,} sampled records{aside}\n"]
    lines += [f"{_key(name)} = {quoted(kind)}{_remark(*found.odd.get(name, (0, 0)))}\n" for name, kind in columns.items()]
    left = list(found.left_out.items())
    lines += [f"# left out: {printable(place)}: {reason}\n" for place, reason in left[:_LEFT_OUT_MAX]]
    lines += [f"# left out: {len(left) - _LEFT_OUT_MAX:,} more\n"] if len(left) > _LEFT_OUT_MAX else []
    return lines


def _remark(odd: int, seen: int) -> str:
    if not odd:
        return ""
    ending = "does not fit and would be a dead letter" if odd == 1 else "do not fit and would be dead letters"
    return f"  # {odd:,} of {seen:,} samples {ending}"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else quoted(name)


def quoted(text: str) -> str:
    """A TOML string."""
    return '"' + "".join(f"\\u{ord(char):04x}" if ord(char) < ord(" ") or char in '"\\\x7f' else char for char in text) + '"'


def printable(text: str) -> str:
    """A text that fits into a comment: one line, no control characters."""
    return "".join(char if char.isprintable() else "?" for char in text)
