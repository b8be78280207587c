"""How fast a batch is, against what it cannot beat; see BATCH.md beside it.

    python tests/benchmarks/batch.py speed FOLDER     the pool and a Dask cluster against plain engine processes
    python tests/benchmarks/batch.py many FOLDER N    N small pictures, the parent's memory, and the resume
    python tests/benchmarks/batch.py make FOLDER N SIDE   pictures to work on: SIDE x SIDE pixels at most, JPEG

Everything runs in two processes. What is compared takes turns, so that a machine's moods fall on all alike.
"""

from __future__ import annotations

import contextlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

PLAIN = """
import pathlib, sys, time
from cloudfn.crop import find
paths = pathlib.Path(sys.argv[1]).read_text().splitlines()
find(pathlib.Path(paths[0]).read_bytes(), (1.0, 2.35))
print("ready", flush=True)
sys.stdin.readline()
for path in paths:
    find(pathlib.Path(path).read_bytes(), (1.0, 2.35))
"""
ROUNDS = 5


def make(folder: Path, number: int, side: int) -> None:
    """Smooth noise with a disc somewhere: small files that cost what photographs of their size cost."""
    random = np.random.default_rng(1)
    for index in range(number):
        place = folder / f"{index // 1000:03}"
        place.mkdir(parents=True, exist_ok=True)
        height = int(random.integers(side // 2, side + 1))
        noise = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((side, height))
        pixels = np.asarray(noise).copy()
        x, y, r = random.integers(0, side), random.integers(0, height), side // 8
        rows, columns = np.ogrid[:height, :side]
        pixels[(rows - y) ** 2 + (columns - x) ** 2 < r * r] = random.integers(0, 256, 3)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=85)
        (place / f"{index:06}.jpg").write_bytes(file.getvalue())


def pictures(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*.jpg"))


def cpu() -> float:
    """Seconds of CPU that this process and all below it have had, those that ended included."""
    own = psutil.Process()
    total = 0.0
    for process in (own, *own.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def plain(paths: list[str]) -> tuple[float, float]:
    """Seconds, and seconds of CPU, of two loaded processes that call the engine in a loop, each on half."""
    with tempfile.TemporaryDirectory() as folder:
        running = []
        for number in range(2):
            half = Path(folder, str(number))
            half.write_text("\n".join(paths[number::2]))
            command = [sys.executable, "-c", PLAIN, str(half)]
            running.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        for process in running:
            assert process.stdout
            process.stdout.readline()
        start, before = time.perf_counter(), cpu()
        for process in running:
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
        for process in running:
            process.communicate()
        return time.perf_counter() - start, cpu() - before


def batch(paths: list[str], scheduler: str = "") -> tuple[float, float]:
    """Seconds, and seconds of CPU, from the workers' first results on: their start is another matter."""
    from cloudfn.batch import crop_all

    with tempfile.TemporaryDirectory() as folder:
        warm = [{"input": path, "ratios": "1"} for path in paths[:32]]  # enough for each worker to have loaded
        lines = crop_all(
            (source for part in (warm, paths) for source in part),
            "1,2.35",
            out=Path(folder, "r.jsonl"),
            workers=2,
            scheduler=scheduler,
        )
        for _ in range(32):
            next(lines)
        start, before = time.perf_counter(), cpu()
        number = sum(line["errCode"] == 0 for line in lines)
        assert number == len(paths)
        return time.perf_counter() - start, cpu() - before


@contextlib.contextmanager
def cluster(workers: int = 2) -> Iterator[str]:
    """A Dask scheduler and workers of one thread each, as processes of their own on loopback."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "scheduler.json")
        scheduler = subprocess.Popen(
            [
                *(sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"),
                *("--no-dashboard", "--scheduler-file", str(file)),
            ],
            stderr=subprocess.DEVNULL,
        )
        while not file.exists() or not file.read_text():
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        command = [
            *(sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"),
            *("--nworkers", str(workers), "--local-directory", folder, "--memory-limit", "0"),
        ]
        nannies = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            yield address
        finally:
            nannies.terminate()
            nannies.wait()
            scheduler.terminate()
            scheduler.wait()


def speed(folder: Path) -> None:
    paths = pictures(folder)
    with cluster() as scheduler:
        ways: dict[str, Callable[[], tuple[float, float]]] = {
            "two plain processes": lambda: plain(paths),
            "the process pool": lambda: batch(paths),
            "a Dask cluster of 2": lambda: batch(paths, scheduler),
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                taken[name].append(way())
    print(f"{len(paths)} pictures, {ROUNDS} rounds; medians")
    for name, pairs in taken.items():
        wall, busy = (statistics.median(pair[which] for pair in pairs) / len(paths) for which in (0, 1))
        print(f"{name:<22} {1 / wall:8.1f} pictures/s  {1000 * busy:6.1f} ms of CPU a picture")
    first, second, third = taken.values()
    for which, what in ((0, "time"), (1, "CPU")):
        pool = statistics.median(a[which] / b[which] for a, b in zip(first, second, strict=True))
        dask = statistics.median(a[which] / b[which] for a, b in zip(second, third, strict=True))
        print(f"by {what}: pool / plain {pool:.3f}, Dask / pool {dask:.3f}")


def many(folder: Path, number: int) -> None:
    if not folder.exists():
        make(folder, number, 128)
    out = folder.with_suffix(".jsonl")
    out.unlink(missing_ok=True)
    command = [sys.executable, "-m", "cloudfn", "batch", str(folder), "--ratios", "1", "--out", str(out)]
    start = time.perf_counter()
    process = subprocess.Popen([*command, "--workers", "2"])
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status")
        with contextlib.suppress(OSError, IndexError):
            memory = int(status.read_text().split("VmRSS:")[1].split()[0]) // 1024
            lines = out.stat().st_size if out.exists() else 0
            print(f"{time.perf_counter() - start:6.0f} s  parent {memory} MB  file {lines / 1e6:.1f} MB", flush=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
    lines = len(out.read_bytes().splitlines())
    print(f"exit code {process.returncode}, {time.perf_counter() - start:.0f} s, lines: {lines}")
    start = time.perf_counter()
    subprocess.run([*command, "--resume"], check=True)
    print(f"resume of the finished run: {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    kind, place, *rest = sys.argv[1:]
    if kind == "make":
        make(Path(place), int(rest[0]), int(rest[1]))
    elif kind == "speed":
        speed(Path(place))
    else:
        many(Path(place), int(rest[0]))
