"""Variables lie over the file, and secrets are shown nowhere."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from landfast.config import Options, load
from landfast.errors import Misconfigured

CANARY = "canary-7f3a"
FILE = """
name = "sensors"
[source]
servers = "h:1"
topics = ["t"]
[sink]
path = "lake/t"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "p.toml"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_a_variable_overrides_the_file(file: Path) -> None:
    """A variable is read as the setting's own kind: text stays text, numbers, lists and sizes become what they are."""
    settings = load(
        file,
        {
            "LANDFAST_NAME": "42",
            "LANDFAST_SOURCE__SERVERS": "a:1,b:2",
            "LANDFAST_SOURCE__TOPICS": '["x", "y"]',
            "LANDFAST_SOURCE__OPTIONS__RETRIES": "1e5",
            "LANDFAST_SOURCE__START": "timestamp",
            "LANDFAST_SOURCE__START_AT": "2026-01-31T00:00:00Z",
            "LANDFAST_SINK__PATH": "other",
            "LANDFAST_BATCH__BYTES": "2 MiB",
            "LANDFAST_BATCH__SECONDS": "2",
            "LANDFAST_ENGINE__RETRY__ATTEMPTS": "3",
            "LANDFAST_DECODE__COLUMNS": '{ x = "int64" }',
        },
    )
    route = settings.routes[0]
    assert (settings.name, settings.source.servers, settings.source.topics) == ("42", "a:1,b:2", ("x", "y"))
    assert dict(settings.source.options) == {"retries": "1e5"}
    assert settings.source.start_at is not None
    assert (route.sink.path, route.batch.bytes, route.batch.seconds) == (str(file.parent.resolve() / "other"), 2 << 20, 2.0)
    assert (settings.engine.retry.attempts, route.decode.columns) == (3, {"x": "int64"})


def test_a_variable_reaches_into_a_route(file: Path) -> None:
    """A route is named by its index."""
    file.write_text(FILE + '[[routes]]\nname = "a"\ntopics = ["t"]\n', encoding="utf-8")
    assert load(file, {"LANDFAST_ROUTES__0__BATCH__ROWS": "7"}).routes[0].batch.rows == 7


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("LANDFAST_SORCE__SERVERS", "sorce: unknown key; did you mean source? (set by LANDFAST_SORCE__SERVERS)"),
        ("LANDFAST_SOURCE__SERVER", "source.server: unknown key; did you mean servers? (set by LANDFAST_SOURCE__SERVER)"),
        ("LANDFAST_BATCH__ROWS", "batch.rows: must be a whole number (set by LANDFAST_BATCH__ROWS)"),
        ("LANDFAST_NAME__X", "LANDFAST_NAME__X: the settings have no such place"),
        ("LANDFAST_ROUTES__3__NAME", "LANDFAST_ROUTES__3__NAME: the settings have no such place"),
        ("LANDFAST_SOURCE__TOPICS__0", "LANDFAST_SOURCE__TOPICS__0: the settings have no such place"),
    ],
)
def test_a_misspelt_variable_is_refused_by_its_name(file: Path, variable: str, words: str) -> None:
    """A variable that means nothing is refused, and a bad value is traced to the variable that set it."""
    with pytest.raises(Misconfigured) as caught:
        load(file, {variable: "x"})
    assert words in caught.value.message


def test_variables_of_others_are_left_alone(file: Path) -> None:
    """Names that platforms invent, and names that resemble no setting, are no settings."""
    others = {
        "LANDFAST_SERVICE_HOST": "10.0.0.1",
        "LANDFAST_SERVICE_PORT": "9464",
        "LANDFAST_SERVICE_PORT_METRICS": "9464",
        "LANDFAST_PORT": "tcp://10.0.0.1:9464",
        "LANDFAST_PORT_9464_TCP": "tcp://10.0.0.1:9464",
        "LANDFAST_PORT_9464_TCP_ADDR": "10.0.0.1",
        "LANDFAST_METRICS_SERVICE_HOST": "10.0.0.1",
        "LANDFAST_METRICS_PORT": "tcp://10.0.0.1:9464",
        "LANDFAST_CACHE": "/var/cache",
        "LANDFAST_VERSION": "1",
        "LANDFAST_HOME": "/opt",
        "OTHER__NAME": "x",
    }
    assert load(file, others).digest() == load(file, {}).digest()


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("LANDFAST_BATCH_ROWS", "LANDFAST_BATCH__ROWS"),
        ("LANDFAST_BATCH_ROW", "LANDFAST_BATCH__ROWS"),
        ("LANDFAST_batch_rows", "LANDFAST_BATCH__ROWS"),
        ("LANDFAST_ENGINE_RETRY_ATTEMPTS", "LANDFAST_ENGINE__RETRY__ATTEMPTS"),
        ("LANDFAST_METRICS_PORT", "LANDFAST_METRICS__PORT"),
        ("LANDFAST_ROUTES_0_SINK_PATH", "LANDFAST_ROUTES__0__SINK__PATH"),
        ("LANDFAST_SERVERS", "LANDFAST_SOURCE__SERVERS"),
        ("LANDFAST_SOURCE", "LANDFAST_SOURCE__SERVERS"),
        ("LANDFAST_PORT", "LANDFAST_METRICS__PORT"),
    ],
)
def test_u6_what_is_nearly_a_setting_is_refused_with_the_right_name(file: Path, variable: str, meant: str) -> None:
    """One underscore for two, a key without its section, a slip of the pen: ignoring it would run with a value that nobody wanted."""
    with pytest.raises(Misconfigured) as caught:
        load(file, {variable: "5"})
    assert caught.value.code == "CONFIG_UNKNOWN"
    assert caught.value.message == f"the environment: {variable}: no such setting; did you mean {meant}?"
    assert caught.value.next_step == "Correct or unset the variable."


def test_all_variables_that_are_nearly_settings_are_named_at_once(file: Path) -> None:
    """One round of corrections is enough."""
    with pytest.raises(Misconfigured, match=r"(?s)2 faults.*LANDFAST_BATCH_ROWS: .*LANDFAST_SINK_PATH: "):
        load(file, {"LANDFAST_SINK_PATH": "x", "LANDFAST_BATCH_ROWS": "5"})


@pytest.mark.parametrize("text", ["x,y", " x , y,", '["x", "y"]', '[ "x",\n"y" ]'])
def test_a_list_of_texts_may_be_written_with_commas(file: Path, text: str) -> None:
    """Lists of topics need no TOML in the shell."""
    assert load(file, {"LANDFAST_SOURCE__TOPICS": text}).source.topics == ("x", "y")


def test_the_process_environment_is_the_default(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an environment given, the process's own is read."""
    monkeypatch.setenv("LANDFAST_NAME", "from-the-process")
    assert load(file).name == "from-the-process"


def test_secrets_are_resolved_late_and_never_shown(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret is in the resolved options alone: not in a repr, the effective settings, a dump or the digest's text."""
    (file.parent / "secret.txt").write_text(CANARY + "\n", encoding="utf-8")
    monkeypatch.setenv("MY_SECRET", CANARY)
    file.write_text(
        FILE.replace(
            'topics = ["t"]', 'topics = ["t"]\noptions = { "sasl.password" = "env:MY_SECRET", "ssl.key.password" = "file:secret.txt" }'
        )
        + f'storage_options = {{ AWS_SECRET_ACCESS_KEY = "{CANARY}", azure_storage_sas_token = "{CANARY}", e = "http://u:{CANARY}@h/" }}\n',
        encoding="utf-8",
    )
    settings = load(file, {})
    resolved = settings.source.options.resolve("source.options")
    assert resolved == {"sasl.password": CANARY, "ssl.key.password": CANARY}
    assert settings.routes[0].sink.storage_options.resolve("sink.storage_options")["AWS_SECRET_ACCESS_KEY"] == CANARY
    shown = [repr(settings), str(settings), f"{settings.source.options}", str(settings.effective()), settings.model_dump_json()]
    assert not [text for text in shown if CANARY in text]
    assert "env:MY_SECRET" in repr(settings)


@pytest.mark.parametrize(
    "name",
    [
        "sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.config", "sasl.oauthbearer.client.secret", "sasl.jaas.config",
        "AWS_ACCESS_KEY_ID", "aws_secret_access_key", "aws_session_token", "azure_storage_account_key", "AZURE_STORAGE_SAS_TOKEN",
        "google_service_account_key", "GOOGLE_SERVICE_ACCOUNT", "account_key", "sas_key", "connection_string", "ssl.keystore.password",
        "aws_server_side_encryption_customer_key_base64", "bearer_token", "client_secret", "sslkeypassphrase",
    ],
)  # fmt: skip
def test_literal_secrets_are_masked_by_their_names(name: str) -> None:
    """A secret written into the file in plain words is hidden all the same."""
    assert CANARY not in repr(Options({name: CANARY}))


@pytest.mark.parametrize("name", ["sasl.mechanism", "sasl.mechanisms", "sasl.username", "security.protocol", "AWS_REGION"])
def test_options_that_are_no_secrets_stay_readable(name: str) -> None:
    """The word PLAIN is no secret because a mechanism is called so: masked everywhere, it would take the reason out of every error."""
    options = Options({name: "PLAIN"})
    assert (options.masked(), options.secrets({name: "PLAIN"})) == ({name: "PLAIN"}, ())


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("env:NOT_THERE_AT_ALL", "the environment has no variable NOT_THERE_AT_ALL"),
        ("file:nothing.txt", "cannot read the file"),
        ("file:binary", "is not UTF-8 text"),
        ("file:huge", "is larger than 1 MiB"),
    ],
)
def test_a_secret_that_is_not_there_names_the_option_alone(tmp_path: Path, reference: str, words: str) -> None:
    """A reference to nothing is an error with the option's name and the reference; it carries no bytes of a file."""
    (tmp_path / "binary").write_bytes(b"\xff" + CANARY.encode())
    (tmp_path / "huge").write_bytes(CANARY.encode() * 200_000)
    with pytest.raises(Misconfigured) as caught:
        Options({"sasl.password": reference}, folder=tmp_path).resolve("source.options")
    assert caught.value.code == "CONFIG_SECRET"
    assert "source.options.sasl.password" in caught.value.message
    assert words in caught.value.message
    assert CANARY.encode() not in pickle.dumps(caught.value)


def test_a_wrong_value_is_not_repeated_in_the_error(file: Path) -> None:
    """An error speaks of the place and of what is allowed, not of the value: the value may be a secret in the wrong line."""
    file.write_text(
        FILE + f'partition_by = "{CANARY}"\nadopt = ["{CANARY}"]\n[batch]\nrows = "{CANARY}"\nbytes = "{CANARY}"\n', encoding="utf-8"
    )
    with pytest.raises(Misconfigured) as caught:
        load(file, {"LANDFAST_SOURCE__START": CANARY, "LANDFAST_SOURCE__OPTIONS": f'["{CANARY}"]'})
    assert CANARY not in str(caught.value)
    assert CANARY not in repr(caught.value.__context__)
    assert "6 faults" in caught.value.message
