"""What a page shows can be typed, loaded and looked up."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs import generate
from landfast.codes import CODES
from landfast.config import from_mapping
from tests.house.tree import ROOT, markdown_files, relative

FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)`")
NOT_OURS = ("LANDFAST_", "AWS_")


def _fences(kind: str) -> Iterator[tuple[Path, str]]:
    for page in markdown_files():
        for language, text in FENCE.findall(page.read_text(encoding="utf-8")):
            if language == kind:
                yield page, text


def _commands() -> set[str]:
    return {line.removeprefix("## ") for line in generate.commands_page().splitlines() if line.startswith("## landfast ")}


def test_every_settings_example_is_accepted() -> None:
    """A reader may copy any of them."""
    found = list(_fences("toml"))
    assert found
    for page, text in found:
        from_mapping(tomllib.loads(text), folder=page.parent)


def test_every_command_of_a_page_exists() -> None:
    """Whatever follows `landfast` on a page is a command, or an option of the program itself."""
    commands = _commands()
    groups = {command.rsplit(" ", 1)[0] for command in commands}
    for page in markdown_files():
        text = page.read_text(encoding="utf-8")
        shell = "\n".join(body for language, body in FENCE.findall(text) if language in {"sh", "bash", "console"})
        quoted = "\n".join(re.findall(r"`(landfast [^`]+)`", text))
        for words in re.findall(
            r"^(?:\$ )?(?:\.venv/bin/)?landfast ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", shell + "\n" + quoted, re.MULTILINE
        ):
            named = {f"landfast {words[0]}", f"landfast {words[0]} {words[1]}"}
            assert named & (commands | groups), f"{relative(page)}: landfast {' '.join(words)}"


def test_every_code_of_a_page_is_explained() -> None:
    """A code in prose can be looked up."""
    for page in markdown_files():
        named = {code for code in CODE.findall(page.read_text(encoding="utf-8")) if not code.startswith(NOT_OURS)}
        assert named <= set(CODES), f"{relative(page)}: {named - set(CODES)}"


def test_every_python_example_parses() -> None:
    """The examples are also checked as types, in `tests/typing`."""
    for page, text in _fences("python"):
        ast.parse(text, filename=relative(page))


@pytest.mark.parametrize("page", markdown_files(), ids=relative)
def test_every_metric_of_a_page_exists(page: Path) -> None:
    """A dashboard that is built from a page shows something."""
    known = generate.metrics_page()
    named = set(re.findall(r"`(landfast_[a-z_]+)`", page.read_text(encoding="utf-8")))
    assert not {name for name in named if f"`{name}`" not in known}


def test_the_readme_is_where_a_reader_starts() -> None:
    """It leads to the documentation and to the design."""
    text = (ROOT / "README.md").read_text()
    assert "(docs/README.md)" in text
    assert "(ARCHITECTURE.md)" in text


def test_every_test_of_a_page_exists() -> None:
    """A page that names a test as its proof can be held to it."""
    for page in markdown_files():
        for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text(encoding="utf-8")):
            assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{relative(page)}: {file}::{name}"
