"""Codes of settings and of the checks before the first read."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from landfast.codes.entry import NOTHING_DONE, Code

TABLE: Mapping[str, Code] = MappingProxyType(
    {
        "CONFIG_INVALID": Code(
            "A setting has a value that it cannot have: a wrong type, out of bounds, or at odds with another setting.",
            NOTHING_DONE,
            "Correct the setting that the message names; it says what is allowed.",
        ),
        "CONFIG_MISSING": Code(
            "A setting without a default is not given.",
            NOTHING_DONE,
            "Add the setting that the message names, or let `landfast init` write a file with all of them.",
        ),
        "CONFIG_SECRET": Code(
            "A secret that the settings refer to (`env:NAME` or `file:PATH`) is not there or cannot be read.",
            NOTHING_DONE,
            "Set the variable or create the file. The message shows the reference, never the secret.",
        ),
        "CONFIG_UNKNOWN": Code(
            "The settings name a key or a value that does not exist.",
            NOTHING_DONE,
            "Correct the name; the message shows the nearest known one.",
        ),
        "CONFIG_UNREADABLE": Code(
            "The settings file is missing, cannot be opened, or is not valid TOML.",
            NOTHING_DONE,
            "Check the path, its permissions, and the line that the message names.",
        ),
        "CONFIG_UNSAFE": Code(
            "A setting would break the promise (auto commit, a silent offset reset, reading uncommitted records), or send a secret to "
            "where anybody can read it.",
            NOTHING_DONE,
            "Remove the setting; Landfast owns it.",
        ),
        "CONNECTION_UNSAFE": Code(
            "The connection to the brokers leaves open what its settings look as if they guarded: a login without TLS, or TLS that takes "
            "any certificate or one of another name.",
            "Records are read and land as ever. Who stands on the way could read the login, or answer in the broker's place.",
            "Choose SASL_SSL, leave both checks of the certificate on, and give `ssl.ca.location`; where the way is safe, nothing.",
        ),
        "PORT_TAKEN": Code(
            "The port for metrics cannot be listened on.",
            NOTHING_DONE,
            "Choose another port with `--metrics`, or end what uses this one.",
        ),
        "PREFLIGHT_FAILED": Code(
            "A check before the first read failed: the target cannot be written as the settings say.",
            "Nothing was read; the write probe leaves nothing behind.",
            "Correct what the message names (path, permission, credentials), then run `landfast check`.",
        ),
    }
)
