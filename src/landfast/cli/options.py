"""Options of drivers on the command line, as `KEY=VALUE`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from landfast.errors import Misconfigured

StorageOption = Annotated[
    list[str] | None,
    typer.Option(
        "--storage-option", metavar="KEY=VALUE", help="How the object store is reached; secrets as KEY=env:NAME or KEY=file:PATH."
    ),
]


def options_of(name: str, texts: Sequence[str]) -> dict[str, str]:
    """`KEY=VALUE` texts as a mapping; `name` is the option that they come from.

    Raises:
        Misconfigured: one has no `=`, or shows a secret.
    """
    from landfast.config import Options

    for number, text in enumerate(texts, 1):
        if "=" not in text:
            # Not the text: a secret may stand where the sign was forgotten.
            raise Misconfigured("CONFIG_INVALID", f"{name}, the {number}. one given: write it as KEY=VALUE", next_step="Correct it.")
    # The settings of the workers lie in another folder.
    options = Options(dict(text.split("=", 1) for text in texts), folder=Path.cwd())
    given = {key: options[key] for key in options}
    hidden = [key for key, shown in options.masked().items() if shown != given[key]]
    if hidden:
        # Everybody on this machine can read it already; it need not be written into a file as well.
        message = f"{name}: {', '.join(hidden)} stands in the list of processes in plain words"
        raise Misconfigured("CONFIG_INVALID", message, next_step="Give it as KEY=env:NAME or KEY=file:PATH.")
    return given
