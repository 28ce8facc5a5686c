"""What the project shares speaks of the project alone: no machine, no secret, no broken link, no command that is not there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.house.tree import ROOT, markdown_files, relative, shared_files

MACHINE_PATHS = re.compile(r"(?<![\w.$}/-])/(?:work|root|home|Users|tmp/[a-z0-9])\b(?!\.)")
SECRETS = re.compile(r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY-----|gh[pousr]_[A-Za-z0-9]{36}|xox[baprs]-[A-Za-z0-9-]{10,}")
# This file states the patterns, and tests of masking and of paths need texts to mask and to refuse.
EXEMPT = ("tests/house/test_shared_files.py",)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
MAKE_CALL = re.compile(r"^make ([a-z]+)\b", re.MULTILINE)
TEXT_BYTES_MAX = 2_000_000


def _texts() -> list[tuple[str, str]]:
    small = (path for path in shared_files() if relative(path) not in EXEMPT and path.stat().st_size <= TEXT_BYTES_MAX)
    return [(relative(path), path.read_text(encoding="utf-8", errors="replace")) for path in small]


def test_no_file_names_a_path_of_one_machine() -> None:
    """A path that exists on one machine only is a defect everywhere else."""
    found = [
        f"{name}:{number}" for name, text in _texts() for number, line in enumerate(text.splitlines(), 1) if MACHINE_PATHS.search(line)
    ]
    assert not found


def test_no_file_holds_a_secret() -> None:
    """Keys and tokens have shapes; none of them is here."""
    assert not [name for name, text in _texts() if SECRETS.search(text)]


def test_every_text_file_ends_with_one_line_end() -> None:
    """Otherwise the next line added changes two."""
    texts = [(name, text) for name, text in _texts() if Path(name).suffix in {".py", ".md", ".toml", ".yml", ""} and "corpus/" not in name]
    assert not [name for name, text in texts if text and (not text.endswith("\n") or text.endswith("\n\n"))]


@pytest.mark.parametrize("page", markdown_files(), ids=relative)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    """Links inside the project resolve, headings included."""
    broken: list[str] = []
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, heading = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        if not linked.exists() or (heading and heading not in _anchors(linked)):
            broken.append(target)
    assert not broken


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_make_command_of_a_page_exists() -> None:
    """A reader types what the page says."""
    for page in markdown_files():
        text = page.read_text(encoding="utf-8")
        shell = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        named = set(MAKE_CALL.findall("\n".join(shell))) | set(re.findall(r"`make ([a-z]+)[^`]*`", text))
        assert named <= _targets(), f"{relative(page)}: {named - _targets()}"


def test_every_make_target_is_phony_and_explained() -> None:
    """`make` alone lists them all; a file of the same name hides none."""
    text = (ROOT / "Makefile").read_text()
    phony = set(re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)[0].split())
    explained = set(re.findall(r"^([a-z]+):.*## \S", text, re.MULTILINE))
    assert _targets() == phony == explained


def test_ci_runs_the_test_command_of_the_readme() -> None:
    """What passes in CI is what a reader can run."""
    assert re.search(r"^make test\b", (ROOT / "README.md").read_text(), re.MULTILINE)
    calls = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line.startswith("make ")]
    assert calls == ["make test"]


def test_every_example_is_listed_and_says_what_it_shows() -> None:
    """An example that no page leads to helps nobody."""
    examples = {
        path.relative_to(ROOT / "examples").parts[0]
        for path in shared_files()
        if path.is_relative_to(ROOT / "examples") and path.name != "README.md"
    }
    listing = "\n".join(page.read_text() for page in markdown_files())
    assert not [name for name in examples if f"examples/{name}" not in listing]
    assert not [name for name in examples if (ROOT / "examples" / name).is_dir() and not (ROOT / "examples" / name / "README.md").is_file()]


def test_the_version_is_the_newest_of_the_changelog() -> None:
    """A release says what it brings."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    heads = re.findall(r"^## \[?([^\]\s]+)\]?", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert version in heads[:2]


def test_the_invariants_name_modules_and_tests_that_exist() -> None:
    """Seven invariants, each with its owner and its proof."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    rows = re.findall(r"^\| \*\*.*?\*\*.*\| (.*?) \| `(tests/\S+)::(\w+)` \|$", text.partition("## The life")[0], re.MULTILINE)
    assert len(rows) == 7
    owners = [owner for row in rows for owner in re.findall(r"`([^`]+)`", row[0])]
    assert not [owner for owner in owners if not (ROOT / "src" / "landfast" / owner).is_file()]
    proofs = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert not [f"{path}::{name}" for path, name in proofs if f"def {name}(" not in (ROOT / path).read_text()]
