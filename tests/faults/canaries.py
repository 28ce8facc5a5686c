"""Secrets that are planted to be searched for: each has a core of its own that survives every way of writing it down."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_CORE = re.compile(r"cnry[0-9]{3}x")


def canary(number: int) -> str:
    """A secret; its ends differ under quoting, percent-encoding and JSON, its core does not."""
    return f"/+'é=cnry{number:03d}x%25&?"


def plain_canary(number: int) -> str:
    """A secret for places that take letters only."""
    return f"Zcnry{number:03d}xZ"


def found_in(text: str) -> list[str]:
    """The cores of the canaries that show in a text."""
    return sorted(set(_CORE.findall(text)))


LITERAL = (
    "sasl.password",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.extensions",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "ssl.key.password",
    "ssl.keystore.password",
)
STORE_LITERAL = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_CLIENT_SECRET",
    "azure_storage_connection_string",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "bearer_token",
    "authorization",
    "sse_customer_key",
)
REFERENCES = ("sasl.username", "client.id", "client.rack")
"""Names that tell nothing: what stands behind a reference is a secret by that alone."""


@dataclass(frozen=True, slots=True)
class Planted:
    """A settings file full of canaries, what the environment has to hold for it, and how many there are."""

    file: Path
    environment: Mapping[str, str]
    count: int


def planted(folder: Path, *, path: str, options: Mapping[str, str] | None = None, more: str = "") -> Planted:
    """Plant a canary in every setting that can hold one. `path` is the table's; `options` stand beside the planted ones."""
    numbers = iter(range(100, 1000))
    environment: dict[str, str] = {}
    chosen = {name: canary(next(numbers)) for name in LITERAL}
    for name in REFERENCES:
        number = next(numbers)
        environment[f"PLANTED_{number}"] = canary(number)
        chosen[name] = f"env:PLANTED_{number}"
    chosen["sasl.oauthbearer.token.endpoint.url"] = f"https://u:{plain_canary(next(numbers))}@127.0.0.1:1/t?k={plain_canary(next(numbers))}"
    secret_file = folder / "secret"
    secret_file.write_text(canary(number := next(numbers)) + "\n", encoding="utf-8")
    chosen["sasl.kerberos.principal"] = "file:secret"
    stored = {name: canary(next(numbers)) for name in STORE_LITERAL}
    stored["proxy_url"] = f"http://u:{plain_canary(next(numbers))}@127.0.0.1:1"
    stored["google_application_credentials"] = "file:secret"
    stored["azure_msi_endpoint"] = f"http://127.0.0.1:1/?code={plain_canary(next(numbers))}"
    # Nobody answers here, however often one asks.
    stored |= {"max_retries": "0", "retry_timeout": "1s"}
    # Laid over by the environment, as an operator would.
    environment["LANDFAST_SOURCE__OPTIONS__https.ca.pem"] = canary(number := next(numbers))
    chosen |= options or {}
    body = [
        'name = "numbers"\n[source]\nservers = "127.0.0.1:1"\ntopics = ["events"]\nrequest_seconds_max = 0.2\n[source.options]\n',
        *_lines(chosen),
        "[engine]\nopen_wait_seconds = 0.0\n[metrics]\nport = 0\n",
        '[decode.columns]\nnumber = "int64 not null"\ntext = "string"\n',
        f"[sink]\npath = {json.dumps(path)}\n[sink.storage_options]\n",
        *_lines(stored),
        more,
    ]
    file = folder / "pipeline.toml"
    file.write_text("".join(body), encoding="utf-8")
    return Planted(file, environment, number - 99)


def _lines(values: Mapping[str, str]) -> Iterator[str]:
    return (f"{json.dumps(name)} = {json.dumps(value)}\n" for name, value in values.items())
