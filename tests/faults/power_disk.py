"""What a disk holds for certain, and what it may hold: seen by looking at a folder at each step of a run.

The model is the strictest that POSIX allows. A file's content is certain once the file has been synced; a name in a folder once that
folder has been synced. Whatever else was done since may have reached the disk or not, in any order, each for itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from landfast.sinks.delta.files.local import Disk

FOLDER = None
"""What stands for a folder where a file has its content."""


@dataclass(slots=True, eq=False)
class Node:
    """A file or folder, whatever its name. `durable` is its content on the disk for certain; `seen` what was written since, in order."""

    folder: bool
    number: int
    durable: bytes | None = None
    seen: list[bytes] = field(default_factory=list)

    @property
    def newest(self) -> bytes:
        """The content as a running system shows it."""
        return self.seen[-1] if self.seen else self.durable or b""


@dataclass(slots=True)
class Name:
    """A name in a folder: what it names for certain (None: nothing), and what it named since, in order."""

    durable: Node | None = None
    seen: list[Node | None] = field(default_factory=list)

    @property
    def newest(self) -> Node | None:
        """What a running system shows."""
        return self.seen[-1] if self.seen else self.durable


@dataclass(frozen=True, slots=True)
class FrozenNode:
    """A node at the moment of a cut: the contents it may have, the certain one first."""

    folder: bool
    contents: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment at which the power may go. `names` has what each name may stand for, the certain one first; `told` what was promised."""

    what: str
    names: Mapping[str, tuple[FrozenNode | None, ...]]
    told: Mapping[object, int]


class PowerDisk(Disk):
    """A disk that looks at everything below `root` before each sync, and keeps the moments at which the power may go.

    `told` says what has been promised to the outside so far.
    """

    def __init__(self, root: Path, told: Callable[[], Mapping[object, int]]) -> None:
        self.moments: list[Moment] = []
        self._root = root
        self._told = told
        self._names: dict[str, Name] = {}
        self._look()
        self._settle_all()

    def sync_file(self, path: Path) -> None:
        """See `Disk`."""
        name = self.note(f"before syncing {path.name}", path)
        super().sync_file(path)
        node = self._names[name].newest if name in self._names else None
        if node is not None:
            node.durable, node.seen = node.newest, []
        self.note(f"after syncing {path.name}")

    def sync_folder(self, path: Path) -> None:
        """See `Disk`. What lies above the root is the machine's, and not looked at."""
        if path != self._root and self._root not in path.parents:
            return
        name = self.note(f"before syncing the folder {path.name}", path)
        super().sync_folder(path)
        prefix = f"{name}/" if name else ""
        for one, entry in self._names.items():
            if one.startswith(prefix) and "/" not in one.removeprefix(prefix):
                entry.durable, entry.seen = entry.newest, []
        self.note(f"after syncing the folder {path.name}")

    def link(self, path: Path, name: Path) -> None:
        """See `Disk`. Both names are of one file: what is certain of one is certain of the other."""
        self.note(f"before naming {name.name}")
        super().link(path, name)
        self.note(f"after naming {name.name}")

    def rename(self, path: Path, name: Path) -> None:
        """See `Disk`. What is certain of the file stays so under its other name."""
        old, new = self.note(f"before renaming {path.name}", path), name.relative_to(self._root).as_posix()
        super().rename(path, name)
        node = self._names[old].newest
        self._names.setdefault(new, Name()).seen.append(node)
        self._names[old].seen.append(None)
        self.note(f"after renaming {path.name}")

    def note(self, what: str, path: Path | None = None) -> str:
        """Look, and keep the moment. Returns the path's name below the root."""
        self._look()
        self.moments.append(Moment(what, self._frozen(), dict(self._told())))
        return "" if path is None or path == self._root else path.relative_to(self._root).as_posix()

    def _settle_all(self) -> None:
        for entry in self._names.values():
            entry.durable, entry.seen = entry.newest, []
            if entry.durable is not None:
                entry.durable.durable, entry.durable.seen = entry.durable.newest, []

    def _look(self) -> None:
        found = {os.path.relpath(entry.path, self._root): entry for entry in _below(self._root)}
        linked = {node.number: node for name, known in self._names.items() if name in found and (node := known.newest) is not None}
        for name, entry in found.items():
            known = self._names.setdefault(name, Name())
            node = known.newest
            if node is None or node.number != entry.inode():
                node = linked.get(entry.inode()) or Node(entry.is_dir(), entry.inode())
                known.seen.append(node)
            if not node.folder:
                content = Path(entry.path).read_bytes()
                if not (node.seen or node.durable is not None) or content != node.newest:
                    node.seen.append(content)
        for name, known in self._names.items():
            if name not in found and known.newest is not None:
                known.seen.append(None)

    def _frozen(self) -> Mapping[str, tuple[FrozenNode | None, ...]]:
        made: dict[int, FrozenNode] = {}

        def frozen(node: Node | None) -> FrozenNode | None:
            if node is None:
                return None
            if id(node) not in made:
                made[id(node)] = FrozenNode(node.folder, _contents(node))
            return made[id(node)]

        return {name: tuple(frozen(node) for node in (entry.durable, *entry.seen)) for name, entry in self._names.items()}


def _below(folder: Path) -> list[os.DirEntry[str]]:
    found = []
    for entry in os.scandir(folder):
        found.append(entry)
        if entry.is_dir():
            found += _below(Path(entry.path))
    return found


def _contents(node: Node) -> tuple[bytes, ...]:
    """What may be read after a cut: what is certain, then for each write since then nothing, zeros, halves of it, and all of it."""
    if node.folder:
        return ()
    found: dict[bytes, None] = {} if node.durable is None else {node.durable: None}
    for content in node.seen:
        half = len(content) // 2
        before = node.durable or b""
        torn = content[:half] + before[half:] if before else content[:half] + bytes(len(content) - half)
        holed = bytes(half) + content[half:]
        lines = [content[: index + 1] for index, byte in enumerate(content) if byte == ord("\n")] if content[:1] == b"{" else []
        for variant in (before, bytes(len(content)), content[:half], torn, holed, *lines):
            found.setdefault(variant)
        # What was written last comes last: it is what a running system shows.
        found.pop(content, None)
        found[content] = None
    return tuple(found)
