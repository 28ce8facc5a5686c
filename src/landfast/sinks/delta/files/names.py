"""What the files of a table are called: those of its log, those of ours, and those that are not to be seen."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping

LOG = "_delta_log"
ENTRY_NAME = re.compile(r"(\d{20})\.json")
LAST_CHECKPOINT = "_last_checkpoint"
"""The name of the hint in the log's folder."""

OWN_PREFIX = "_landfast"
"""What the names of all our files begin with that are none of the table's; readers leave them out."""
PROBE = "_landfast_probe-"
WORKSHOP = "_landfast_checkpoint-"
"""What the folders are called in which checkpoints are made."""
_DRAFT_END = ".landfast.tmp"
_OWN = re.compile(r"(?:.*/)?(?:landfast|letters|spans)-[0-9a-f]{32}\.zstd\.parquet")


def log_name(version: int) -> str:
    """The name of a log entry, relative to the table's root."""
    return f"{LOG}/{version:020d}.json"


def versions_of(names: Mapping[str, int]) -> dict[int, int]:
    """The versions of the log entries among these names, with their sizes."""
    return {int(match[1]): size for name, size in names.items() if (match := ENTRY_NAME.fullmatch(name))}


def draft_name(version: int) -> str:
    """A new name for a log entry that nobody is to see yet: the leading dot hides it from readers."""
    return f"{LOG}/.{version:020d}.{uuid.uuid4().hex}{_DRAFT_END}"


def drafts_among(names: Iterable[str]) -> list[str]:
    """The drafts among the names in a log's folder, relative to the table's root: a killed process leaves one behind."""
    return [f"{LOG}/{name}" for name in names if name.startswith(".") and name.endswith(_DRAFT_END)]


def probe_name() -> str:
    """A new name for a file that is written only to see whether it can be."""
    return f"{PROBE}{uuid.uuid4().hex}"


def is_own(path: str) -> bool:
    """Whether a file's name says that Landfast wrote it."""
    return _OWN.fullmatch(path) is not None
