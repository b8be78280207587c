"""What a type checker says of users' own programs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('{"imgUrl": event', '{"imgURL": event'),
        ('"ratios": "1,2.35"', '"ratio": "1,2.35"'),
        ('img=b"..."', 'image=b"..."'),
        ('["cropLeft"]', '["crop_left"]'),
        ("ratios=[1", "ratios=[None"),
        ("err.hint", "err.cure"),
    ],
)
def test_a_slip_is_an_error(right: str, wrong: str, tmp_path: Path) -> None:
    assert RIGHT.count(right) == 1
    assert "error: " in mypy(tmp_path, RIGHT.replace(right, wrong))


def test_help_names_the_parameters() -> None:
    code = "import cloudfn; help(cloudfn.openapi.img.aiCrop)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "openapi.img.aiCrop" in done.stdout
    for name in ("imgUrl: an http or https URL", "ratios: at most five", "img: {contentType, value}"):
        assert name in done.stdout
