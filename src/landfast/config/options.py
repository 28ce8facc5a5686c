"""Options that pass through to a driver, and the secrets among them: resolved late, shown never."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from landfast.errors import Misconfigured

MASK = "***"
_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)?$|password|secret|token|credential|jaas|oauthbearer\.(config|extensions)|authoriz|connection.?string|(access|account|shared|private|api|encryption|master|sse)"
    r".*key|key$|\.pem$|key\.id$|key_id$|sas(?!l)|signature|service.?account|\.rules$",
    re.IGNORECASE,
)
_SECRET_WORDS = ("credential", "credentials", "passphrase", "password", "secret", "token")
_LOOKS_ALIKE = 0.8
_REFERENCE = re.compile(r"^(env|file):(.+)$", re.DOTALL)
_SECRET_BYTES_MAX = 1 << 20


class Options(Mapping[str, str]):
    """Options of a driver, by its own names. A value `env:NAME` or `file:PATH` is a reference: `resolve` reads it when it is needed.

    Every way of showing an `Options` (repr, str, iteration over `masked()`) shows references as they are written, and hides literal
    values under names that usually hold secrets.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, object] = {}, *, folder: Path | None = None) -> None:
        self._values: dict[str, str] = {name: _absolute(_as_text(name, value), folder) for name, value in values.items()}

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Options({self.masked()})"

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._values.items())))

    def under(self, folder: Path) -> Options:
        """The same options with relative `file:` references read from `folder`."""
        return Options(self._values, folder=folder)

    def masked(self) -> dict[str, str]:
        """The options with secrets hidden: fit for a screen, a log, a digest."""
        return {name: _masked(name, value) for name, value in sorted(self._values.items())}

    def secrets(self, resolved: Mapping[str, str]) -> tuple[str, ...]:
        """The texts among the resolved values that must never be shown: behind references, under secret names, and in addresses."""
        hidden = [text for name, text in resolved.items() if text and (_REFERENCE.match(self._values[name]) or _names_secret(name))]
        return (*hidden, *(part for text in resolved.values() for part in secrets_of_uri(text)))

    def resolve(self, place: str) -> dict[str, str]:
        """The options with every reference replaced by what it points to. Reads the environment and files; call it late.

        Raises:
            Misconfigured: CONFIG_SECRET, with `place` and the name of the option; never with a value.
        """
        return {name: _resolved(f"{place}.{name}", value) for name, value in self._values.items()}


def mask_uri(uri: str) -> str:
    """A path or URI without the user, password and query that it may carry."""
    if "://" not in uri:
        return uri
    if not is_uri(uri):
        # Where a secret would stand in it cannot be told.
        return f"{uri.partition('://')[0]}://{MASK}"
    parts = urlsplit(uri)
    host = parts.netloc
    # In abfss://container@account the part before the @ names a container; only user:password is a secret.
    if "@" in host and ":" in host.rsplit("@", 1)[0]:
        host = f"{MASK}@{host.rsplit('@', 1)[1]}"
    return urlunsplit((parts.scheme, host, parts.path, MASK if parts.query else "", ""))


def secrets_of_uri(uri: str) -> tuple[str, ...]:
    """What `mask_uri` hides of a path or URI, piece by piece."""
    if mask_uri(uri) == uri or not is_uri(uri):
        return ()
    parts = urlsplit(uri)
    user, sign, password = parts.netloc.rpartition("@")[0].partition(":")
    values = (pair.partition("=")[2] for pair in parts.query.split("&"))
    return tuple(part for part in (*((user, password) if sign else ()), parts.query, *values) if part)


def is_uri(text: str) -> bool:
    """Whether the text can be taken apart as a URI."""
    try:
        urlsplit(text)
    except ValueError:
        return False
    return True


def _as_text(name: str, value: object) -> str:
    if isinstance(value, Mapping):
        # TOML takes `security.protocol = "SSL"` for a key inside a table of its own.
        keys = ", ".join(f'"{name}.{below}"' for below in _dotted(value))
        message = f"quote a key that has dots, so that it is one key: {keys or name} = …"
        raise ValueError(message)  # noqa: TRY004 — what pydantic makes a fault of, as below
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        text = _number_text(name, value)
        if not (_is_passable(name) and _is_passable(text)):
            message = f"{name!r}: an option has no NUL character and nothing that UTF-8 cannot write, in its name and in its value"
            raise ValueError(message)
        return text
    message = f"{name}: an option is a text, a number or a boolean"
    raise ValueError(message)


def _number_text(name: str, value: object) -> str:
    try:
        return str(value)
    except ValueError:
        # Python writes no whole number of more than 4,300 digits.
        message = f"{name}: a number has too many digits"
        raise ValueError(message) from None


def _is_passable(text: str) -> bool:
    """Whether a driver gets the text whole: written in C, it ends at a NUL, and takes UTF-8 alone."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _dotted(table: Mapping[str, object]) -> Iterator[str]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from (f"{name}.{below}" for below in _dotted(value))
        else:
            yield name


def _absolute(value: str, folder: Path | None) -> str:
    reference = _REFERENCE.match(value)
    if folder is None or reference is None or reference[1] != "file":
        return value
    return f"file:{folder / reference[2]}"


def _masked(name: str, value: str) -> str:
    if _REFERENCE.match(value):
        return value
    return MASK if _names_secret(name) else mask_uri(value)


def _names_secret(name: str) -> bool:
    """Whether an option of this name usually holds a secret; a misspelt one holds what the right one would."""
    if _SECRET_NAME.search(name):
        return True
    return any(
        difflib.get_close_matches(word, _SECRET_WORDS, n=1, cutoff=_LOOKS_ALIKE) for word in re.split(r"[\W_]+", name.lower()) if word
    )


def _resolved(place: str, value: str) -> str:
    reference = _REFERENCE.match(value)
    if reference is None:
        return value
    kind, target = reference[1], reference[2]
    if kind == "env":
        found = os.environ.get(target)
        if found is None:
            raise _missing(f"{place}: the environment has no variable {target}")
        if not _is_passable(found):
            raise _missing(f"{place}: the variable {target} is not UTF-8 text")
        return found
    try:
        with Path(target).open("rb") as file:
            text = file.read(_SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise _missing(f"{place}: cannot read the file {target} ({error.strerror})") from error
    if len(text) > _SECRET_BYTES_MAX:
        raise _missing(f"{place}: the file {target} is larger than 1 MiB")
    try:
        found = text.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        # The decoder's own exception holds the bytes, so it is not chained.
        raise _missing(f"{place}: the file {target} is not UTF-8 text") from None
    if "\0" in found:
        raise _missing(f"{place}: the file {target} holds a NUL byte, which no option may have")
    return found


def _missing(message: str) -> Misconfigured:
    return Misconfigured("CONFIG_SECRET", message, next_step="Provide what the reference points to, or correct the reference.")
