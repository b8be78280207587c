"""Every command as a user runs it: a process of its own."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cloudfn.call.apis import APIS, Api
from cloudfn.cli import main
from cloudfn.cli.report import exit_code
from cloudfn.codes import CODES
from cloudfn.errors import CloudError
from tests.support.recording import RecordingServer, http

FUNCTION = """
import cloudfn as cloud
cloud.init(env=cloud.DYNAMIC_CURRENT_ENV)

def main(event, context):
    print("working")
    try:
        return cloud.openapi.img.aiCrop({"img": event["img"], "ratios": "1,2.35"})
    except cloud.CloudError as err:
        return err.to_dict()

def raises(event, context):
    return cloud.openapi.img.aiCrop({"imgUrl": "x"})

def breaks(event, context):
    return 1 / 0

def answers(event, context):
    return event

def no_json(event, context):
    return object()

number = 5
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(permitted: Path) -> Run:
    def run(*arguments: Any, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "cloudfn", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
            env={**os.environ, "PYTHONUTF8": "1", **environment},
        )

    return run


@pytest.fixture
def event(permitted: Path, photo: Any) -> Path:
    value = base64.b64encode(photo("raccoon-966x728.jpg").read_bytes()).decode()
    path = permitted / "event.json"
    path.write_text(json.dumps({"img": {"contentType": "image/jpeg", "value": value}, "userInfo": {}}))
    return path


@pytest.fixture
def function(tmp_path: Path) -> Path:
    (tmp_path / "function").mkdir()
    (tmp_path / "function" / "config.json").write_text('{"permissions": {"openapi": ["img.aiCrop"]}}')
    path = tmp_path / "function" / "index.py"
    path.write_text(FUNCTION)
    return path


def test_crop_tells_the_boxes(run: Run, photo: Any) -> None:
    done = run("crop", photo("raccoon-966x728.jpg"), "--ratios", "1,2.35")
    assert (done.returncode, done.stderr) == (0, "")
    first, square, wide = done.stdout.splitlines()
    assert first == f"{photo('raccoon-966x728.jpg')}  966x728"
    assert square.endswith("(728x728)")
    assert wide.endswith("(966x411)")


def test_crop_needs_no_permission_and_no_credentials(run: Run, permitted: Path, photo: Any) -> None:
    (permitted / "config.json").unlink()
    done = run("crop", photo("chelsea.jpg"), "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["errCode"], answer["imgSize"]) == (0, 0, {"w": 451, "h": 300})


def test_crop_writes_the_cut_pictures_and_a_preview(run: Run, permitted: Path, photo: Any) -> None:
    picture = photo("coffee-orientation-6.jpg")
    done = run(
        "crop",
        picture,
        "--ratios",
        "1, 16:9",
        "--out",
        permitted / "cut",
        "--preview",
        permitted / "p.png",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    boxes = json.loads(done.stdout)["results"]
    names = ["coffee-orientation-6-1.jpg", "coffee-orientation-6-16x9.jpg"]
    assert sorted(path.name for path in (permitted / "cut").iterdir()) == names
    for name, box in zip(names, boxes, strict=True):
        with Image.open(permitted / "cut" / name) as cut:
            assert cut.size == (box["cropRight"] - box["cropLeft"] + 1, box["cropBottom"] - box["cropTop"] + 1)
            assert cut.getexif().get(0x112, 1) == 1
    with Image.open(permitted / "p.png") as preview:
        assert (preview.format, preview.size) == ("PNG", (600, 400))
        left, top = boxes[1]["cropLeft"], boxes[1]["cropTop"]
        assert preview.getpixel((left + 300, top)) == (86, 180, 233)  # the second box's own edge


def test_crop_explains_and_takes_hints(run: Run, permitted: Path, photo: Any) -> None:
    arguments = ("crop", photo("chelsea.jpg"), "--ratios", 1, "--json")
    free = json.loads(run(*arguments, "--explain", "why.png").stdout)
    with Image.open(permitted / "why.png") as drawn:
        assert (drawn.format, drawn.width >= 451, drawn.height > 300) == ("PNG", True, True)  # a legend is below
        assert len(drawn.convert("RGB").getcolors(1 << 20) or ()) > 200
    assert free.pop("explain") == "why.png"
    assert free == json.loads(run(*arguments).stdout)
    done = run(*arguments, "--focus", "0,0,60,60:2")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["results"][0]["cropLeft"] == 0 < free["results"][0]["cropLeft"]
    outside = run(*arguments, "--focus", "0,0,451,60")
    assert (outside.returncode, outside.stdout) == (2, "")
    assert "not inside the picture of 451x300 pixels" in outside.stderr


def test_crop_analyses_a_picture_once(permitted: Path, photo: Any) -> None:
    script = (
        "import sys, cloudfn.cli; from cloudfn.crop import analysis\n"
        "count, find = [], analysis.find\n"
        "analysis.find = lambda *given: count.append(1) or find(*given)\n"
        "code = cloudfn.cli.main(['crop', sys.argv[1], '--explain', 'why.png', '--focus', '0,0,60,60'])\n"
        "sys.exit(code or len(count) != 1)"
    )
    command = [sys.executable, "-c", script, str(photo("chelsea.jpg"))]
    assert subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0
    assert (permitted / "why.png").exists()


def test_two_pictures_of_one_name_do_not_overwrite_each_other(run: Run, permitted: Path, photo: Any) -> None:
    other = permitted / "chelsea.jpg"
    other.write_bytes(photo("coffee.jpg").read_bytes())
    assert run("crop", photo("chelsea.jpg"), other, "--ratios", 1, "--out", "cut").returncode == 0
    sizes = []
    for name in ("chelsea-1.jpg", "chelsea-2-1.jpg"):
        with Image.open(permitted / "cut" / name) as cut:
            sizes.append(cut.size)
    assert sizes == [(300, 300), (400, 400)]


@pytest.mark.parametrize(
    ("pictures", "code"),
    [(["chelsea.jpg"], 0), (["chelsea.jpg", "none.jpg"], 4), (["none.jpg"], 1), (["none.jpg", "nor.jpg"], 1)],
)
def test_crop_goes_on_after_a_failure(pictures: list[str], code: int, run: Run, photo: Any) -> None:
    done = run("crop", *map(photo, pictures), "--json")
    assert done.returncode == code
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["errCode"] for line in lines] == [0 if name == "chelsea.jpg" else -401002 for name in pictures]
    assert done.stderr.count("No such file or directory") == len([name for name in pictures if name != "chelsea.jpg"])


def test_crop_tells_the_cure(run: Run, permitted: Path) -> None:
    (permitted / "a.jpg").write_text("<html>")
    done = run("crop", "a.jpg")
    assert done.returncode == 1
    assert done.stderr.startswith("cloudfn: a.jpg: the 6 bytes are no picture")
    assert "(errCode 101002)\n  send JPEG, PNG" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["crop"],
        ["crop", "a.jpg", "b.jpg", "--preview", "p.png"],
        ["crop", "a.jpg", "--preview", "p.txt"],
        ["crop", "a.jpg", "--ratios", "16/9"],
        ["crop", "a.jpg", "b.jpg", "--explain", "e.png"],
        ["crop", "a.jpg", "--explain", "e.txt"],
        ["crop", "a.jpg", "--explain", "e.png", "--backend", "wechat"],
        ["crop", "a.jpg", "--focus", "1,2,3"],
        ["crop", "a.jpg", "--backend", "x"],
        ["explain", "5"],
        ["invoke", "none.json"],
        ["invoke", "--function", "index.py"],
        ["invoke", "--function", "none.py:main"],
    ],
)
def test_usage(arguments: list[str], run: Run) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("cloudfn")
    assert len(done.stderr.splitlines()) <= 2  # the mistake, not all that the command takes


def test_crop_with_wechat(run: Run, server: RecordingServer, photo: Any) -> None:
    done = run(
        "crop", photo("chelsea.jpg"), "--backend", "wechat", WX_ACCESS_TOKEN="t0ken-0123", CLOUDFN_API_BASE=server.url
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "(728x728)" in done.stdout
    assert server.requests[0].parts[0][1] == photo("chelsea.jpg").read_bytes()
    assert run("crop", photo("chelsea.jpg"), "--backend", "wechat").returncode == 3


def test_a_failure_is_told_once_and_without_the_words_of_the_wire(run: Run, photo: Any) -> None:
    nobody = "http://127.0.0.1:1"
    done = run("crop", photo("chelsea.jpg"), "--backend", "wechat", WX_ACCESS_TOKEN="t0ken", CLOUDFN_API_BASE=nobody)
    assert done.stderr.startswith(f"cloudfn: {photo('chelsea.jpg')}: network error: ConnectionRefusedError")
    assert "(to 127.0.0.1:1) (errCode -601003)" in done.stderr
    done = run("crop", "http://127.0.0.1/a.jpg")
    assert done.stderr.startswith("cloudfn: http://127.0.0.1/a.jpg: the host 127.0.0.1 has the loopback address")


def test_crop_of_a_url(run: Run, permitted: Path, server: RecordingServer, photo: Any) -> None:
    server.answers = [http(photo("coffee.jpg").read_bytes(), content_type="image/jpeg")]
    url = f"{server.url}/shop/coffee.jpg?x=1"
    assert run("crop", url).returncode == 1
    done = run("crop", url, "--ratios", "1", "--out", "cut", CLOUDFN_ALLOW_HOSTS="127.0.0.1")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (permitted / "cut").iterdir()] == ["coffee-1.jpg"]
    assert len(server.requests) == 1


def test_invoke_the_handler(run: Run, event: Path, permitted: Path) -> None:
    for arguments in ([event], ["-"]):
        done = run("invoke", *arguments, stdin=event.read_text(), CLOUDFN_BACKEND="local")
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["imgSize"] == {"w": 966, "h": 728}
    (permitted / "config.json").unlink()
    done = run("invoke", event)
    assert done.returncode == 3
    assert json.loads(done.stdout) == {"errCode": -604101, "errMsg": "system error: error code: -604101"}
    assert done.stderr.count('put {"permissions": {"openapi": ["img.aiCrop"]}} into config.json') == 1


def test_invoke_a_function_of_ones_own(run: Run, event: Path, function: Path, permitted: Path) -> None:
    (permitted / "config.json").unlink()  # the one beside the function counts
    done = run("invoke", event, "--function", f"{function}:main", CLOUDFN_BACKEND="local")
    assert (done.returncode, done.stderr) == (0, "working\n")
    boxes = json.loads(done.stdout)["results"]
    assert [box["cropRight"] - box["cropLeft"] + 1 for box in boxes] == [728, 966]
    (function.parent / "config.json").unlink()
    assert run("invoke", event, "--function", f"{function}:main").returncode == 3


def test_invoke_a_function_that_fails(run: Run, function: Path) -> None:
    raises = run("invoke", "--function", f"{function}:raises")
    assert (raises.returncode, raises.stdout) == (1, "")
    assert "the function raised CloudError: imgUrl: got a URL" in raises.stderr
    breaks = run("invoke", "--function", f"{function}:breaks")
    assert breaks.returncode == 1
    assert "ZeroDivisionError" in breaks.stderr
    assert run("invoke", "--function", f"{function}:no_json").returncode == 1
    for name in ("number", "none"):
        assert run("invoke", "--function", f"{function}:{name}").returncode == 2
    assert run("invoke", "-", "--function", f"{function}:answers", stdin='{"错": [1.5, null]}').stdout == (
        '{\n  "错": [\n    1.5,\n    null\n  ]\n}\n'
    )


def test_an_event_that_is_not_json(run: Run) -> None:
    done = run("invoke", "-", stdin='{\n"a": }')
    assert done.returncode == 2
    assert "standard input is not JSON: line 2, column 6" in done.stderr


def test_check_of_a_good_set_up(run: Run, permitted: Path) -> None:
    token = "t0ken-" + "x" * 100
    done = run("check", WX_ACCESS_TOKEN=token, CLOUDFN_TIMEOUT="5")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{permitted / 'config.json'} grants img.aiCrop" in done.stdout
    assert "WX_ACCESS_TOKEN                set, 106 characters (environment)" in done.stdout
    assert "wechat answers" in done.stdout
    assert "at most 5 s" in done.stdout
    assert "warning" not in done.stdout
    assert "t0ken-" not in done.stdout
    local = run("check")
    assert local.returncode == 0
    assert "local answers" in local.stdout


def test_check_of_a_broken_set_up(run: Run, permitted: Path) -> None:
    (permitted / "config.json").write_text('{"permissions": {"openapi": ["img.aicrop"]}}')
    (permitted / ".env").write_text("WX_APPID=app\nCLOUDFN_API_BASE=http://example.com\n")
    done = run("check", CLOUDFN_TIMEUOT="5", AWS_LAMBDA_FUNCTION_NAME="f")
    assert (done.returncode, done.stderr) == (3, "")
    report = done.stdout
    assert "WX_APPID                       app (.env)" in report
    assert "did you mean CLOUDFN_TIMEOUT?" in report
    assert '"img.aicrop" is not the name' in report
    assert "set WX_APPSECRET too" in report
    assert "CLOUDFN_API_BASE: got http://example.com" in report
    assert "AWS Lambda" in report
    assert "the platforms' default is 3 s" in report
    assert report.count("problem ") == 3
    (permitted / ".env").write_text("WX_APPID=app\nWX_APPSECRET=5ecret\n")
    report = run("check").stdout
    assert "copy it anew: wx and 16 digits" in report
    assert "copy it anew: 32 digits" in report
    assert "5ecret" not in report


def test_check_tells_every_bad_value(run: Run) -> None:
    done = run("check", CLOUDFN_TIMEOUT="soon", CLOUDFN_BACKEND="wehcat")
    assert done.returncode == 3
    assert "CLOUDFN_TIMEOUT: got 'soon' (environment)" in done.stdout
    assert "cure: expected a number" in done.stdout
    assert "CLOUDFN_BACKEND: got 'wehcat' (environment)" in done.stdout
    assert "cure: expected one of auto, wechat, local" in done.stdout


def test_check_of_what_a_call_would_trip_over(run: Run, permitted: Path) -> None:
    (permitted / "no.pem").write_text("no certificate")
    (permitted / ".env").write_text("WX_APP_SECRET=x\nWX_OPENID=o\n")
    done = run(
        "check",
        WX_CLOUDBASE_ACCESS_TOKEN_FILE="none",
        CLOUDFN_CA_BUNDLE="no.pem",
        CLOUDFN_API_BASE="https://user:passw0rd@example.com",
    )
    assert done.returncode == 3
    assert "none cannot be read" in done.stdout
    assert "CLOUDFN_CA_BUNDLE              cannot be used" in done.stdout
    assert "did you mean WX_APPSECRET?" in done.stdout
    assert "WX_OPENID" not in done.stdout
    assert "passw0rd" not in done.stdout


def test_a_wrong_clock(monkeypatch: pytest.MonkeyPatch, permitted: Path, capsys: Any) -> None:
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert main(["check"]) == 3
    assert "1970-01-01 00:00:00 UTC is in the past" in capsys.readouterr().out


def test_one_of_two_failures_is_configuration() -> None:
    configuration, call = CloudError(-604101, ""), CloudError(101002, "")
    assert exit_code([configuration, configuration], of=2) == 3
    assert exit_code([configuration, call], of=2) == 1
    assert exit_code([configuration], of=2) == 4


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_interrupted(permitted: Path, server: RecordingServer) -> None:
    server.answers = [lambda connection: connection.recv(1)]
    environment = {**os.environ, "WX_ACCESS_TOKEN": "t", "CLOUDFN_API_BASE": server.url}
    command = [sys.executable, "-m", "cloudfn", "crop", "https://example.com/a.jpg", "--backend", "wechat"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        while not server.requests:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)
    assert (process.returncode, told) == (130, b"")


def test_the_same_ratio_twice_makes_two_files(run: Run, permitted: Path, photo: Any) -> None:
    assert run("crop", photo("chelsea.jpg"), "--ratios", "1,1", "--out", "cut").returncode == 0
    assert sorted(path.name for path in (permitted / "cut").iterdir()) == ["chelsea-1.jpg", "chelsea-1_2.jpg"]


def test_version_and_no_command(run: Run) -> None:
    assert run("--version").stdout.strip()[0].isdigit()
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert "explain" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["explain", "-1"], ["--version"]])
def test_output_that_cannot_be_written(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "cloudfn", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_explain(run: Run) -> None:
    for asked in ("-604101", "no_permission"):
        done = run("explain", asked)
        assert done.returncode == 0
        assert "function has no permission to call this API" in done.stdout
        assert "config.json" in done.stdout
    every = run("explain").stdout.splitlines()
    assert [int(line.split()[0]) for line in every] == list(CODES)
    assert "did you mean NO_PERMISSION?" in run("explain", "NO_PERMISION").stderr


@pytest.mark.parametrize("api", APIS.values(), ids=APIS)
def test_explain_a_cloud_call(api: Api, run: Run) -> None:
    done = run("explain", api.name)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:2] == [api.name, f"  path        {api.path}"]
    assert [line.split()[0] for line in lines if line.startswith("    ")] == list(api.fields)
    assert f'  config.json {{"permissions": {{"openapi": ["{api.name}"]}}}}' in lines
    assert lines[-1].startswith("  answered by WeChat")
    assert lines[-1].endswith(f'-e ".[{api.extra}]")' if api.extra else " alone")
    assert f"did you mean {api.name}?" in run("explain", api.name.lower() + "x").stderr


def test_a_bad_setting_is_configuration(run: Run, photo: Any) -> None:
    done = run("crop", photo("chelsea.jpg"), CLOUDFN_TIMEOUT="soon")
    assert (done.returncode, done.stdout) == (3, "")
    assert "CLOUDFN_TIMEOUT: got 'soon' (environment)" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_a_reader_that_goes_away(photo: Any) -> None:
    script = f"{sys.executable} -m cloudfn explain | head -n 1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.startswith("      -1")


def test_crop_never_replaces_its_input(run: Run, permitted: Path, photo: Any) -> None:
    data = photo("chelsea.jpg").read_bytes()
    for name in ("a.jpg", "a-1.jpg"):
        (permitted / name).write_bytes(data)
    (permitted / "link.jpg").symlink_to("a.jpg")
    for option in ("--preview", "--explain"):
        for name in ("a.jpg", "./a.jpg", "link.jpg"):
            done = run("crop", "a.jpg", option, name)
            assert (done.returncode, done.stderr.count("is the picture itself")) == (2, 1)
    done = run("crop", "a.jpg", "a-1.jpg", "--ratios", 1, "--out", ".")
    assert done.returncode == 4
    assert "a-1.jpg is a picture of the input" in done.stderr
    assert [(permitted / name).read_bytes() for name in ("a.jpg", "a-1.jpg")] == [data, data]


def test_a_preview_into_a_folder_that_is_not_there(run: Run, permitted: Path, photo: Any) -> None:
    done = run("crop", photo("chelsea.jpg"), "--preview", "none/p.png")
    assert done.returncode == 2
    assert "there is no folder none" in done.stderr
    assert not (permitted / "none").exists()


def test_crop_takes_folders_and_standard_input(run: Run, permitted: Path, photo: Any) -> None:
    (permitted / "in" / "deep").mkdir(parents=True)
    for name in ("b.jpg", "deep/a.jpg"):
        (permitted / "in" / name).write_bytes(photo("chelsea.jpg").read_bytes())
    options = ("--ratios", "1", "--out", "cut", "--size", "40x", "--format", "webp", "--quality", 40)
    done = run("crop", "in", *options)
    assert done.returncode == 0, done.stderr
    wrote = [line.split()[-1] for line in done.stdout.splitlines() if line.startswith("  ")]
    assert wrote == ["cut/b-1.webp", "cut/deep/a-1.webp"]
    for name in wrote:
        with Image.open(permitted / name) as image:
            assert (image.format, image.size) == ("WEBP", (40, 40))
    listed = run("crop", "-", "--json", stdin="in/b.jpg\nin/none.jpg\n")
    assert [json.loads(line)["errCode"] for line in listed.stdout.splitlines()] == [0, -401002]
    command = [sys.executable, "-m", "cloudfn", "crop", "-", "--json"]
    piped = subprocess.run(command, input=(permitted / "in" / "b.jpg").read_bytes(), capture_output=True, check=True)
    assert json.loads(piped.stdout)["imgSize"] == {"w": 451, "h": 300}


def test_a_name_that_the_terminal_cannot_show(permitted: Path, photo: Any) -> None:
    (permitted / "猫😀.jpg").write_bytes(photo("chelsea.jpg").read_bytes())
    environment = {**os.environ, "PYTHONIOENCODING": "gbk"}
    for options in ([], ["--json"]):
        command = [sys.executable, "-m", "cloudfn", "crop", "猫😀.jpg", "无😀.jpg", *options]
        done = subprocess.run(command, capture_output=True, check=False, env=environment)
        assert done.returncode == 4
        assert "Traceback" not in done.stderr.decode("gbk")
        if options:
            assert json.loads(done.stdout.decode("gbk").splitlines()[0])["picture"] == "猫😀.jpg"
        else:
            assert done.stdout.decode("gbk").startswith("猫")


@pytest.mark.skipif(os.name == "nt", reason="POSIX shells")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams(closed: str, permitted: Path, photo: Any) -> None:
    script = f"{sys.executable} -m cloudfn crop {photo('chelsea.jpg')} {photo('chelsea.jpg').parent} {closed}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_crop_without_the_engines_packages(permitted: Path, photo: Any) -> None:
    script = (
        "import sys; sys.modules.update(numpy=None, PIL=None, rich=None, fsspec=None)\n"
        "import cloudfn.cli; sys.exit(cloudfn.cli.main(sys.argv[1:]))"
    )
    for options in (["--preview", "p.png"], [], ["--out", "cut"]):
        command = [sys.executable, "-c", script, "crop", str(photo("chelsea.jpg")), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (3, "")
        assert "(errCode -601002)" in done.stderr
        assert "pip install" in done.stderr
        assert "Traceback" not in done.stderr
