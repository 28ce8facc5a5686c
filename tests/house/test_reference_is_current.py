"""The reference is made from the code: what a user reads is what the program does."""

from __future__ import annotations

import pytest

from docs import generate
from landfast.codes import CODES
from landfast.config import Settings
from landfast.observe.metrics import METRICS
from tests.simulated.plants import FIRST_SEEDS, PLANTS

PAGES = (
    "codes.md",
    "commands.md",
    "errors.md",
    "events.md",
    "exit-codes.md",
    "faults.md",
    "metrics.md",
    "museum.md",
    "planted-bugs.md",
    "reasons.md",
    "security.md",
    "settings.md",
)
WRITTEN = ("proof.md", "situations.md", "torture.json", "torture-volume.json")
"""What was run and what it found, and what was promised: no code knows it."""


def test_the_reference_has_exactly_these_pages() -> None:
    """A page that no longer comes from the code goes."""
    assert sorted(generate.pages()) == sorted(PAGES)
    assert sorted(path.name for path in generate.FOLDER.iterdir()) == sorted((*PAGES, *WRITTEN))


@pytest.mark.parametrize("name", PAGES)
def test_the_page_says_what_the_code_says(name: str) -> None:
    """`make docs` was run after the last change."""
    assert (generate.FOLDER / name).read_text(encoding="utf-8") == generate.pages()[name], "run `make docs`"


def test_every_code_event_and_metric_has_its_place() -> None:
    """Nothing falls out of the generator."""
    pages = generate.pages()
    assert not [code for code in CODES if f"\n## {code}\n" not in pages["codes.md"]]
    assert not [kind.__name__ for kind in generate.event_kinds() if f"\n## {kind.__name__}\n" not in pages["events.md"]]
    assert not [metric.name for metric in METRICS if f"`{metric.name}`" not in pages["metrics.md"]]


def test_every_setting_has_its_place() -> None:
    """Every key of every section stands in the settings page."""
    page = generate.pages()["settings.md"]
    for section, field in Settings.model_fields.items():
        keys = getattr(field.annotation, "model_fields", {})
        assert section in page
        assert not [key for key in keys if f"{key}`" not in page and f".{key}]" not in page], section


def test_every_planted_bug_has_its_place() -> None:
    """The table names the bugs that the tests plant, all of them, with their sentences."""
    assert dict(generate.planted_bugs()) == {plant.name: plant.sentence for plant in PLANTS}
    assert FIRST_SEEDS.keys() == {plant.name for plant in PLANTS}


def test_every_command_has_its_place_and_help() -> None:
    """The commands are a contract: these, each with its help."""
    letters = {f"dead-letters {name}" for name in ("discard", "edit", "export", "list", "replay", "show")}
    names = {"check", "demo", "explain", "init", "run", "runs", "status", "torture", "verify"} | letters
    page = generate.pages()["commands.md"]
    documented = {line.removeprefix("## landfast ") for line in page.splitlines() if line.startswith("## landfast ")}
    assert documented == names
    sections = page.split("\n## ")[1:]
    assert not [section.splitlines()[0] for section in sections if not section.partition("\n")[2].strip()]
