"""Resident memory of the server under load: `python -m tests.benchmarks.soak CURVE.png [--requests N] [--every N]`.

Starts `cloudfn serve --workers 1` on loopback and asks it, by four clients at a time, for crops of the photographs in
turn, every tenth request being a bad one: no picture, half a picture, no body. Prints the worker's resident memory
every so many requests, and draws the curve.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from PIL import Image, ImageDraw, ImageFont

PHOTOS = Path(__file__).parent.parent / "photos"
CLIENTS = 4
SIZE, MARGIN = (900, 420), 60  # pixels of the drawing


@contextmanager
def serving(folder: str) -> Iterator[tuple[str, int]]:
    """The address of a server with one worker, and the worker's process id."""
    command = [sys.executable, "-m", "cloudfn", "serve", "--port", "0", "--workers", "1"]
    with (Path(folder) / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert server.stdout
        address = server.stdout.readline().strip()
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        yield address, max(map(int, children), key=resident)  # the other child is multiprocessing's tracker
    finally:
        server.terminate()
        server.wait(60)


def resident(pid: int) -> float:
    """MiB of a process that are in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def bodies() -> list[bytes]:
    """What is sent, in turn: nine photographs, and something bad."""
    photos = [path.read_bytes() for path in sorted(PHOTOS.glob("*.jpg"))]
    bad = (b"no picture at all", photos[0][: len(photos[0]) // 2], b"")
    good = [photos[number % len(photos)] for number in range(9 * len(bad))]
    return [body for number, wrong in enumerate(bad) for body in (*good[9 * number : 9 * number + 9], wrong)]


def ask(address: str, body: bytes) -> int:
    """The errcode of one call."""
    files: dict[str, Any] = {"img": ("a.jpg", body, "image/jpeg"), "ratios": (None, "1,2.35")}
    answer = requests.post(f"{address}/cv/img/aicrop?access_token=T", files=files, timeout=60)
    return int(answer.json()["errcode"])


def soak(count: int, every: int) -> list[tuple[int, float]]:
    """Requests made so far -> MiB of the worker, the first before any."""
    sent, answers = bodies(), dict[int, int]()
    with tempfile.TemporaryDirectory() as folder, serving(folder) as (address, pid):
        curve = [(0, resident(pid))]
        with ThreadPoolExecutor(CLIENTS) as clients:
            for begin in range(0, count, every):
                numbers = range(begin, min(begin + every, count))
                for code in clients.map(lambda number: ask(address, sent[number % len(sent)]), numbers):
                    answers[code] = answers.get(code, 0) + 1
                curve.append((numbers.stop, resident(pid)))
                print(f"{curve[-1][0]:>6} requests  {curve[-1][1]:.1f} MiB", flush=True)
    print("answers by errcode:", dict(sorted(answers.items())))
    return curve


def draw(curve: list[tuple[int, float]]) -> Image.Image:
    """The curve, from zero upwards, on axes with their greatest values."""
    image = Image.new("RGB", SIZE, "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(14)
    width, height = SIZE[0] - 2 * MARGIN, SIZE[1] - 2 * MARGIN
    most = max(size for _, size in curve) * 1.1
    step = 25

    def place(requests_made: float, size: float) -> tuple[float, float]:
        return MARGIN + width * requests_made / curve[-1][0], SIZE[1] - MARGIN - height * size / most

    for level in range(0, int(most) + 1, step):
        pen.line([place(0, level), place(curve[-1][0], level)], fill="#dddddd")
        pen.text((MARGIN - 8, place(0, level)[1]), str(level), fill="black", font=font, anchor="rm")
    for share in range(5):
        made = curve[-1][0] * share // 4
        pen.text((place(made, 0)[0], SIZE[1] - MARGIN + 8), f"{made:,}", fill="black", font=font, anchor="ma")
    pen.line([place(*point) for point in curve], fill="#1f6feb", width=3)
    pen.text((MARGIN, 20), "Resident memory of one worker, MiB", fill="black", font=font)
    pen.text((SIZE[0] // 2, SIZE[1] - 20), "requests", fill="black", font=font, anchor="mm")
    return image


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("curve", type=Path, help="the PNG to write")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--every", type=int, default=100)
    arguments = parser.parse_args()
    draw(soak(arguments.requests, arguments.every)).save(arguments.curve, "PNG")


if __name__ == "__main__":
    main()
