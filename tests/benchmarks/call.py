"""What a call costs, in turn with the real wx-server-sdk and with bare requests, against a server on loopback.

    python tests/benchmarks/call.py NODE_MODULES [--rounds 11] [--before FOLDER]

NODE_MODULES is a folder in which `npm install wx-server-sdk@4.0.2` has run. Every figure is the median of the rounds;
in each round everyone takes his turn, so that what else the machine does falls on all alike. FOLDER holds another
version of the package, which takes its turn too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "call"
SIZES = {"100 KB": 100_000, "1.9 MB": 1_900_000}
WHO = ("sdk", "bare", "before", "cloudfn", "base64")
# Name, size, calls, at once, figure.
ROWS = (
    ("process start to first answer, 100 KB, ms", "100 KB", 0, 1, "wall"),
    ("the same, CPU, ms", "100 KB", 0, 1, "cpu_all"),
    ("the same, peak memory, MB", "100 KB", 0, 1, "memory"),
    ("warm 100 KB, CPU a call, ms", "100 KB", 400, 1, "cpu"),
    ("warm 100 KB, 32 at once, ms a call", "100 KB", 960, 32, "ms"),
    ("warm 1.9 MB, CPU a call, ms", "1.9 MB", 60, 1, "cpu"),
    ("warm 1.9 MB, 32 at once, ms a call", "1.9 MB", 192, 32, "ms"),
    ("the same, peak memory, MB", "1.9 MB", 192, 32, "memory"),
)


def run(who: str, port: str, picture: Path, calls: int, at_once: int, places: argparse.Namespace) -> dict[str, float]:
    """Start one process and measure it from outside, and what it measures itself."""
    peer = "cloudfn" if who == "before" else who
    program = ["node", str(HERE / "sdk.js")] if who == "sdk" else [sys.executable, str(HERE / "peers.py"), peer]
    command = [*program, port, str(picture), str(calls), str(at_once)]
    environment = {**os.environ, "NODE_PATH": str(places.modules.resolve())}
    if who == "before":
        environment["PYTHONPATH"] = str(places.before.resolve())
    folder = picture.parent
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{who} failed"
    process.stdout.close()
    return {
        "wall": (time.perf_counter() - started) * 1000,
        "cpu_all": (used.ru_utime + used.ru_stime) * 1000,
        "memory": used.ru_maxrss / 1024,
        **(json.loads(said) if said else {}),
    }


def measure(places: argparse.Namespace) -> dict[tuple[Any, ...], dict[str, list[dict[str, float]]]]:
    who_runs = [who for who in WHO if who != "before" or places.before]
    cases = list(dict.fromkeys(row[1:4] for row in ROWS))
    found: dict[tuple[Any, ...], dict[str, list[dict[str, float]]]] = {
        case: {who: [] for who in who_runs} for case in cases
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text('{"permissions": {"openapi": ["img.aiCrop"]}}')
        for size, count in SIZES.items():
            (folder / size).write_bytes(b"\xff\xd8\xff\xe0" + os.urandom(count - 4))
        with subprocess.Popen(["node", str(HERE / "server.js")], stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            port = server.stdout.readline().strip()
            for _ in range(places.rounds):
                for case in cases:
                    for who in who_runs:
                        found[case][who].append(run(who, port, folder / case[0], case[1], case[2], places))
            server.terminate()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", type=Path)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--before", type=Path)
    places = parser.parse_args()
    found = measure(places)
    print(
        "| | SDK | requests | before | cloudfn | base64 | to the SDK | to requests |\n|---|---|---|---|---|---|---|---|"
    )
    for name, *case, figure in ROWS:
        medians = {who: statistics.median(one[figure] for one in runs) for who, runs in found[tuple(case)].items()}
        shown = " | ".join(f"{medians[who]:.3g}" if who in medians else "" for who in WHO)
        ours = medians["cloudfn"]
        print(f"| {name} | {shown} | {ours / medians['sdk']:.2f} | {ours / medians['bare']:.2f} |")


if __name__ == "__main__":
    main()
