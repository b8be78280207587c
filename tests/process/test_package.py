"""`cloudfn package`: a bundle for each platform, unpacked and called by a process that knows nothing else."""

from __future__ import annotations

import base64
import functools
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import replace
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest

from cloudfn.cli import bundle, main
from cloudfn.cli.bundle import Made, Plan
from cloudfn.errors import CloudError
from cloudfn.hosts import HOSTS
from tests.process.test_platforms import check_everything, free_port, running
from tests.support.recording import OK, RecordingServer, http

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
FUNCTION = """
import helper
import cloudfn as cloud
cloud.init()

def main(event, context):
    return {"helped": helper.VALUE, "box": cloud.openapi.img.aiCrop({"imgUrl": event["imgUrl"]})["results"][0]}
"""


@functools.cache
def _offline() -> str:
    """Why pip cannot download here; "" where it can."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--only-binary=:all:",
            "-d",
            folder,
            "idna",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else "pip cannot download here, and a bundle's packages come from pip"


@pytest.fixture
def online() -> None:
    if _offline():
        pytest.skip(_offline())


@pytest.fixture
def function(tmp_path: Path, permitted: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "index.py").write_text(FUNCTION)
    (folder / "helper.py").write_text("VALUE = 5")
    (folder / "config.json").write_text('{"permissions": {"openapi": ["img.aiCrop"]}}')
    return folder / "index.py"


def build(folder: Path, platform: str, **more: Any) -> tuple[Path, Made]:
    out = folder / f"{platform}.zip"
    return out, bundle.build(Plan(HOSTS[platform], python=PYTHON, **more), out)


def unpacked(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    return folder


# -S: without the site-packages of this machine; nothing of the environment.
def run_in(folder: Path, code: str, **environment: str) -> Any:
    command = [sys.executable, "-S", "-W", "error", "-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{code}"]
    done = subprocess.run(command, cwd=folder.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def calling(platform: str, event: Any) -> str:
    """Code that calls the entry as the platform does, and prints what it returns."""
    host = HOSTS[platform]
    head = (
        f"import json; from {Path(host.entry).stem} import {host.handler} as entry\n"
        f"event = json.loads({json.dumps(event)!r})\n"
    )
    given = {"fc": "json.dumps(event).encode(), None", "cloudrun": "ENVIRON, lambda *a: None", "google": "REQUEST"}
    body = json.dumps(event)
    environ = (
        f"import io; ENVIRON = dict(REQUEST_METHOD='POST', PATH_INFO='/', CONTENT_TYPE='application/json', "
        f"CONTENT_LENGTH={len(body)}); ENVIRON['wsgi.input'] = io.BytesIO({body!r}.encode())\n"
        "class REQUEST: environ = ENVIRON; method = 'POST'; path = '/'; query_string = b''; content_length = 1; "
        f"headers = {{'Content-Type': 'application/json'}}; get_data = staticmethod(lambda: {body!r}.encode())\n"
    )
    shown = {"cloudrun": "answer[0].decode()", "google": "answer[0].decode()"}.get(platform, "json.dumps(answer)")
    return f"{head}{environ}answer = entry({given.get(platform, 'event, None')})\nprint({shown})"


EVENT = {"imgUrl": "https://example.com/a.jpg", "ratios": "1"}


def _zipped(archive: Path, name: str) -> int:
    """Return what a file takes in a zip file, its two headers included."""
    with zipfile.ZipFile(archive) as opened:
        return opened.getinfo(name).compress_size + 76 + 2 * len(name)


PACKED = [host.name for host in HOSTS.values() if host.entry]


@pytest.mark.parametrize("platform", PACKED)
def test_a_bundle_of_each_platform(
    platform: str, online: None, permitted: Path, server: RecordingServer, tmp_path: Path
) -> None:
    out, made = build(tmp_path, platform)
    folder = unpacked(out, tmp_path / "unpacked")
    names = set(made.names)
    assert {HOSTS[platform].entry, "config.json", "cloudfn/handler.py", "cloudfn/call/schemas/img.aiCrop.json"} <= names
    tops = {name.partition("/")[0] for name in names}
    assert not tops & {"PIL", "numpy", "pip", "setuptools", "bin", "tests", "function"}
    assert not [
        name
        for name in names
        if re.search(r"RECORD$|INSTALLER$|direct_url|^cloudfn/(cli|server|batch|crop)|/tests/|\.pyi$", name)
    ]
    assert ("Dockerfile" in names) == ("waitress" in tops) == (platform == "cloudrun")
    assert (made.zipped, made.unzipped) == (
        out.stat().st_size,
        sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    )
    assert made.compiled
    assert "cloudfn/__pycache__/handler.cpython-" in " ".join(names)
    sources = sum(_zipped(out, name) for name in names if not name.endswith(".pyc"))
    assert sources < 1_300_000 or platform == "cloudrun"  # which brings its server
    for text in (name for name in names if name.startswith("cloudfn/") or "/" not in name):
        assert str(tmp_path).encode() not in (folder / text).read_bytes()
    assert run_in(folder, calling(platform, {"ratioList": "1"}))["errCode"] == -401002
    answer = run_in(
        folder,
        calling(platform, EVENT),
        **HOSTS[platform].environment,
        WX_ACCESS_TOKEN="t0ken-0123",
        CLOUDFN_API_BASE=server.url,
    )
    assert (answer["errCode"], answer["imgSize"]) == (0, {"w": 966, "h": 728})
    assert len(server.requests) == 1


def test_the_bundle_is_the_same_every_time(online: None, function: Path, tmp_path: Path) -> None:
    made = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        out, _ = build(folder, "lambda", function=(function, "main"))
        made.append(out.read_bytes())
        os.utime(function, (number * 1e9, number * 1e9))
    assert made[0] == made[1]
    with zipfile.ZipFile(tmp_path / "0" / "lambda.zip") as archive:
        entries = archive.infolist()
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
    assert {(entry.date_time, entry.external_attr >> 16) for entry in entries} == {((1980, 1, 1, 0, 0, 0), 0o100644)}


def test_a_function_of_ones_own(online: None, function: Path, server: RecordingServer, tmp_path: Path) -> None:
    platform = "scf"  # whose entry has the same name as this function's file
    out, made = build(tmp_path, platform, function=(function, "main"))
    ours = [name for name in made.names if name.startswith("function/") and not name.endswith(".pyc")]
    assert ours == ["function/helper.py", "function/index.py"]
    folder = unpacked(out, tmp_path / "unpacked")
    settings = {"WX_ACCESS_TOKEN": "t0ken-0123", "CLOUDFN_API_BASE": server.url}
    answer = run_in(folder, calling(platform, EVENT), **settings)
    assert (answer["helped"], answer["box"]["cropLeft"]) == (5, 112)
    (folder / "config.json").write_text("{}")
    assert run_in(folder, calling(platform, EVENT), **settings)["errCode"] == -604101


EVENTS = """
import base64, json
from {module} import {name} as entry
from cloudfn import CloudError
def call(event):
    event = json.dumps(event).encode() if {as_bytes} else event
    try:
        return entry(event, None)
    except CloudError as error:
        return ["raised", error.errCode]
http = {{"version": "2.0", "rawPath": "/", "rawQueryString": "", "headers": {{"content-type": "application/json"}},
    "requestContext": {{"http": {{"method": "POST", "path": "/"}}}}, "body": '{{"a": 1}}', "isBase64Encoded": False}}
coded = {{**http, "body": base64.b64encode(b'{{"a": 2}}').decode(), "isBase64Encoded": True}}
record = {{"s3": {{"bucket": {{"name": "shop"}}, "object": {{"key": "a+b.jpg"}}}}}}
answers = [call(event) for event in (
    {{"a": 0}}, {{"fail": 1}}, http, coded, {{"Records": [record]}}, {{"Records": [record], "fail": 1}})]
print(json.dumps(answers))
"""


@pytest.mark.parametrize("platform", ["scf", "lambda", "fc", "huawei"])
def test_every_event_reaches_a_bundles_function(platform: str, online: None, function: Path, tmp_path: Path) -> None:
    function.write_text(
        "async def main(event, context):\n"
        "    if 'fail' in event:\n"
        "        raise ValueError('s3cret')\n"
        "    return {'a': event.get('a'), 'keys': [stored.key for stored in context.objects]}\n"
    )
    out, _ = build(tmp_path, platform, function=(function, "main"))
    host = HOSTS[platform]
    code = EVENTS.format(module=Path(host.entry).stem, name=host.handler, as_bytes=host.delivers == "bytes")
    direct, failed, http, coded, stored, raised = run_in(unpacked(out, tmp_path / "unpacked"), code)
    assert direct == {"a": 0, "keys": []}
    assert failed == {"errCode": -504002, "errMsg": "functions execute fail: ValueError"}
    assert [json.loads(answer["body"])["a"] for answer in (http, coded)] == [1, 2]
    assert stored["keys"] == ["a b.jpg"]
    assert raised == ["raised", -504002]


def test_the_container_serves_with_the_engine(online: None, permitted: Path, tmp_path: Path, photo: Any) -> None:
    out, made = build(tmp_path, "cloudrun", backend="local")
    assert {"numpy", "pillow", "waitress"} <= {package.split()[0] for package in made.packages}
    folder = unpacked(out, tmp_path / "unpacked")
    docker = (folder / "Dockerfile").read_text()
    assert docker.startswith(f"FROM python:{PYTHON}-slim\n")
    command = json.loads(docker.splitlines()[-1].removeprefix("CMD "))
    assert command == ["python", "index.py"]
    port = free_port()
    with running([sys.executable, "-S", command[1]], port, folder, PORT=str(port)) as url:
        check_everything(url, photo("chelsea.jpg").read_bytes())


# ---- what pip is asked for, and what it does not answer


class _Pip:
    """Stands in for pip: keeps its arguments, and installs two files."""

    def __init__(self) -> None:
        self.run = subprocess.run
        self.arguments: list[str] = []

    def __call__(self, command: list[str], **more: Any) -> Any:
        if "pip" not in command:
            return self.run(command, **more)
        self.arguments = command
        target = Path(command[command.index("--target") + 1])
        for name in ("a/__init__.py", "a-1.0.dist-info/METADATA", "a-1.0.dist-info/RECORD", "bin/a", "a/b.pyc"):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_text("x")
        return subprocess.CompletedProcess(command, 0, "", "")

    def all_of(self, option: str) -> list[str]:
        return [after for before, after in zip(self.arguments, self.arguments[1:], strict=False) if before == option]


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> _Pip:
    fake = _Pip()
    monkeypatch.setattr(subprocess, "run", fake)
    return fake


def test_pip_is_asked_for_the_platforms_wheels(pip: _Pip, permitted: Path, tmp_path: Path) -> None:
    made = bundle.build(Plan(HOSTS["scf"], backend="local", arch="arm64"), tmp_path / "a.zip")
    assert pip.all_of("--platform") == ["manylinux_2_17_aarch64", "manylinux2014_aarch64"]
    assert (pip.all_of("--python-version"), pip.all_of("--abi")) == (["3.10"], ["cp310", "abi3", "none"])
    assert pip.all_of("--only-binary") == [":all:"]
    wanted = [*bundle.CORE, *bundle.EXTRAS["local"]]
    assert pip.arguments[-len(wanted) :] == wanted
    assert "cloudfn" not in " ".join(pip.arguments[pip.arguments.index("--no-input") :]).replace("/cloudfn-", "")
    assert made.packages == ("a 1.0",)
    assert {"a/__init__.py", "a-1.0.dist-info/METADATA"} <= set(made.names)
    assert not {"a-1.0.dist-info/RECORD", "bin/a", "a/b.pyc"} & set(made.names)
    bundle.build(Plan(HOSTS["lambda"]), tmp_path / "a.zip")
    assert {"manylinux_2_34_x86_64", "manylinux_2_28_x86_64", "manylinux2014_x86_64"} <= set(pip.all_of("--platform"))
    assert "manylinux_2_35_x86_64" not in pip.arguments


def test_the_requirements_are_the_distributions() -> None:
    listed = [line.lower() for line in requires("cloudfn-aicrop") or []]
    own = {line for line in listed if "extra" not in line}
    assert own | {"typing-extensions>=4.4"} == set(bundle.CORE)
    local = {line.partition(";")[0].strip() for line in listed if "local" in line}
    assert {requirement.lower() for requirement in bundle.EXTRAS["local"]} <= local


@pytest.mark.parametrize(
    "name",
    [
        *(".env", ".env.production", "deep/.env", "prod.env", "wx.pem", "id_rsa", "credentials.json", "a/secrets.yaml"),
        *("WX.PEM", "env.production", "service-account-prod.json", "terraform.tfstate", "terraform.tfstate.backup"),
        *("credentials", "Credentials-2.csv", "ID_ED25519", "id_deploy", "a/.Env.local"),
        *(
            "client_secret_1-apps.json",
            "AppSecret.txt",
            "secret.json",
            "wx-access_token.json",
            "login.ppk",
            "kubeconfig",
        ),
    ],
)
def test_a_secret_is_refused_by_name(name: str, pip: _Pip, function: Path, tmp_path: Path) -> None:
    (function.parent / name).parent.mkdir(exist_ok=True)
    (function.parent / name).write_text("WX_APPSECRET=s")
    with pytest.raises(CloudError, match=f"{re.escape(name)} is in the function's folder") as raised:
        build(tmp_path, "scf", function=(function, "main"))
    assert (raised.value.errCode, "--exclude" in raised.value.hint) == (-601002, True)
    assert (pip.arguments, (tmp_path / "scf.zip").exists()) == ([], False)
    _, made = build(tmp_path, "scf", function=(function, "main"), exclude=(name,))
    assert not [entry for entry in made.names if entry.endswith(name)]


def test_a_secret_in_the_code_is_refused(
    pip: _Pip, function: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WX_APPSECRET", "5ecret-0123456789")
    (function.parent / "helper.py").write_text('VALUE = "5ecret-0123456789"')
    with pytest.raises(CloudError, match=r"function/helper\.py holds the value of WX_APPSECRET") as raised:
        build(tmp_path, "scf", function=(function, "main"))
    assert "5ecret-" not in f"{raised.value!r} {raised.value} {raised.value.hint}"


def test_what_tools_leave_behind_stays_behind(pip: _Pip, function: Path, tmp_path: Path) -> None:
    earlier, _ = build(tmp_path, "lambda")
    earlier.rename(function.parent / "release-1.bin")  # an earlier bundle under another name
    (function.parent / "id_card.jpg").write_text("x")
    for name in (
        "x.tar",
        "Old.ZIP",
        ".git/config",
        "__pycache__/a.pyc",
        "earlier.zip",
        "venv/pyvenv.cfg",
        "env/pyvenv.cfg",
        "env/lib/x.py",
        ".env.example",
    ):
        (function.parent / name).parent.mkdir(exist_ok=True, parents=True)
        (function.parent / name).write_text("x")
    (function.parent / "data").mkdir()
    (function.parent / "data" / "a.txt").write_text("x")
    out = function.parent / "out.zip"
    out.write_text("an older bundle")
    made = bundle.build(Plan(HOSTS["scf"], function=(function, "main")), out)
    ours = [name for name in made.names if name.startswith("function/")]
    ours = [name for name in ours if not name.endswith(".pyc")]
    assert ours == ["function/data/a.txt", "function/helper.py", "function/id_card.jpg", "function/index.py"]


@pytest.mark.skipif(os.name == "nt", reason="symbolic links")
def test_a_link_that_leads_out_is_refused(pip: _Pip, function: Path, tmp_path: Path) -> None:
    (function.parent / "passwords.txt").symlink_to("/etc/passwd")
    with pytest.raises(CloudError, match=r"passwords\.txt is a link"):
        build(tmp_path, "scf", function=(function, "main"))


@pytest.mark.skipif(os.name == "nt", reason="symbolic links")
@pytest.mark.parametrize("target", ["../shared", "nowhere"])
def test_a_link_that_is_no_files_is_refused(target: str, pip: _Pip, function: Path, tmp_path: Path) -> None:
    """Left out without a word, what the function imports from there would be missing on the platform alone."""
    (function.parent.parent / "shared").mkdir(exist_ok=True)
    (function.parent / "lib").symlink_to(target)
    with pytest.raises(CloudError, match="lib is a link to a folder, or to nothing; copy what"):
        build(tmp_path, "scf", function=(function, "main"))
    build(tmp_path, "scf", function=(function, "main"), exclude=("lib",))


def test_a_bundle_that_cannot_be_written_leaves_nothing_half(pip: _Pip, permitted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "a.zip"
    folder.mkdir(parents=True)
    for out in (folder, permitted / "config.json" / "a.zip"):
        with pytest.raises(CloudError, match=r"a\.zip: cannot be written .*; name a file in a folder") as caught:
            bundle.build(Plan(HOSTS["scf"]), out)
        assert caught.value.errCode == -601002
    assert list(folder.parent.iterdir()) == [folder]


def test_a_bundle_over_the_platforms_limit(pip: _Pip, permitted: Path, tmp_path: Path) -> None:
    small = replace(HOSTS["lambda"], zip_bytes=1000)
    with pytest.raises(CloudError, match=r"bytes zipped, AWS Lambda takes 1,000"):
        bundle.build(Plan(small), tmp_path / "a.zip")
    with pytest.raises(CloudError, match=r"bytes unzipped, AWS Lambda takes 1,000"):
        bundle.build(Plan(replace(small, zip_bytes=None, unzipped_bytes=1000)), tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def test_a_bundle_needs_a_permission(pip: _Pip, permitted: Path, tmp_path: Path) -> None:
    (permitted / "config.json").unlink()
    with pytest.raises(CloudError) as raised:
        build(tmp_path, "scf")
    assert raised.value.errCode == -604101


def test_pip_that_fails(permitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    with pytest.raises(CloudError, match="pip cannot fetch the packages: No matching distribution found"):
        build(tmp_path, "scf")


# ---- the command


def test_the_command(pip: _Pip, function: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["package", "--platform", "scf", "--function", f"{function}:main", "--out", "f.zip"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("f.zip  for Tencent SCF, Python 3.10, x86_64, backend wechat\n")
    assert re.search(r"zipped +[\d,]+ bytes of 52,428,800\n", told.out)
    assert "index.main_handler" in told.out
    assert "WX_APPID" in told.err
    (function.parent / ".env").write_text("")
    assert main(["package", "--platform", "scf", "--function", f"{function}:main", "--out", "f.zip"]) == 3
    assert ".env is in the function's folder" in capsys.readouterr().err


def test_the_list_of_what_goes_in(pip: _Pip, function: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["package", "--platform", "scf", "--function", f"{function}:main", "--list"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert {"index.py", "config.json", "function/helper.py", "cloudfn/handler.py", "pip: urllib3>=2.6"} <= set(shown)
    assert not [name for name in shown if "crop/" in name]
    assert pip.arguments == []


def test_a_python_that_is_not_here_is_said(
    pip: _Pip, permitted: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert main(["package", "--platform", "scf", "--python", "3.19", "--out", "f.zip"]) == 0
    assert "compiled  no: python3.19 is not on this machine" in capsys.readouterr().out


def test_a_bundle_without_the_engine_says_so(online: None, permitted: Path, tmp_path: Path) -> None:
    out, _ = build(tmp_path, "lambda")
    folder = unpacked(out, tmp_path / "unpacked")
    answer = run_in(folder, calling("lambda", EVENT), CLOUDFN_BACKEND="local")
    assert answer["errCode"] == -601002
    assert "cloudfn package --backend local" in answer["errMsg"]


@pytest.mark.parametrize("backend", ["wechat", "local"])
def test_compiled_code_is_what_runs(backend: str, online: None, permitted: Path, tmp_path: Path) -> None:
    out, _ = build(tmp_path, "lambda", backend=backend)
    folder = unpacked(out, tmp_path / "unpacked")
    # Neither time nor content of the source is looked at: with another source the compiled code still runs.
    (folder / "cloudfn" / "codes.py").write_text("raise SystemExit('the source was read')")
    assert run_in(folder, calling("lambda", {"ratioList": "1"}))["errCode"] == -401002
    # What the first call needs is loaded when the entry is.
    needed = {"wechat": "cloudfn.backends.wechat", "local": "cloudfn.crop.faces"}[backend]
    code = f"import lambda_function, sys, json; print(json.dumps({needed!r} in sys.modules))"
    assert run_in(folder, code, WX_ACCESS_TOKEN="t0ken-0123") is True


@pytest.mark.parametrize("backend", ["wechat", "local"])
def test_the_first_call_loads_nothing(
    backend: str, online: None, permitted: Path, server: RecordingServer, tmp_path: Path, photo: Any
) -> None:
    server.answers = [http({"access_token": "t0ken-0123", "expires_in": 7200}), http(OK)]
    out, _ = build(tmp_path, "lambda", backend=backend)
    folder = unpacked(out, tmp_path / "unpacked")
    picture = base64.b64encode(photo("chelsea.jpg").read_bytes()).decode()
    event = {"img": {"contentType": "image/jpeg", "value": picture}, "ratios": "1,2.35"}
    code = (
        "import json, sys; from lambda_function import lambda_handler\n"
        f"loaded = set(sys.modules); answer = lambda_handler({event!r}, None)\n"
        "print(json.dumps([answer['errCode'], sorted(set(sys.modules) - loaded)]))"
    )
    account = {"WX_APPID": "wx1", "WX_APPSECRET": "5ecret", "CLOUDFN_API_BASE": server.url}
    assert run_in(folder, code, **account) == [0, []]
    assert len(server.requests) == (2 if backend == "wechat" else 0)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--platform", "scf"],
        ["--platform", "azure", "--out", "a.zip"],
        ["--platform", "scf", "--out", "a.tar"],
        ["--platform", "scf", "--out", "a"],
        ["--platform", "scf", "--out", "nowhere/a.zip"],
        ["--platform", "nowhere", "--out", "a.zip"],
        ["--platform", "scf", "--out", "a.zip", "--python", "3.9"],
        ["--platform", "scf", "--out", "a.zip", "--function", "none.py:main"],
        ["--platform", "scf", "--out", "a.zip", "--backend", "node"],
    ],
)
def test_usage(arguments: list[str], permitted: Path) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["package", *arguments])
    assert raised.value.code == 2
