"""The built wheel, unpacked away from the tree: its public face, its command and its data files."""

from __future__ import annotations

import fnmatch
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PUBLIC = {"DYNAMIC_CURRENT_ENV", "Cloud", "CloudError", "cut", "function", "get_wx_context", "init", "openapi"}
DATA_SUFFIXES = {".json", ".npz", ".LICENSE", ".typed", ".html", ".js", ".css", ".svg", ".jpg", ".md"}


# What a checkout holds besides its files: what tools leave behind.
LEFT_BEHIND = (".git", ".*_cache", ".hypothesis", ".benchmarks", "__pycache__", "*.egg-info", "build", "dist", "*venv")


class Built(NamedTuple):
    """A source distribution, and the wheel that is made of it."""

    sdist: Path
    wheel: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("built"))


def build(folder: Path) -> Built:
    """Build in a copy: a build leaves files behind, and one in the tree would pack those of earlier builds."""
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*LEFT_BEHIND), symlinks=True)
    command = [sys.executable, "-m", "build", "--outdir", str(folder / "dist"), str(source)]
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1767225600"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout[-3000:]
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    (wheel,) = (folder / "dist").glob("*.whl")
    return Built(sdist, wheel)


@pytest.fixture(scope="module")
def unpacked(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(built.wheel) as archive:
        archive.extractall(target)
    return target


@pytest.fixture(scope="module")
def source(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    target = tmp_path_factory.mktemp("sdist")
    with tarfile.open(built.sdist) as archive:
        archive.extractall(target, filter="data")
    (folder,) = target.iterdir()
    return folder


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


def test_the_metadata(unpacked: Path) -> None:
    (info,) = unpacked.glob("*.dist-info")
    metadata = message_from_bytes((info / "METADATA").read_bytes())
    assert metadata["Name"] == "cloudfn-aicrop"
    assert metadata["Author"] == "The cloudfn authors"
    assert metadata["License-Expression"] == "MIT AND Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.10"
    versions = {classifier.rpartition(" ")[2] for classifier in metadata.get_all("Classifier", [])}
    assert {"3.10", "3.11", "3.12", "3.13", "3.14"} <= versions
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload(decode=True) == (ROOT / "README.md").read_bytes()


def test_every_licence_goes_with_the_wheel(unpacked: Path) -> None:
    (info,) = unpacked.glob("*.dist-info")
    licences = {path.relative_to(info / "licenses").as_posix() for path in (info / "licenses").rglob("*.*")}
    wanted = {path.relative_to(ROOT).as_posix() for path in (ROOT / "cloudfn").rglob("*LICENSE*")}
    assert len(wanted) >= 3
    assert licences >= wanted
    assert (info / "licenses" / "LICENSE").is_file()


def test_nothing_else_is_in_the_wheel(unpacked: Path) -> None:
    assert {path.name.partition("-")[0] for path in unpacked.iterdir()} == {"cloudfn", "cloudfn_aicrop"}
    assert [path for path in unpacked.rglob("*") if path.suffix == ".pyc" or "test" in path.name] == [
        unpacked / "cloudfn" / "testing.py"
    ]


def test_two_builds_give_the_same_files(built: Built, tmp_path: Path) -> None:
    again = build(tmp_path)
    assert again.wheel.read_bytes() == built.wheel.read_bytes()
    assert again.sdist.read_bytes() == built.sdist.read_bytes()


def test_the_sdist_is_the_repository(source: Path) -> None:
    files = {path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file() and not left(path)}
    assert len(files) > 300
    assert sorted(str(name) for name in files if not (source / name).is_file()) == []


def left(path: Path) -> bool:
    """Whether tools left a file behind."""
    steps = path.relative_to(ROOT).parts
    return any(fnmatch.fnmatch(step, pattern) for step in steps for pattern in (*LEFT_BEHIND, "*.pyc"))


def test_the_sdists_own_tests_run(source: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not slow"]
    chosen = ["tests/unit/test_errors.py", "tests/unit/test_boxes.py", "tests/unit/call", "tests/wire/test_cloud.py"]
    done = subprocess.run(
        [*command, *chosen],
        cwd=source,
        env=os.environ | {"PYTHONPATH": str(source), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
