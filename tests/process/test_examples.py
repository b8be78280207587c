"""Every example of the documentation, run as its reader would."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cloudfn.handler import main
from cloudfn.testing import Server
from tests.process.test_sdk import modules  # noqa: F401 - a fixture
from tests.support.docs import ROOT, blocks
from tests.support.recording import RecordingServer, http

EXAMPLES = ROOT / "docs" / "examples"
PHOTOS = ROOT / "tests" / "photos"
PHOTO = PHOTOS / "raccoon-966x728.jpg"


def run(*command: str, at: Path = EXAMPLES, stdin: str = "", **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=at,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"} | environment,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def pictures() -> Iterator[RecordingServer]:
    with RecordingServer(http(PHOTO.read_bytes(), content_type="image/jpeg")) as server:
        yield server


def test_an_avatar(tmp_path: Path) -> None:
    out = tmp_path / "avatar.png"
    run(sys.executable, "avatar.py", str(PHOTOS / "astronaut.jpg"), str(out))
    with Image.open(out) as picture:
        assert (picture.format, picture.size) == ("PNG", (256, 256))


def test_thirty_urls_at_once(pictures: RecordingServer) -> None:
    urls = [pictures.at(f"/{number}.jpg") for number in range(29)] + ["https://example.com:99999/bad.jpg"]
    out = run(
        sys.executable,
        "many_urls.py",
        stdin="\n".join(urls),
        CLOUDFN_BACKEND="local",
        CLOUDFN_ALLOW_HOSTS="127.0.0.1",
    )
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["url"] for answer in answers] == urls
    assert [answer["errCode"] for answer in answers[:29]] == [0] * 29
    assert [len(answer["results"]) for answer in answers[:29]] == [2] * 29
    assert answers[29]["errCode"] != 0


def test_crop_cut_and_store_on_a_storage_event(tmp_path: Path) -> None:
    boto3 = pytest.importorskip("boto3")
    moto = pytest.importorskip("moto.server")
    bucket = moto.ThreadedMotoServer("127.0.0.1", 0)
    bucket.start()
    try:
        host, port = bucket.get_host_and_port()
        environment = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "key",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        os.environ.update(environment)
        storage = boto3.client("s3")
        storage.create_bucket(Bucket="album")
        storage.put_object(Bucket="album", Key="photos/my cat.jpg", Body=(PHOTOS / "chelsea.jpg").read_bytes())
        event = json.dumps({"Records": [record("photos/my+cat.jpg"), record("cut/square/old.jpg")]})
        (tmp_path / "event.json").write_text(event)
        command = ["-m", "cloudfn", "invoke", str(tmp_path / "event.json"), "--function", "on_upload.py:main"]
        told = run(sys.executable, *command, "--platform", "lambda", "--timeout", "60", CLOUDFN_BACKEND="local")
        assert json.loads(told) == {"stored": ["cut/square/my cat.jpg", "cut/banner/my cat.jpg"]}
        for key, size in (("cut/square/my cat.jpg", (300, 300)), ("cut/banner/my cat.jpg", (451, 192))):
            kept = storage.get_object(Bucket="album", Key=key)
            assert kept["ContentType"] == "image/jpeg"
            with Image.open(io.BytesIO(kept["Body"].read())) as picture:
                assert picture.size == size
        storage.close()
    finally:
        bucket.stop()


def record(key: str) -> dict[str, Any]:
    """A record of an S3 event, whose keys are encoded as a form's values."""
    return {
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "awsRegion": "us-east-1",
        "s3": {"bucket": {"name": "album"}, "object": {"key": key, "size": 1}},
    }


class Lambda(BaseHTTPRequestHandler):
    """Lambda's Invoke operation, with the ready-made function behind it."""

    def do_POST(self) -> None:
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = self.path == "/2015-03-31/functions/crop/invocations"
        answer = json.dumps(main(event, None) if known else {}).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.mark.parametrize("language", ["en", "zh"])
def test_fanning_out_to_a_function(
    language: str, pictures: RecordingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("boto3")
    page = (ROOT / "docs" / language / "batch.md").read_text(encoding="utf-8")
    (code,) = [block.code for block in blocks(page) if "boto3" in block.code]
    monkeypatch.setenv("CLOUDFN_BACKEND", "local")
    monkeypatch.setenv("CLOUDFN_ALLOW_HOSTS", "127.0.0.1")
    monkeypatch.chdir(EXAMPLES)  # where a config.json permits the call
    (tmp_path / "urls.txt").write_text("".join(pictures.at(f"/{number}.jpg\n") for number in range(60)) + "ftp://no\n")
    with ThreadingHTTPServer(("127.0.0.1", 0), Lambda) as deployed:
        thread = threading.Thread(target=deployed.serve_forever)
        thread.start()
        try:
            run(
                *(sys.executable, "-c", code),
                at=tmp_path,
                AWS_ENDPOINT_URL=f"http://127.0.0.1:{deployed.server_port}",
                AWS_ACCESS_KEY_ID="id",
                AWS_SECRET_ACCESS_KEY="key",
                AWS_DEFAULT_REGION="us-east-1",
            )
        finally:
            deployed.shutdown()
            thread.join()
    answers = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [len(answer["results"]) for answer in answers[:60]] == [2] * 60
    assert [answer["errCode"] for answer in answers] == [0] * 60 + [-401002]


def test_the_same_function_in_node_and_python(modules: Path, pictures: RecordingServer) -> None:  # noqa: F811
    here = EXAMPLES / "same_function"
    event = json.dumps({"imgUrl": pictures.at("/a.jpg")})
    with Server(allow_hosts=["127.0.0.1"]) as server:
        started = "require('./index.js').main(JSON.parse(process.argv[1])).then(r => console.log(JSON.stringify(r)))"
        node = run("node", "-e", started, event, at=here, **server.variables, NODE_PATH=str(modules))
        command = ["-m", "cloudfn", "invoke", "-", "--function", "index.py:main"]
        python = run(sys.executable, *command, at=here, stdin=event, **server.variables)
    answer = json.loads(node.splitlines()[-1])
    assert answer["errCode"] == 0
    assert len(answer["results"]) == 2
    assert json.loads(python) == answer


def test_the_pytest_file() -> None:
    out = run(
        *(
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-c",
            os.devnull,
            "--rootdir=.",
            "test_index.py",
        ),
        at=EXAMPLES / "same_function",
        PYTEST_ADDOPTS="",
    )
    assert "3 passed" in out


def test_every_example_is_in_the_list_and_has_its_test() -> None:
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    here = Path(__file__).read_text(encoding="utf-8")
    files = [path for path in EXAMPLES.rglob("*") if path.suffix in (".py", ".js") and "__pycache__" not in path.parts]
    assert len(files) == 6
    for path in files:
        assert path.name in here
        assert path.name in listed or f"({path.parent.name})" in listed
