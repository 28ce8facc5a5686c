"""Where the parts that tests start are kept, once they are there."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(part: str) -> Path:
    """The folder of a part in `LANDFAST_CACHE`; without it, in `.cache` of the project that this file belongs to, or of the user's home."""
    named = os.environ.get("LANDFAST_CACHE")
    if named:
        return Path(named) / part
    project = Path(__file__).resolve().parents[3]
    if (project / "pyproject.toml").is_file():
        return project / ".cache" / part
    return Path.home() / ".cache" / "landfast" / part
