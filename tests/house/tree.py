"""The project's own files as the house tests see them: listed once, parsed once."""

from __future__ import annotations

import ast
import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "landfast"
PYTHON_FOLDERS = ("src", "tests", "benchmarks", "docs", "examples")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def relative(path: Path) -> str:
    """The path as the tests name it: from the project's root, with slashes."""
    return path.relative_to(ROOT).as_posix()


@functools.cache
def python_files(*folders: str) -> tuple[Path, ...]:
    """Every Python file below these folders, sorted."""
    return tuple(sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")))


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of one file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@functools.cache
def shared_files() -> tuple[Path, ...]:
    """What the project shares with others: the tracked files, or in a copy without a history every file that is not made."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        names = listed.stdout.decode().rstrip("\0").split("\0")
        return tuple(path for name in names if (path := ROOT / name).is_file())
    made = {".venv", ".cache", ".git", "__pycache__"}
    return tuple(path for path in sorted(ROOT.rglob("*")) if path.is_file() and not made.intersection(path.relative_to(ROOT).parts))


def markdown_files() -> list[Path]:
    """Every page, from the README to the reference."""
    return [path for path in shared_files() if path.suffix == ".md"]


def named_functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """Every function and method with its qualified name."""
    yield from _functions_below(tree, "")


def _functions_below(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield prefix + child.name, child
            yield from _functions_below(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.ClassDef):
            yield from _functions_below(child, f"{prefix}{child.name}.")
        else:
            yield from _functions_below(child, prefix)


def classes(tree: ast.Module) -> Iterator[ast.ClassDef]:
    """Every class of a file."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def dotted(node: ast.expr) -> str:
    """`time.sleep` for that attribute of that name; empty where the expression is no plain chain of names."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""
