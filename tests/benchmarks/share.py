"""The first calls of a bundle on a platform that gives a share of a core, as 128 MB or 512 MB of memory buy it.

    python tests/benchmarks/share.py [--rounds 5] [--platform lambda]

`cloudfn package` makes a bundle for each backend and for this Python. A process with an empty environment imports its
entry at full speed (platforms initialise so), then is called twice with a JPEG of 148 KB as base64, stopped and
continued in periods of 20 ms as the kernel's bandwidth control would do it. WeChat is a server on loopback, and the
first call also fetches the token. Beside the seconds that passed stands CPU time / share: what a machine without other
work would take. A bundle whose entry has no `warm_up()` takes its turn too. Figures are medians of the rounds.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS.parent))

from cloudfn.hosts import HOSTS, Host  # noqa: E402 - found by the line above
from tests.support.recording import OK, RecordingServer, Request, http  # noqa: E402

PERIOD = 0.02  # seconds
CORE = 1769  # MB of memory that buy one core of AWS Lambda (docs.aws.amazon.com/lambda, "Configure function memory")
# Memory in MB -> seconds that the first call may take, by backend.
MUST = {128: {"wechat": 1.0, "local": 2.5}, 512: {"wechat": 0.3, "local": 0.6}}
PICTURE = TESTS / "photos" / "raccoon-966x728.jpg"

PROCESS = """
import json, sys, time

def timed(work):
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}, result

def tell(figures):
    print(json.dumps(figures), flush=True)

folder, module, name = sys.argv[1:]
sys.path.insert(0, folder)
figures, entry = timed(lambda: getattr(__import__(module), name))
tell(figures)
for line in sys.stdin:
    event = json.loads(line)
    figures, answer = timed(lambda: entry(event, None))
    assert answer["errCode"] == 0, answer
    tell(figures)
"""


class Figures(NamedTuple):
    """Seconds that passed and seconds of CPU: of the initialisation, the first and the second call."""

    wall: tuple[float, float, float]
    cpu: tuple[float, float, float]


def packed(folder: Path, platform: str, backend: str) -> Path:
    """Return the folder of an unpacked bundle."""
    (folder / "config.json").write_text('{"permissions": {"openapi": ["img.aiCrop"]}}')
    archive, bundle = folder / f"{backend}.zip", folder / backend
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    command = [sys.executable, "-m", "cloudfn", "package", "--platform", platform, "--backend", backend]
    command += ["--python", version, "--out", str(archive)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(bundle)
    return bundle


def without_warm_up(bundle: Path, entry: str) -> Path:
    """Return a second entry beside the bundle's own, without its line that warms up."""
    lines = (bundle / entry).read_text().splitlines()
    kept = [line for line in lines if not line.startswith("warm_up()")]
    assert len(kept) == len(lines) - 1
    path = bundle / f"cold_{entry}"
    path.write_text("\n".join(kept) + "\n")
    return path


@contextlib.contextmanager
def of_a_core(process: subprocess.Popen[str], share: float) -> Iterator[None]:
    """Let a process have this share of a core."""
    over = threading.Event()
    thread = threading.Thread(target=_throttle, args=(process.pid, share, over))
    os.kill(process.pid, signal.SIGSTOP)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        os.kill(process.pid, signal.SIGCONT)


def _throttle(pid: int, share: float, over: threading.Event) -> None:
    clock = (~pid << 3) | 2  # clock_getcpuclockid(3): the CPU time of all threads of another process
    used, allowed = time.clock_gettime(clock), 0.0
    while not over.is_set():
        began = time.monotonic()
        # What a period used too much is taken from the next; what it could not use, as other processes had the core,
        # is given back once.
        allowed = min(allowed, share * PERIOD) + share * PERIOD
        if allowed > 0:
            os.kill(pid, signal.SIGCONT)
            time.sleep(min(allowed, PERIOD))
            os.kill(pid, signal.SIGSTOP)
        over.wait(max(0.0, began + PERIOD - time.monotonic()))
        now = time.clock_gettime(clock)
        allowed, used = allowed - (now - used), now


def run(bundle: Path, module: str, host: Host, share: float, environment: dict[str, str]) -> Figures:
    """Start a process as the platform does, and call it twice with a share of a core."""
    img = {"contentType": "image/jpeg", "value": base64.b64encode(PICTURE.read_bytes()).decode()}
    event = {"img": img, "ratios": "1,2.35"}
    command = [sys.executable, "-S", "-c", PROCESS, str(bundle), module, host.handler]
    environment = {"PYTHONDONTWRITEBYTECODE": "1", **host.environment, **environment}
    with subprocess.Popen(
        command, cwd="/", env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        figures = [json.loads(process.stdout.readline())]
        for _ in range(2):
            with of_a_core(process, share):
                process.stdin.write(json.dumps(event) + "\n")
                process.stdin.flush()
                figures.append(json.loads(process.stdout.readline()))
        process.stdin.close()
    return Figures(*(tuple(one[name] for one in figures) for name in ("wall", "cpu")))


def answer(connection: socket.socket, request: Request) -> None:
    """Answer as WeChat does: a token, or a crop."""
    token: dict[str, Any] = {"access_token": "token", "expires_in": 7200}
    connection.sendall(http(token if "token" in request.path else OK))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--platform", choices=("lambda", "scf"), default="lambda")
    options = parser.parse_args()
    host = HOSTS[options.platform]
    settings = {"WX_APPID": "wx0123456789abcdef", "WX_APPSECRET": "0123456789abcdef0123456789abcdef"}
    found: dict[tuple[str, str, int], list[Figures]] = {}
    with tempfile.TemporaryDirectory() as name, RecordingServer(answer) as server:
        settings["CLOUDFN_API_BASE"] = server.url
        folder = Path(name)
        bundles = {backend: packed(folder, options.platform, backend) for backend in ("wechat", "local")}
        entries = {"": Path(host.entry).stem, "no warm_up": f"cold_{Path(host.entry).stem}"}
        for bundle in bundles.values():
            without_warm_up(bundle, host.entry)
        for _ in range(options.rounds):
            for backend, bundle in bundles.items():
                for memory in MUST:
                    for kind, module in entries.items():
                        of_wechat = settings if backend == "wechat" else {}
                        figures = run(bundle, module, host, memory / CORE, of_wechat)
                        found.setdefault((backend, kind, memory), []).append(figures)
    print("| backend | memory | init | its CPU | first call | CPU / share | must | second call | CPU / share |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (backend, kind, memory), runs in found.items():
        wall, cpu = (
            [statistics.median(column) for column in zip(*every, strict=True)] for every in zip(*runs, strict=True)
        )
        calls = [f"{wall[at]:.2f} | {cpu[at] / (memory / CORE):.2f}" for at in (1, 2)]
        must = "" if kind else f"{MUST[memory][backend]:.1f}"
        title = f"{backend}, {kind}" if kind else backend
        print(f"| {title} | {memory} MB | {wall[0]:.2f} | {cpu[0]:.2f} | {calls[0]} | {must} | {calls[1]} |")


if __name__ == "__main__":
    main()
