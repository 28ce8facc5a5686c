"""Every state in which a cut of the power may leave a folder: enumerated where they are few, drawn by a seed where they are many."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.power_disk import FrozenNode, Moment

Image = Mapping[str, bytes | None]
"""Each name with its content; None for a folder."""

EVERY_MAX = 48
"""Where a moment has more states than this, they are drawn."""


@dataclass(frozen=True, slots=True)
class Cut:
    """One image of one moment."""

    number: int
    moment: Moment
    image: Image

    def write(self, folder: Path) -> None:
        """Put the image onto a disk."""
        for name, content in sorted(self.image.items()):
            path = folder / name
            if content is None:
                path.mkdir()
            else:
                path.write_bytes(content)

    def told(self) -> str:
        """The cut in words, for whoever has to look into it."""
        odd = [name for name, choices in self.moment.names.items() if _picked(name, self.image) != _whole(choices[-1])]
        return f"cut {self.number}, {self.moment.what}; not as written: {', '.join(sorted(odd)) or 'nothing'}"


def cuts(moments: Sequence[Moment], seed: int, drawn_max: int) -> Iterator[Cut]:
    """The distinct images of these moments, the earliest moment first. `drawn_max` bounds how many are drawn where there are many."""
    seen: set[bytes] = set()
    numbers = itertools.count()
    for index, moment in enumerate(moments):
        for image in _images(moment, random.Random(f"{seed}/{index}"), drawn_max):
            mark = _mark(image, moment)
            if mark not in seen:
                seen.add(mark)
                yield Cut(next(numbers), moment, image)


def _images(moment: Moment, draw: random.Random, drawn_max: int) -> Iterator[Image]:
    open_names = [name for name, choices in moment.names.items() if len(choices) > 1]
    nodes = {id(node): node for choices in moment.names.values() for node in choices if node is not None and len(node.contents) > 1}
    sizes = [len(moment.names[name]) for name in open_names] + [len(node.contents) for node in nodes.values()]
    every = 1
    for size in sizes:
        every *= size
    if every <= EVERY_MAX:
        choices: Iterator[tuple[int, ...]] = itertools.product(*(range(size) for size in sizes))
    else:
        choices = _drawn(sizes, draw, drawn_max)
    for choice in choices:
        names = dict(zip(open_names, choice, strict=False))
        contents = dict(zip(nodes, choice[len(open_names) :], strict=True))
        yield _image(moment, names, contents)


def _drawn(sizes: Sequence[int], draw: random.Random, drawn_max: int) -> Iterator[tuple[int, ...]]:
    """Nothing reached the disk; everything did; everything but one; then as it comes."""
    newest = tuple(size - 1 for size in sizes)
    yield tuple(0 for _ in sizes)
    yield newest
    singles = [(*newest[:index], value, *newest[index + 1 :]) for index, size in enumerate(sizes) for value in range(size - 1)]
    draw.shuffle(singles)
    yield from singles[:drawn_max]
    for _ in range(drawn_max):
        yield tuple(draw.choice((0, size - 1, draw.randrange(size))) for size in sizes)


def _image(moment: Moment, names: Mapping[str, int], contents: Mapping[int, int]) -> Image:
    image: dict[str, bytes | None] = {}
    for name in sorted(moment.names):
        node = moment.names[name][names.get(name, 0)]
        folder = name.rpartition("/")[0]
        if node is None or (folder and (folder not in image or image[folder] is not None)):
            continue
        image[name] = None if node.folder else node.contents[contents.get(id(node), 0)]
    return image


def _mark(image: Image, moment: Moment) -> bytes:
    mark = hashlib.sha256(repr(sorted((str(stream), position) for stream, position in moment.told.items())).encode())
    for name, content in sorted(image.items()):
        mark.update(f"/{name}/{-1 if content is None else len(content)}/".encode())
        mark.update(content or b"")
    return mark.digest()


def _picked(name: str, image: Image) -> object:
    return image.get(name, "absent")


def _whole(node: FrozenNode | None) -> object:
    if node is None:
        return "absent"
    return None if node.folder else node.contents[-1]
