"""Packages of npm, installed for a test."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def install(folder: Path, *packages: str) -> Path:
    """Install packages, or what the folder's package.json names; return node_modules, or skip where it cannot be."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", *packages]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install {' '.join(packages) or folder}: {done.stderr[-300:]}")
    return folder / "node_modules"
