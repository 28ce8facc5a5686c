"""What the source may not do, so that time, environment and output each come through one door."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.tree import PYTHON_FOLDERS, dotted, parsed, python_files, relative

# Where each thing is at home. A folder ends with a slash.
CLOCK = ("src/landfast/system.py", "src/landfast/testing/")
# The entry of the command line hushes a driver, which takes its orders from nowhere else and before it is loaded.
ENVIRONMENT = ("src/landfast/config/", "src/landfast/config.py", "src/landfast/testing/", "src/landfast/cli/app.py")
OUTPUT = ("src/landfast/cli/", "src/landfast/testing/")
BROAD_EXCEPT = ("src/landfast/cli/", "src/landfast/core/runner.py")

CLOCK_CALLS = {"time.time", "time.time_ns", "time.sleep", "time.monotonic", "time.monotonic_ns", "time.perf_counter"}
CLOCK_CALLS |= {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "datetime.datetime.now", "datetime.date.today"}


def _at_home(path: Path, homes: tuple[str, ...]) -> bool:
    return relative(path).startswith(homes)


def _abroad(homes: tuple[str, ...]) -> Iterator[tuple[Path, ast.AST]]:
    for path in python_files("src"):
        if not _at_home(path, homes):
            for node in ast.walk(parsed(path)):
                yield path, node


def _place(path: Path, node: ast.AST) -> str:
    return f"{relative(path)}:{getattr(node, 'lineno', 0)}"


def test_only_the_system_clock_reads_time() -> None:
    """Time comes in through the Clock port, so that a test can own it."""
    found = [_place(path, node) for path, node in _abroad(CLOCK) if isinstance(node, ast.Attribute) and dotted(node) in CLOCK_CALLS]
    found += [_place(path, node) for path, node in _abroad(CLOCK) if isinstance(node, ast.ImportFrom) and node.module == "time"]
    assert not found


def test_only_the_settings_read_the_environment() -> None:
    """What the environment changes is a setting, documented like every other."""
    names = {"os.environ", "os.getenv", "os.environb", "os.putenv"}
    found = [_place(path, node) for path, node in _abroad(ENVIRONMENT) if isinstance(node, ast.Attribute) and dotted(node) in names]
    assert not found


def test_only_the_command_line_prints() -> None:
    """Everything else tells an Observer, which decides how it is shown."""
    calls = [(path, node) for path, node in _abroad(OUTPUT) if isinstance(node, ast.Call)]
    assert not [_place(path, node) for path, node in calls if dotted(node.func) in {"print", "sys.stdout.write", "sys.stderr.write"}]


def test_the_source_checks_with_check_and_never_with_assert() -> None:
    """An assert vanishes under `python -O`; `errors.check` does not."""
    found = [_place(path, node) for path, node in _abroad(("src/landfast/testing/",)) if isinstance(node, ast.Assert)]
    assert not found


def test_no_except_is_bare_and_a_broad_one_says_why() -> None:
    """Errors always propagate. Broad handlers stand at the mapping edge of an adapter, the top of the runner and the command line."""
    for path in python_files("src"):
        lines = path.read_text().splitlines()
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, f"bare except at {_place(path, node)}"
                broad = dotted(node.type) in {"Exception", "BaseException"}
                argued = "noqa: BLE001 —" in lines[node.lineno - 1] or _raises_again(node) or _at_home(path, BROAD_EXCEPT)
                assert not broad or argued, f"broad except without a reason at {_place(path, node)}"


def _raises_again(handler: ast.ExceptHandler) -> bool:
    return isinstance(handler.body[-1], ast.Raise)


@pytest.mark.parametrize("path", python_files(*PYTHON_FOLDERS), ids=relative)
def test_nothing_is_mocked(path: Path) -> None:
    """Fakes, not mocks: a fake passes the same suite as the real thing, a mock restates the code."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            assert not [alias.name for alias in node.names if alias.name.startswith(("unittest.mock", "mock", "pytest_mock"))]
        if isinstance(node, ast.ImportFrom):
            assert not (node.module or "").startswith(("unittest.mock", "pytest_mock"))
            assert not (node.module == "unittest" and [alias for alias in node.names if alias.name == "mock"])


@pytest.mark.parametrize("path", python_files("tests"), ids=relative)
def test_no_test_sleeps(path: Path) -> None:
    """A test waits for a condition with a deadline (`landfast.testing`); a sleep is a guess about the machine."""
    found = [node.lineno for node in ast.walk(parsed(path)) if isinstance(node, ast.Call) and dotted(node.func) in {"time.sleep", "sleep"}]
    assert not found
