"""Throughput of the server beside others: `python tests/benchmarks/server.py [--seconds 4] [--rounds 3]`.

Needs, besides the package, thumbor[opencv] 7.8 and pyvips[binary]. Every peer gets the same JPEG of 4
megapixels and 0.7 MB, one process a core, clients that keep their connections, and its turn in every round:

- cloudfn: `cloudfn serve`, POST of the picture, ratio 2.35.
- decode: the same stack, answering after the whole picture was decoded.
- decode-small: the same, after decoding it as small as the engine does.
- vips: the same stack with libvips' attention crop (thumbnail of 600 x 255) in the engine's place.
- thumbor: /meta/600x255/smart/ of a file, no storage; as it comes, without detectors, so that "smart" is the middle.
- thumbor-detectors: the same with its face and feature detectors, which look for the crop.

With --memory it makes 5,000 calls to `cloudfn serve` instead and prints the resident memory on the way.
"""

from __future__ import annotations

import argparse
import importlib
import io
import math
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cloudfn.call.values import Call, Trace
from cloudfn.server import run
from cloudfn.server.front import Front
from cloudfn.server.options import Options

PHOTO = Path(__file__).parent.parent / "photos" / "raccoon-966x728.jpg"
CORES = os.cpu_count() or 1
THUMBORS = {
    "thumbor": [],
    "thumbor-detectors": ["thumbor.detectors.face_detector", "thumbor.detectors.feature_detector"],
}
ANSWER = {"errcode": 0, "errmsg": "ok", "results": [], "img_size": {"w": 1, "h": 1}}


def picture() -> bytes:
    """A photograph of 2310 x 1740 pixels, with as much grain as makes 0.7 MB of it."""
    large = Image.open(PHOTO).resize((2310, 1740), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(1).normal(0, 3.0, (1740, 2310, 1))
    pixels = np.clip(np.asarray(large, dtype=np.float32) + grain, 0, 255).astype(np.uint8)
    for quality in range(60, 96):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        if file.tell() >= 700_000:
            break
    return file.getvalue()


def decode(call: Call, _trace: Trace) -> dict[str, Any]:
    with Image.open(io.BytesIO(call.params["img"].value)) as image:
        image.load()
    return ANSWER


def decode_small(call: Call, _trace: Trace) -> dict[str, Any]:
    with Image.open(io.BytesIO(call.params["img"].value)) as image:
        image.draft(None, (256, 256))
        image.load()
    return ANSWER


def vips(call: Call, _trace: Trace) -> dict[str, Any]:
    pyvips: Any = importlib.import_module("pyvips")
    pyvips.Image.thumbnail_buffer(bytes(call.params["img"].value), 600, height=255, crop="attention").write_to_memory()
    return ANSWER


def other(engine: str, options: Options) -> Front:
    """The same worker with another engine in it."""
    front = run.worker(options)
    front._state.crops._engine = globals()[engine]
    return front


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def started(command: list[str], port: int, **environment: str) -> Iterator[int]:
    """A server in processes of its own, listening."""
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit(f"{command} did not start") from None
                time.sleep(0.1)
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # thumbor leaves its children behind otherwise
        process.wait()


def read_answer(file: Any) -> bytes:
    status, length = file.readline(), 0
    while (line := file.readline()) not in (b"\r\n", b""):
        if line.lower().startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    if b" 200 " not in status:
        raise SystemExit(f"the answer was {status!r}")
    body: bytes = file.read(length)
    return body


def load(port: int, request: bytes, clients: int, seconds: float) -> tuple[list[float], float]:
    """The seconds of every call that so many clients began in this time, and how long it took to answer them all."""
    taken: list[float] = []
    begin = time.perf_counter()
    end = begin + seconds

    def client() -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rb") as file:
            while (start := time.perf_counter()) < end:
                connection.sendall(request)
                body = read_answer(file)
                if b'"errcode": 0' not in body and b'"thumbor"' not in body:
                    raise SystemExit(f"the answer was {body[:200]!r}")
                taken.append(time.perf_counter() - start)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken, time.perf_counter() - begin


def upload(data: bytes) -> bytes:
    """The whole request of a crop."""
    boundary = "------------------------d74496d66958873e"  # as curl's
    text = f'--{boundary}\r\nContent-Disposition: form-data; name="ratios"\r\n\r\n2.35\r\n--{boundary}\r\n'
    head = 'Content-Disposition: form-data; name="img"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    body = (text + head).encode() + data + f"\r\n--{boundary}--\r\n".encode()
    line = "POST /cv/img/aicrop?access_token=T HTTP/1.1\r\nHost: a\r\n"
    kind = f"Content-Type: multipart/form-data; boundary={boundary}\r\n"
    return f"{line}{kind}Content-Length: {len(body)}\r\n\r\n".encode() + body


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, math.ceil(share * len(values)) - 1)] * 1000 if values else math.nan


def compare(folder: Path, data: bytes, seconds: float, rounds: int) -> None:
    (folder / "a.jpg").write_bytes(data)
    config = "LOADER = 'thumbor.loaders.file_loader'\nSTORAGE = 'thumbor.storages.no_storage'\n"
    config += f"FILE_LOADER_ROOT_PATH = {str(folder)!r}\n"
    requests, ports = {}, {}
    with ExitStack() as stack:
        for name in ("cloudfn", "decode", "decode_small", "vips"):
            port = ports[name] = free_port()
            command = [sys.executable, __file__, "--serve", name, "--port", str(port)]
            stack.enter_context(started(command, port, VIPS_CONCURRENCY="1"))
            requests[name] = upload(data)
        for name, detectors in THUMBORS.items():
            port = ports[name] = free_port()
            (folder / f"{name}.conf").write_text(f"{config}DETECTORS = {detectors}\n")
            flags = ["-p", str(port), "-i", "127.0.0.1", "-c", str(folder / f"{name}.conf"), "--processes", str(CORES)]
            stack.enter_context(started([str(Path(sys.executable).with_name("thumbor")), *flags], port))
            requests[name] = b"GET /unsafe/meta/600x255/smart/a.jpg HTTP/1.1\r\nHost: a\r\n\r\n"
        time.sleep(1)
        for name, port in ports.items():
            load(port, requests[name], 4, 1)
        print(f"{len(data)} bytes, {CORES} cores, {rounds} rounds of {seconds:g} s each\n")
        print("| clients | peer | calls/s | p50 ms | p99 ms | p99/p50 | cloudfn is |\n|---|---|---|---|---|---|---|")
        for clients in (1, 8, 64):
            table(ports, requests, clients, seconds, rounds)


def table(ports: dict[str, int], requests: dict[str, bytes], clients: int, seconds: float, rounds: int) -> None:
    rates: dict[str, list[float]] = {name: [] for name in ports}
    times: dict[str, list[float]] = {name: [] for name in ports}
    for _ in range(rounds):
        for name, port in ports.items():
            taken, spent = load(port, requests[name], clients, seconds)
            rates[name].append(len(taken) / spent)
            times[name] += taken
    ours = statistics.mean(rates["cloudfn"])
    for name in ports:
        rate, p50, p99 = statistics.mean(rates[name]), percentile(times[name], 0.5), percentile(times[name], 0.99)
        factor = f"{ours / rate:.2f} x" if rate and name != "cloudfn" else ""
        print(f"| {clients} | {name} | {rate:.1f} | {p50:.0f} | {p99:.0f} | {p99 / p50:.1f} | {factor} |", flush=True)


def memory(data: bytes) -> None:
    """Resident memory of a server's only worker during 5,000 calls by 8 clients."""
    port = free_port()
    command = [sys.executable, __file__, "--serve", "cloudfn", "--port", str(port), "--workers", "1"]
    with started(command, port) as pid:
        children = f"/proc/{pid}/task/{pid}/children"
        done = 0
        while done < 5000:
            done += len(load(port, upload(data), 8, 5)[0])
            sizes = [resident(child) for child in Path(children).read_text().split()]
            print(f"after {done} calls: {max(sizes)} MiB", flush=True)


def resident(pid: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) >> 10 for line in status.splitlines() if line.startswith("VmRSS"))


def serve(name: str, port: int, workers: int) -> None:
    if name != "cloudfn":
        run.worker = partial(other_worker, name)
    run.serve(Options(workers=workers), "127.0.0.1", port, lambda _address: None)


def other_worker(name: str, options: Options) -> Front:
    """Made in the worker's process, where `run.worker` is the usual one."""
    return other(name, options)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=CORES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.port, arguments.workers)
    elif arguments.memory:
        memory(picture())
    else:
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), picture(), arguments.seconds, arguments.rounds)
