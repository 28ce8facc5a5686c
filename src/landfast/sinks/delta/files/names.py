"""What the files of a table are called: those of its log, those of ours, and those that are not to be seen."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

LOG = "_delta_log"
ENTRY_NAME = re.compile(r"(\d{20})\.json")
LAST_CHECKPOINT = "_last_checkpoint"
"""The name of the hint in the log's folder."""
CHECKPOINT_IN_ONE_FILE = "parquet"
"""The form of a checkpoint that is one file; others have parts."""
_CHECKPOINT_NAME = re.compile(r"(\d{20})\.checkpoint\.(.+)")

OWN_PREFIX = "_landfast"
"""What the names of all our files begin with that are none of the table's; readers leave them out."""
PROBE = "_landfast_probe-"
COMMITS = "_landfast_commits"
"""The folder of the commits that concern several tables."""
WORKSHOP = "_landfast_checkpoint-"
"""What the folders are called in which checkpoints are made."""
OVERWRITING = "_landfast_overwrite-"
"""What the folders are called in which a part of a table is overwritten before anybody sees it."""
_DRAFT_END = ".landfast.tmp"
FileKind = Literal["landfast", "letters", "spans", "trail"]
"""What the name of a file with rows of ours begins with: events, dead letters, spans, or what people did with dead letters."""
_OWN = re.compile(rf"(?:.*/)?(?:{'|'.join(get_args(FileKind))})-[0-9a-f]{{32}}\.zstd\.parquet")


def log_name(version: int) -> str:
    """The name of a log entry, relative to the table's root."""
    return f"{LOG}/{version:020d}.json"


def versions_of(names: Mapping[str, int]) -> dict[int, int]:
    """The versions of the log entries among these names, with their sizes."""
    return {int(match[1]): size for name, size in names.items() if (match := ENTRY_NAME.fullmatch(name))}


def checkpoint_name(version: int) -> str:
    """The name of a checkpoint in one file, in the log's folder."""
    return f"{version:020d}.checkpoint.{CHECKPOINT_IN_ONE_FILE}"


def checkpoints_among(names: Iterable[str]) -> list[tuple[int, str, str]]:
    """The files of checkpoints among the names in a log's folder: the version, the form and the name of each."""
    return [(int(match[1]), match[2], name) for name in names if (match := _CHECKPOINT_NAME.fullmatch(name))]


def draft_name(version: int) -> str:
    """A new name for a log entry that nobody is to see yet: the leading dot hides it from readers."""
    return f"{LOG}/.{version:020d}.{uuid.uuid4().hex}{_DRAFT_END}"


def draft_of(name: str) -> str:
    """A new name, beside a file of this name, for what is to become that file."""
    folder, _, last = name.rpartition("/")
    return f"{folder}/.{last}.{uuid.uuid4().hex}{_DRAFT_END}".lstrip("/")


def drafts_among(names: Iterable[str]) -> list[str]:
    """The drafts among the names in a log's folder, relative to the table's root: a killed process leaves one behind."""
    return [f"{LOG}/{name}" for name in names if name.startswith(".") and name.endswith(_DRAFT_END)]


def probe_name() -> str:
    """A new name for a file that is written only to see whether it can be."""
    return f"{PROBE}{uuid.uuid4().hex}"


def new_file_name(kind: FileKind) -> str:
    """A new name for a file with rows of ours."""
    return f"{kind}-{uuid.uuid4().hex}.zstd.parquet"


def new_write_name() -> str:
    """A new name for a file that a person's own write adds to a table. No pipeline takes it for one of its own."""
    return f"write-{uuid.uuid4().hex}.zstd.parquet"


def is_own(path: str) -> bool:
    """Whether a file's name says that Landfast wrote it."""
    return _OWN.fullmatch(path) is not None
