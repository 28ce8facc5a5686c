"""Secrets are planted in every setting that can hold one, and searched for in everything that comes out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from landfast import wiring
from landfast.cli.app import app
from landfast.config import from_mapping, load
from landfast.errors import LandfastError
from landfast.observe.logs import Redactor
from landfast.pipeline import Pipeline
from tests.faults.canaries import canary, found_in, plain_canary, planted
from tests.sinks.delta_proof import proved_table
from tests.sinks.delta_world import world_at

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("check",),
    ("status",),
    ("verify",),
    ("verify", "--source"),
    ("runs",),
    ("run", "--until-end"),
    ("dead-letters", "list"),
    ("dead-letters", "show", "nobody"),
)
PLAIN = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "debug": "all"}
TOKEN = {"security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER", "sasl.oauthbearer.method": "oidc", "debug": "all"}
KEYS = {"security.protocol": "SSL", "ssl.key.pem": plain_canary(990), "ssl.certificate.pem": plain_canary(991)}
STORES = (
    f"s3://u:{plain_canary(992)}@bucket/table?sig={plain_canary(993)}",
    f"abfss://{plain_canary(994)}:{plain_canary(995)}@account.dfs.core.windows.net/table",
    f"gs://bucket/table?token={plain_canary(996)}",
)
SITUATIONS: Mapping[str, tuple[str, Mapping[str, str], str]] = {
    "password": ("table", PLAIN, ""),
    "token": ("table", TOKEN, ""),
    "keys": ("table", KEYS, ""),
    "s3": (STORES[0], PLAIN, '"AWS_ENDPOINT_URL" = "http://127.0.0.1:1"\n"AWS_REGION" = "x"\n"AWS_ALLOW_HTTP" = "true"\n'),
    "azure": (STORES[1], PLAIN, ""),
    "google": (STORES[2], PLAIN, ""),
    "wrong-options": ("table", {**PLAIN, "sasl.pasword": plain_canary(997)}, ""),
    "wrong-place": ("table", PLAIN, f'password = "{plain_canary(999)}"\n[batch]\nrows = "{plain_canary(989)}"\n'),
}


@pytest.fixture(params=SITUATIONS, scope="module")
def situation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A settings file whose secrets lead to this or that failure, beside a table that is as it should be."""
    path, options, more = SITUATIONS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    proved_table(world_at(folder)).close()
    chosen = planted(folder, path=path, options=options, more=more)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in chosen.environment.items():
            patch.setenv(name, value)
        yield chosen.file


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["words", "json"])
@pytest.mark.parametrize("command", COMMANDS, ids="-".join)
def test_x7_no_command_shows_a_secret(
    situation: Path, command: tuple[str, ...], form: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    """Whether it goes well, is refused or fails: standard output, standard error and what the drivers write there hold no secret."""
    named = [*command[:2], str(situation), *command[2:]] if command[0] == "dead-letters" else [command[0], str(situation), *command[1:]]
    ended = CliRunner().invoke(app, [*named, *form])
    assert ended.exception is None or isinstance(ended.exception, (SystemExit, LandfastError)), repr(ended.exception)
    error = "" if ended.exception is None else "".join(traceback.format_exception(ended.exception))
    drivers = capfd.readouterr()
    assert found_in(ended.stdout + ended.stderr + error + drivers.out + drivers.err) == []


def test_x7_no_exception_and_no_repr_shows_a_secret(situation: Path) -> None:
    """A program that uses Landfast prints settings, pipelines and errors with their causes as it likes."""
    with pytest.raises(LandfastError) as caught:
        _used(situation)
    error = caught.value
    assert found_in("".join(traceback.format_exception(error)) + repr(error) + repr(error.__dict__)) == []


def _used(situation: Path) -> None:
    """Load the settings, show them in every way, and run the pipeline, which cannot end well."""
    settings = load(situation)
    options = (settings.source.options, *(route.sink.storage_options for route in settings.routes))
    pipeline = Pipeline.from_settings(settings)
    things = (settings, *settings.routes, *options, settings.effective(), settings.digest(), Redactor(wiring.secrets(settings)), pipeline)
    assert found_in("".join(repr(thing) + str(thing) for thing in things)) == []
    pipeline.run(until_end=True)


@pytest.mark.parametrize(
    "answers",
    [
        ("--path", STORES[0]),
        ("--path", "lake", "--option", f"sasl.password={canary(701)}"),
        ("--path", "lake", "--option", f"sasl.pasword={canary(702)}"),
        ("--path", "lake", "--option", f"client.id=http://u:{plain_canary(703)}@host/"),
        ("--path", "lake", "--option", "security.protocol=SASL_SSL", "--option", "sasl.password=env:PLANTED"),
    ],
    ids=["path", "password", "misspelt", "address", "reference"],
)
def test_x7_init_writes_and_says_no_secret(answers: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that is given in plain words is refused, so that it does not end in a file; a reference is only followed."""
    monkeypatch.setenv("PLANTED", canary(704))
    ended = CliRunner().invoke(app, ["init", "--servers", "127.0.0.1:1", "--topic", "t", "--output", str(tmp_path / "new.toml"), *answers])
    assert isinstance(ended.exception, LandfastError)
    said = "".join(traceback.format_exception(ended.exception))
    assert found_in(ended.stdout + ended.stderr + said) == []
    assert list(tmp_path.iterdir()) == []


def test_x7_pieces_of_an_address_are_known_secrets(tmp_path: Path) -> None:
    """A driver may write them down apart from the address: each is masked wherever it stands."""
    settings = from_mapping(
        {
            "name": "p",
            "source": {"servers": "h:1", "topics": ["t"], "options": {"client.id": f"http://u:{plain_canary(705)}@h"}},
            "sink": {"path": STORES[0], "storage_options": {"azure_msi_endpoint": f"http://h/?code={plain_canary(706)}"}},
        },
        folder=tmp_path,
    )
    texts = " and ".join(plain_canary(number) for number in (705, 706, 992, 993))
    assert len(found_in(texts)) == 4
    assert found_in(Redactor(wiring.secrets(settings))(texts)) == []


CRASHES: Mapping[str, str] = {
    "a-command": "int(secret)",
    "a-thread": "(died := threading.Thread(target=lambda: int(secret))).start() or died.join()",
    "a-finalizer": "type('Lost', (), {'__del__': lambda self: int(secret)})()",
    "a-native-crash": "os.kill(os.getpid(), signal.SIGSEGV)",
}


@pytest.mark.parametrize("crash", CRASHES)
def test_x7_a_crash_shows_no_secret(crash: str, tmp_path: Path) -> None:
    """Lines and classes are shown, no text of an exception and no variable; a crash of native code leaves no memory on the disk."""
    code = f"""
import os, signal, sys, threading
from landfast.cli.app import app, main
app.registered_commands.clear()
secret = os.environ["PLANTED"]
app.command("crash")(lambda: {CRASHES[crash]})
sys.argv = ["landfast", "crash"]
main()
"""
    environment = {**os.environ, "PLANTED": canary(700), "PYTHONFAULTHANDLER": "1"}
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert found_in(ended.stdout + ended.stderr) == []
    assert ended.stderr.strip()
    assert ended.returncode == (-signal.SIGSEGV if crash == "a-native-crash" else 4 if crash == "a-command" else 0)
    assert list(tmp_path.iterdir()) == []
