"""What is installed is what the lock names, byte for byte."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from tests.house.tree import ROOT

LOCK: dict[str, Any] = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DIRECT_MAX = 12


def test_x14_every_file_of_every_dependency_is_locked_by_its_hash() -> None:
    """A file that was changed after it was locked, or another of the same name, is not installed."""
    packages = [package for package in LOCK["package"] if package["name"] != PROJECT["name"]]
    assert len(packages) > 20
    for package in packages:
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        assert files, package["name"]
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", file["hash"]) for file in files), package["name"]
        assert set(package["source"]) == {"registry"}, f"{package['name']} comes from elsewhere than a registry"


def test_x14_the_lock_alone_decides_what_is_installed() -> None:
    """The one command that installs refuses a lock that does not fit the project, and resolves nothing anew."""
    installing = re.findall(r"uv (?:sync|pip|add|lock)[^|&\n]*", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert installing
    assert all("--locked" in command for command in installing)


def test_x14_few_others_are_trusted() -> None:
    """Each direct dependency is one more that can be taken over."""
    assert len(PROJECT["dependencies"]) <= DIRECT_MAX
