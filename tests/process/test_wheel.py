"""The built wheel, unpacked away from the tree: its public face, its command and its data files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PUBLIC = {"DYNAMIC_CURRENT_ENV", "Cloud", "CloudError", "cut", "function", "get_wx_context", "init", "openapi"}
DATA_SUFFIXES = {".json", ".npz", ".LICENSE", ".typed", ".html", ".js", ".css", ".svg", ".jpg", ".md"}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a build leaves files behind, and one in the tree would pack those of earlier builds
    shutil.copytree(ROOT / "cloudfn", source / "cloudfn", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("cloudfn_aicrop-*.whl")
    target = folder / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def run(unpacked: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the unpacked wheel in front of everything that is installed, away from the tree."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=unpacked,
        env=os.environ | {"PYTHONPATH": str(unpacked)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_public_name_is_there(unpacked: Path) -> None:
    done = run(
        unpacked,
        "-c",
        "import cloudfn; print(cloudfn.__file__); "
        "assert all(getattr(cloudfn, name) is not None for name in cloudfn.__all__); print(*cloudfn.__all__)",
    )
    assert done.returncode == 0, done.stderr
    where, names = done.stdout.splitlines()
    assert Path(where).is_relative_to(unpacked)
    assert set(names.split()) >= PUBLIC


def test_every_data_file_of_the_tree_is_in_the_wheel(unpacked: Path) -> None:
    wanted = {
        path.relative_to(ROOT)
        for path in (ROOT / "cloudfn").rglob("*")
        if path.is_file() and path.suffix in DATA_SUFFIXES
    }
    assert len(wanted) > 5
    assert sorted(str(name) for name in wanted if not (unpacked / name).is_file()) == []


def test_the_command_and_the_engine_run_from_the_wheel(unpacked: Path) -> None:
    photo = ROOT / "tests" / "photos" / "chelsea.jpg"
    done = run(unpacked, "-m", "cloudfn", "crop", str(photo), "--ratios", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert '"imgSize": {"w": 451, "h": 300}' in done.stdout


def test_what_generated_entry_files_import_is_there(unpacked: Path) -> None:
    done = run(
        unpacked,
        "-c",
        "from cloudfn import handler, settings; handler.main, handler.app, handler.main_handler, handler.load; "
        "handler.function; settings.use_code_folder(None); import cloudfn.testing, cloudfn.crop; cloudfn.crop.find",
    )
    assert done.returncode == 0, done.stderr
