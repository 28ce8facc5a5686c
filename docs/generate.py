"""Writes `docs/reference/` from the code: settings, codes, reasons, events, metrics, commands, exit codes, faults. `make docs` runs it.

`pages` is pure, so that a house test can compare what stands in the folder with what the code says today.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import json
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer.main

from landfast import errors, events
from landfast.cli.app import app
from landfast.cli.exits import EXITS
from landfast.codes import CODES
from landfast.config import reference as settings_reference
from landfast.decode.json_rules import REASONS
from landfast.decode.tombstones import REASONS as TOMBSTONE_REASONS
from landfast.error_table import table as error_table
from landfast.observe.metrics import METRICS

FOLDER = Path(__file__).resolve().parent / "reference"
GENERATED = "This page is generated from the code."

# The fault catalogue: its sections by the letter of their ids, each with its number of scenarios.
FAULTS = Path(__file__).resolve().parent / "faults.toml"
FAULT_SECTIONS = {
    "P": ("Process", 19),
    "B": ("Broker", 18),
    "R": ("Rebalance and ownership", 13),
    "N": ("Network", 10),
    "S": ("Storage", 28),
    "D": ("Data", 20),
    "C": ("Clock", 8),
    "G": ("Order and dependencies", 10),
    "O": ("Outbox", 10),
    "U": ("Operators", 14),
    "F": ("Disk, memory and other limits", 10),
    "V": ("Versions", 8),
    "X": ("Security", 14),
}
PLANTED = Path(__file__).resolve().parents[1] / "tests" / "simulated"
# Bugs of others, by number, and what is done for security, by area.
MUSEUM = Path(__file__).resolve().parent / "museum.toml"
SECURITY = Path(__file__).resolve().parent / "security.toml"
TESTS = Path(__file__).resolve().parents[1] / "tests"
CLAIM = re.compile(r"^ *def (test_((?:[a-z][0-9]+_)+)\w+)\(", re.MULTILINE)


def pages() -> dict[str, str]:
    """Every page of the reference by file name."""
    return {
        "codes.md": codes_page(),
        "commands.md": commands_page(),
        "errors.md": errors_page(),
        "events.md": events_page(),
        "exit-codes.md": exits_page(),
        "faults.md": faults_page(),
        "metrics.md": metrics_page(),
        "museum.md": museum_page(),
        "planted-bugs.md": planted_page(),
        "reasons.md": reasons_page(),
        "security.md": security_page(),
        "settings.md": settings_reference(),
    }


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    names = list(heads)
    lines = [names, ["---"] * len(names), *([_cell(text) for text in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def codes_page() -> str:
    """What each code means, what is safe, what to do."""
    parts = [f"# Codes\n\nEvery code an operator can meet. `landfast explain CODE` prints the same. {GENERATED}\n"]
    parts += [
        f"\n## {name}\n\n{code.meaning}\n\n- **What is safe.** {code.safe}\n- **What to do.** {code.next_step}\n"
        for name, code in CODES.items()
    ]
    return "".join(parts)


def errors_page() -> str:
    """What every exception of every driver means."""
    head = (
        "# Errors\n\nWhat every exception and every error code of every driver means: its class, the code under which an operator meets "
        "it, and what becomes of it. Of deltalake and obstore the text decides first, by the first of the patterns below; then "
        "the number of the system's error; then the exception's class. `landfast explain --errors` prints the same, and "
        "`landfast.classify` answers for one exception. [Errors and retries](../concepts/errors.md) tells what follows. "
        f"{GENERATED}\n"
    )
    parts = [head]
    for driver, group in itertools.groupby(error_table(), key=lambda one: one.driver):
        rows = ((f"`{one.name}`", one.error_class, f"`{one.code}`" if one.code else "", one.reason, one.then) for one in group)
        parts.append(f"\n## {driver}\n\n" + table(["error", "class", "code", "meaning", "then"], rows))
    return "".join(parts)


def events_page() -> str:
    """What an observer hears, event by event, field by field."""
    head = (
        "# Events\n\nWhat an `Observer` hears, as frozen values of `landfast.events`. Logs, metrics and progress are made from these and "
        f"from nothing else. Every event carries `flow`, the route it belongs to (empty where it concerns the whole run). {GENERATED}\n"
    )
    return head + "".join(_event(kind) for kind in event_kinds())


def event_kinds() -> list[type[events.Event]]:
    """Every event, sorted by name. A slotted dataclass has a twin among the subclasses, so the module is asked."""
    found = (item for item in vars(events).values() if isinstance(item, type) and issubclass(item, events.Event))
    return sorted((kind for kind in found if kind is not events.Event), key=lambda kind: kind.__name__)


def _event(kind: type[events.Event]) -> str:
    fields = [(f"`{field.name}`", f"`{field.type}`") for field in dataclasses.fields(kind) if field.name != "flow"]
    listed = "\n" + table(["field", "type"], fields) if fields else ""
    return f"\n## {kind.__name__}\n\n{inspect.getdoc(kind)}\n{listed}"


def metrics_page() -> str:
    """What `--metrics PORT` exports."""
    head = f"# Metrics\n\nWhat `landfast run --metrics PORT` exports at `/metrics`, for Prometheus. {GENERATED}\n\n"
    rows = ([f"`{item.name}`", item.kind, item.unit, ", ".join(f"`{label}`" for label in item.labels), item.meaning] for item in METRICS)
    return head + table(["metric", "kind", "unit", "labels", "meaning"], rows)


def reasons_page() -> str:
    """Why a decoder refuses a record, or skips it."""
    head = (
        "# Reasons\n\nWhy a record that cannot be decoded becomes a dead letter. What each type takes stands in "
        f"[types](../concepts/types.md). {GENERATED}\n\n"
    )
    return head + table(
        ["reason", "meaning"], ((f"`{name}`", meaning) for name, meaning in sorted({**REASONS, **TOMBSTONE_REASONS}.items()))
    )


def exits_page() -> str:
    """How a command ends, and which error leads there."""
    tree = inspect.cleandoc(errors.__doc__ or "")
    return (
        f"# Exit codes\n\nHow every command ends. {GENERATED}\n\n"
        + table(["exit code", "meaning"], ([str(number), meaning] for number, meaning in EXITS.items()))
        + f"\n## The errors behind them\n\n```text\n{tree}\n```\n"
    )


def fault_tests() -> dict[str, list[str]]:
    """The tests of each scenario: `test_p1_p2_...` proves P1 and P2."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for name, ids in CLAIM.findall(path.read_text(encoding="utf-8")):
            for claimed in ids.upper().rstrip("_").split("_"):
                found[claimed].append(f"{path.relative_to(TESTS.parent).as_posix()}::{name}")
    return found


def faults_page() -> str:
    """Every scenario of the fault catalogue with the test that proves it, or why there is none."""
    scenarios: dict[str, dict[str, str]] = tomllib.loads(FAULTS.read_text(encoding="utf-8"))
    tests = fault_tests()
    head = (
        "# Faults\n\nWhat befalls a pipeline, what must come of it, what the operator sees, and the test that proves it. In every scenario "
        "no record is lost and none is doubled; the outcome says what else must hold. A scenario without a test says so. "
        f"{GENERATED}\n"
    )
    counts: list[tuple[str, str, str]] = []
    parts: list[str] = []
    for letter, (title, number) in FAULT_SECTIONS.items():
        ids = [f"{letter}{index}" for index in range(1, number + 1)]
        rows = (_scenario(item, scenarios[item], tests.get(item, [])) for item in ids)
        parts.append(f"\n## {title}\n\n" + table(["id", "fault", "outcome", "the operator sees", "test"], rows))
        counts.append((title, str(sum(item in tests for item in ids)), str(number)))
    whole = ("**all**", *(str(sum(int(row[column]) for row in counts)) for column in (1, 2)))
    return head + "".join(parts) + "\n## How many\n\n" + table(["section", "with a test", "scenarios"], [*counts, whole])


def _scenario(name: str, row: Mapping[str, str], tests: list[str]) -> list[str]:
    proof = ", ".join(f"`{test}`" for test in tests) or f"*untested*: {row['untested']}"
    remark = f" {row['remark']}" if "remark" in row else ""
    return [name, row["fault"], row["outcome"] + remark, row["sees"], proof]


def planted_bugs() -> list[tuple[str, str]]:
    """Every bug planted in the simulated world: its name, and the sentence that says what is wrong."""
    functions = (node for path in sorted(PLANTED.glob("planted_in_*.py")) for node in ast.parse(path.read_text(encoding="utf-8")).body)
    return [
        (node.name, inspect.cleandoc(ast.get_docstring(node) or ""))
        for node in functions
        if isinstance(node, ast.FunctionDef) and any(isinstance(each, ast.Name) and each.id == "plant" for each in node.decorator_list)
    ]


def planted_page() -> str:
    """Every planted bug with the seed of a schedule that finds it."""
    seeds: dict[str, int] = json.loads((PLANTED / "first_seeds.json").read_text(encoding="utf-8"))
    bugs = planted_bugs()
    head = (
        f"# Planted bugs\n\n{len(bugs)} known bugs, each planted alone in the engine or in a port, and the seed of a schedule of "
        "the [simulated world](../concepts/simulation.md) that finds it. A bug that neither it finds nor 10,000 others fails the tests; "
        f"`python -m tests.simulated` looks for the seeds again. The seeds of bugs in `planted_in_later.py`, about letters that are tried "
        f"again, are of the family `later`. {GENERATED}\n\n"
    )
    return head + table(["bug", "what is wrong", "seed"], ([name.replace("_", " "), text, str(seeds[name])] for name, text in bugs))


def test_places() -> dict[str, str]:
    """Every test by its name, with the file that it stands in. Of two that share a name the last counts."""
    return {
        name: f"{path.relative_to(TESTS.parent).as_posix()}::{name}"
        for path in sorted(TESTS.rglob("test_*.py"))
        for name in re.findall(r"^ *def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    }


def museum_tests() -> dict[str, list[str]]:
    """The tests of others' bugs by number, with their files: first those with the number in their name, then those marked with it."""
    named, marked = defaultdict(list), defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if "museum" in text else ():
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                place = f"{path.relative_to(TESTS.parent).as_posix()}::{node.name}"
                for number in re.findall(r"^test_museum_(\d+)_", node.name):
                    named[number].append(place)
                for number in _museum_marks(node):
                    marked[f"{number:02}"].append(place)
    return {number: named[number] + marked[number] for number in sorted({*named, *marked})}


def _museum_marks(test: ast.FunctionDef) -> list[int]:
    """What `@pytest.mark.museum(...)` says above a test."""
    calls = [one for one in test.decorator_list if isinstance(one, ast.Call) and ast.unparse(one.func) == "pytest.mark.museum"]
    return [ast.literal_eval(number) for call in calls for number in call.args]


def museum_page() -> str:
    """Every bug of others with its link, and the tests that show it absent here."""
    tests = museum_tests()
    head = (
        "# The museum\n\nBugs that other systems have had, in our own words, with the place where their story is told, and the tests that "
        "have their shape and show that it loses and doubles nothing here: a test has the number of its bug in its name, or is marked with "
        "it. They are no judgement on those systems: that they were told in the open is why they are known. `.venv/bin/pytest -k NAME` "
        f"runs one test. {GENERATED}\n\n"
    )
    rows = []
    for number, row in tomllib.loads(MUSEUM.read_text(encoding="utf-8")).items():
        links = ", ".join(f"[{index}]({link})" for index, link in enumerate(row["links"], start=1))
        remark = f" {row['remark']}" if "remark" in row else ""
        rows.append([number, f"{row['system']} {links}", row["shape"] + remark, _proofs(tests.get(number, []), row)])
    return head + table(["", "system", "what went wrong there", "shown absent by"], rows)


def security_page() -> str:
    """What is done for the security of a pipeline, area by area, with the tests."""
    places = test_places()
    head = (
        "# Security\n\nWhat is done, area by area, what is not, and the tests. The numbers are those of the checklist that they come from; "
        "areas of what does not exist yet, such as a dashboard, are left out. What is promised, and how to report a weakness, stands in "
        f"[SECURITY.md](../../SECURITY.md). `.venv/bin/pytest -k NAME` runs one test. {GENERATED}\n\n"
    )
    rows = (
        [number, row["area"], row["done"], row.get("figure", ""), _proofs([places[name] for name in row.get("tests", [])], row)]
        for number, row in tomllib.loads(SECURITY.read_text(encoding="utf-8")).items()
    )
    return head + table(["", "area", "what is done, and what is not", "figure", "tests"], rows)


def _proofs(places: Iterable[str], row: Mapping[str, Any]) -> str:
    return ", ".join(f"`{place}`" for place in places) or f"*untested*: {row['untested']}"


def commands_page() -> str:
    """Every command with its arguments and options."""
    root: Any = typer.main.get_command(app)
    head = f"# Commands\n\n{_first(root.help)} {GENERATED}\n"
    return head + "".join(_command(name, command) for name, command in commands(root.commands))


def commands(tree: Mapping[str, Any], prefix: str = "landfast") -> Iterator[tuple[str, Any]]:
    """Every command by its full name, groups resolved, sorted."""
    for name, command in sorted(tree.items()):
        full = f"{prefix} {name}"
        if hasattr(command, "commands"):
            yield from commands(command.commands, full)
        elif not command.hidden:
            yield full, command


def _command(name: str, command: Any) -> str:
    visible = [item for item in command.params if not getattr(item, "hidden", False) and item.name != "help"]
    body = f"\n## {name}\n\n{inspect.cleandoc(command.help or '')}\n"
    return body + ("\n" + table(["parameter", "meaning", "default"], map(_parameter, visible)) if visible else "")


def _parameter(item: Any) -> list[str]:
    value = f" {item.metavar}" if item.metavar else ""
    names = [name + value for name in (*item.opts, *item.secondary_opts)] if item.param_type_name == "option" else [value.strip()]
    without = item.default in (None, False, (), []) or callable(item.default)
    shown = "required" if item.required else "" if without else f"`{item.default}`"
    return [" ".join(f"`{name}`" for name in names), item.help or "", shown]


def _first(text: str | None) -> str:
    return inspect.cleandoc(text or "").split("\n\n")[0]


def main() -> None:
    """Write every page, and say which changed."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote docs/reference/{name}")


if __name__ == "__main__":
    main()
