"""Type checkers, in their strict modes, on users' own programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import npm

ROOT = Path(__file__).parents[2]

RIGHT = """
import cloudfn as cloud

cloud.init(env=cloud.DYNAMIC_CURRENT_ENV)


def main(event: dict[str, str], context: object) -> dict[str, object]:
    try:
        result = cloud.openapi.img.aiCrop({"imgUrl": event["imgUrl"], "ratios": "1,2.35"})
        same = cloud.Cloud(backend="local").openapi.img.aiCrop(img=b"...", ratios=[1, "16:9"])
        left: int = result["results"][0]["cropLeft"] + same["imgSize"]["w"]
        return {"left": left, "pictures": cloud.cut(b"...", result, size=(200, None))}
    except cloud.CloudError as err:
        code: int = err.errCode
        return {**err.to_dict(), "hint": err.hint, "again": err.retryable, "code": code}


async def many(urls: list[str]) -> list[object]:
    return [await cloud.aio.openapi.img.aiCrop(imgUrl=url) for url in urls]
"""


# What is right in that program -> what somebody wrote in its place.
SLIPS = [
    ('{"imgUrl": event', '{"imgURL": event'),
    ('"ratios": "1,2.35"', '"ratio": "1,2.35"'),
    ('img=b"..."', 'image=b"..."'),
    ('["cropLeft"]', '["crop_left"]'),
    ("ratios=[1", "ratios=[None"),
    ("err.hint", "err.cure"),
]


def slip(right: str, wrong: str) -> str:
    """Return the program with that slip in it."""
    assert RIGHT.count(right) == 1
    return RIGHT.replace(right, wrong)


def mypy(folder: Path, program: str) -> str:
    """Return what mypy prints of a program.

    Each program is a module of its own: in the shared cache two of equal length, written in one second, count as one.
    """
    file = f"{folder.name}.py"  # pytest makes a folder's name of letters, digits and underscores, a new one each time
    (folder / file).write_text(program)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file",
        "",
        "--cache-dir",
        str(folder.parent / "types"),
        file,
    ]
    done = subprocess.run(
        command, cwd=folder, env={"MYPYPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True, check=False
    )
    return done.stdout


def test_a_users_program_passes_strict(tmp_path: Path) -> None:
    assert mypy(tmp_path, RIGHT) == "Success: no issues found in 1 source file\n"


@pytest.mark.parametrize(("right", "wrong"), SLIPS)
def test_a_slip_is_an_error(right: str, wrong: str, tmp_path: Path) -> None:
    assert "error: " in mypy(tmp_path, slip(right, wrong))


@pytest.fixture(scope="module")
def pyright(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What pyright says of each program; one run for all of them."""
    modules = npm.install(tmp_path_factory.mktemp("npm"), "pyright@1.1.414")
    folder = tmp_path_factory.mktemp("pyright")
    programs = [RIGHT, *(slip(*words) for words in SLIPS)]
    for number, program in enumerate(programs):
        (folder / f"{number}.py").write_text(program)
    (folder / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict", "extraPaths": [str(ROOT)]}))
    command = [str(modules / ".bin" / "pyright"), "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    messages = json.loads(done.stdout)["generalDiagnostics"]
    return {
        program: [message["message"] for message in messages if message["file"].endswith(f"{number}.py")]
        for number, program in enumerate(programs)
    }


def test_pyright_passes_a_users_program(pyright: dict[str, list[str]]) -> None:
    assert pyright[RIGHT] == []


@pytest.mark.parametrize(("right", "wrong"), SLIPS)
def test_a_slip_is_an_error_to_pyright(right: str, wrong: str, pyright: dict[str, list[str]]) -> None:
    assert pyright[slip(right, wrong)]


def test_help_names_the_parameters() -> None:
    code = "import cloudfn; help(cloudfn.openapi.img.aiCrop)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "openapi.img.aiCrop" in done.stdout
    for name in ("imgUrl: an http or https URL", "ratios: at most five", "img: {contentType, value}"):
        assert name in done.stdout
