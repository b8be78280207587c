"""Batches as a user runs them: real processes, killed and resumed; a real Dask cluster; full disks; real stores."""

from __future__ import annotations

import contextlib
import functools
import http.server
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cloudfn.batch import crop_all, store
from cloudfn.batch import executor as executors
from cloudfn.batch.values import Done, Item, Task
from cloudfn.batch.work import crop_chunk
from cloudfn.errors import CloudError
from cloudfn.settings import Settings
from tests.support.recording import OK, RecordingServer
from tests.support.recording import http as answer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SECONDS = 120  # that any of these programs may take on a busy machine
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def command(*arguments: Any) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "cloudfn", *map(str, arguments)]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: Any, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command(*arguments), input=stdin, capture_output=True, check=False, timeout=SECONDS,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )  # fmt: skip
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        )

    return run


def small(number: int = 0) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((96 + number % 7, 64)).convert("RGB").save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[[int], Path]:
    def make(number: int) -> Path:
        folder = tmp_path / "photos"
        folder.mkdir()
        for index in range(number):
            (folder / f"{index:04}.jpg").write_bytes(small(index))
        return folder

    return make


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]


def assert_once_each(lines: Sequence[dict[str, Any]], number: int) -> None:
    """Every picture has exactly one line."""
    assert Counter(Counter(line["input"] for line in lines).values()) == {1: number}


def test_a_folder_becomes_lines_cut_pictures_and_a_sheet(run: Run, tmp_path: Path, photo: Any) -> None:
    shutil.copytree(photo("chelsea.jpg").parent, tmp_path / "in" / "a")
    (tmp_path / "in" / "bad.jpg").write_text("no picture")
    arguments = ("in", "--ratios", "1,16:9", "--out", "r.jsonl", "--cut", "cut", "--size", "64x", "--format", "webp")
    done = run("batch", *arguments, "--sheet", "s.html", "--workers", 2)
    assert (done.returncode, done.stdout) == (4, "")
    lines = read(tmp_path / "r.jsonl")
    bad = next(line for line in lines if line["errCode"])
    assert (bad["input"], bad["errCode"]) == (os.path.join("in", "bad.jpg"), 101002)  # noqa: PTH118
    good = [line for line in lines if not line["errCode"]]
    assert len(good) == 8
    for line in good:
        assert len(line["results"]) == len(line["cut"]) == 2
        assert {"imgSize", "backend", "milliseconds", "time", "ratios"} <= line.keys()
        for name in line["cut"]:
            with Image.open(tmp_path / name) as image:
                assert (image.format, image.width) == ("WEBP", 64)
    assert (tmp_path / "cut" / "a" / "chelsea-16x9.webp").is_file()
    page = (tmp_path / "s.html").read_text(encoding="utf-8")
    assert page.count("<figure") == 9
    for source in (part.partition('"')[0] for part in page.split(' src="')[1:]):
        with Image.open(tmp_path / source) as image:
            assert max(image.size) == 160
    assert "8 cropped, 1 failed" in done.stderr
    assert "1 x 101002" in done.stderr
    again = run("batch", *arguments, "--resume", "--sheet", "s.html")
    assert again.returncode == 0
    assert "9 done before" in again.stderr
    assert (tmp_path / "s.html").read_text(encoding="utf-8").count("<figure") == 9


def test_a_new_run_replaces_nothing(run: Run, tmp_path: Path, pictures: Callable[[int], Path]) -> None:
    folder = pictures(3)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for cut in ("photos", "photos/cut"):
        done = run("batch", "photos", "--cut", cut, "--out", "r.jsonl")
        assert done.returncode == 3, done.stderr
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    assert "has files in it" in run("batch", "photos", "--cut", "full").stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_lines_on_stdout_limit_and_dry_run(run: Run, pictures: Callable[[int], Path]) -> None:
    pictures(5)
    done = run("batch", "photos", "--limit", 2, "--workers", 1)
    assert done.returncode == 0
    assert_once_each([json.loads(text) for text in done.stdout.splitlines()], 2)
    dry = run("batch", "photos", "--dry-run", "--limit", 4)
    assert [json.loads(text)["input"][-8:] for text in dry.stdout.splitlines()] == [f"000{n}.jpg" for n in range(4)]
    assert "4 pictures would be done" in dry.stderr


def test_duplicates_are_done_once_and_failures_again(run: Run, tmp_path: Path, pictures: Callable[[int], Path]) -> None:
    folder = pictures(3)
    (folder / "late.jpg").write_text("half")
    arguments = ("photos", "photos/0000.jpg", "photos/*.jpg", "--out", "r.jsonl", "--workers", 1)
    assert run("batch", *arguments).returncode == 4
    assert_once_each(read(tmp_path / "r.jsonl"), 4)
    (folder / "late.jpg").write_bytes(small())
    assert run("batch", *arguments, "--resume").returncode == 0
    assert [line["errCode"] for line in read(tmp_path / "r.jsonl")].count(101002) == 1
    done = run("batch", *arguments, "--retry-failed")
    assert "1 picture in" in done.stderr
    lines = read(tmp_path / "r.jsonl")
    assert_once_each(lines, 4)
    assert {line["errCode"] for line in lines} == {0}


def test_names_of_every_kind(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    names = ["照片 😀.jpg", "a b#?&.jpg", "x" * 251 + ".jpg", "-1.jpg", "new\nline.jpg"]
    for name in [*map(os.fsencode, names), b"\xd5\xd5.jpg"]:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(small())
    (folder / "nothing.jpg").symlink_to("nowhere")
    (folder / "empty.jpg").touch()
    done = run("batch", "in", "--out", "r.jsonl", "--cut", "cut", "--sheet", "s.html", "--workers", 1)
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    lines = read(tmp_path / "r.jsonl")
    assert_once_each(lines, 8)
    assert Counter(line["errCode"] for line in lines) == {0: 6, -401002: 2}
    assert all(Path(name).is_file() for line in lines for name in line.get("cut", ()))
    again = run("batch", "in", "--out", "r.jsonl", "--cut", "cut", "--resume")
    assert "8 done before" in again.stderr


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_what_this_user_may_not_read_or_write(tmp_path: Path, pictures: Callable[[int], Path]) -> None:
    drop: list[str] = []
    if os.geteuid() == 0:  # root reads everything, unless it gives that up
        if shutil.which("setpriv") is None:
            pytest.skip("root needs setpriv to become subject to permissions")
        drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    folder, shut = pictures(3), tmp_path / "shut"
    (folder / "closed").mkdir()
    shut.mkdir()

    def go(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*drop, *command("batch", "photos", "--workers", 1, *arguments)], capture_output=True, text=True,
            check=False, timeout=SECONDS, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    try:
        for path, mode in ((folder / "0001.jpg", 0), (folder / "closed", 0), (shut, 0o500)):
            path.chmod(mode)
        done = go()
        lines = [json.loads(text) for text in done.stdout.splitlines()]
        assert done.returncode == 4, done.stderr
        assert sorted(line["input"].rpartition("/")[2] for line in lines if line["errCode"]) == ["0001.jpg", "closed"]
        assert all("Permission denied" in line["errMsg"] for line in lines if line["errCode"])
        for option in ("--out", "--sheet"):
            refused = go(option, shut / "r.html")
            assert refused.returncode == 3, refused.stderr
            assert "Permission denied" in refused.stderr
        cut = go("--cut", shut / "cut", "--out", "r.jsonl")
        assert cut.returncode == 3, cut.stderr
        assert "cannot be written" in cut.stderr
        assert "Permission denied" in cut.stderr
        assert not list(shut.iterdir())
    finally:
        for path in (folder / "closed", shut):
            path.chmod(0o700)


def test_kill_the_parent_and_resume(run: Run, tmp_path: Path, pictures: Callable[[int], Path]) -> None:
    pictures(600)
    out = tmp_path / "r.jsonl"
    arguments = ("batch", "photos", "--ratios", "1", "--out", "r.jsonl", "--workers", 2, "--cut", "cut")
    resume: tuple[str, ...] = ()
    for _ in range(3):
        lines = out.read_bytes().count(b"\n") if out.exists() else 0
        with subprocess.Popen(
            command(*arguments, *resume), start_new_session=True, stderr=subprocess.DEVNULL
        ) as process:
            end = time.monotonic() + SECONDS
            while (not out.exists() or out.read_bytes().count(b"\n") < lines + 40) and time.monotonic() < end:
                time.sleep(0.02)
            process.kill()
        resume = ("--resume",)
        with out.open("ab") as file:
            file.write(b'{"input": "photos/00')  # as a machine that stops may leave it
    wait_for(lambda: not processes_of(process.pid), "workers outlive their parent")
    done = run(*arguments, "--resume")
    assert done.returncode == 0, done.stderr
    assert_once_each(read(out), 600)
    assert len(list((tmp_path / "cut").glob("*.jpg"))) == 600


def test_what_a_killed_run_left_half_written_is_taken_over(tmp_path: Path) -> None:
    target = tmp_path / "a.jpg"
    program = "import sys; from cloudfn.batch import store; store.write(sys.argv[1], bytes(2 << 30))"
    with subprocess.Popen([sys.executable, "-c", program, str(target)]) as process:
        wait_for(lambda: any(path.stat().st_size for path in tmp_path.iterdir()), "nothing is written")
        process.kill()
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(".part")
    store.write(str(target), b"a picture")
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]
    assert target.read_bytes() == b"a picture"


def test_runs_that_write_one_file_at_the_same_time(tmp_path: Path) -> None:
    target = tmp_path / "a.jpg"
    contents = [bytes([number]) * 1_000_000 for number in range(16)]
    with ThreadPoolExecutor(16) as pool:
        for _ in range(20):
            list(pool.map(functools.partial(store.write, str(target)), contents))
            assert target.read_bytes() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


def test_ctrl_c_finishes_what_is_under_way(tmp_path: Path, run: Run, pictures: Callable[[int], Path]) -> None:
    pictures(600)
    out = tmp_path / "r.jsonl"
    arguments = ("batch", "photos", "--out", "r.jsonl", "--workers", 2)
    with subprocess.Popen(command(*arguments), start_new_session=True, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: out.exists() and out.stat().st_size > 0, "no result")
        os.killpg(process.pid, signal.SIGINT)  # to all of the group, as a terminal does
        _, told = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert "Traceback" not in told
    assert "stopping" in told
    number = len(read(out))
    assert 0 < number < 600
    assert_once_each(read(out), number)
    assert run(*arguments, "--resume").returncode == 0
    assert_once_each(read(out), 600)


def processes_of(session: int) -> list[int]:
    """The processes of a session that live, without zombies."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, own = entry.read_text().rpartition(") ")[2].split()[:4]
            if int(own) == session and state != "Z":
                found.append(int(entry.parent.name))
    return found


def wait_for(true: Callable[[], bool], else_said: str) -> None:
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end, else_said
        time.sleep(0.05)


# --- Workers that die ------------------------------------------------------------------------------------------------

TASK = Task(Settings(backend="local"))


def deadly(items: Sequence[Item]) -> list[Done]:
    """What a worker does, unless it dies of a picture."""
    if any("poison" in item.source for item in items):
        os.kill(os.getpid(), signal.SIGKILL)
    return crop_chunk(TASK, items)


def test_a_picture_that_kills_workers_is_set_aside(pictures: Callable[[int], Path]) -> None:
    folder = pictures(60)
    items = [Item(str(path)) for path in sorted(folder.iterdir())]
    items[7:7] = [Item("poison 1")]
    items[40:40] = [Item("poison 2")]
    slots = executors.processes(TASK, 2)
    for slot in slots:
        slot.work = deadly
    lines = [done.line for done in executors.Run(iter(items), slots) if done.line]
    assert_once_each(lines, 62)
    failed = [line for line in lines if line["errCode"]]
    assert sorted(line["input"] for line in failed) == ["poison 1", "poison 2"]
    assert all("set aside" in line["errMsg"] for line in failed)


def test_workers_killed_from_outside_lose_nothing(pictures: Callable[[int], Path]) -> None:
    folder = pictures(300)
    slots = executors.processes(TASK, 2)
    lines = []
    for done in executors.Run((Item(str(path)) for path in folder.iterdir()), slots):
        lines.append(done.line or {})
        if len(lines) in (30, 100, 180):
            for slot in slots:
                for process in list(getattr(slot.executor, "_processes", None) or {}):
                    os.kill(process, signal.SIGKILL)
    assert_once_each(lines, 300)
    assert {line["errCode"] for line in lines} == {0}


def test_workers_that_cannot_start_end_the_batch(tmp_path: Path, pictures: Callable[[int], Path]) -> None:
    pictures(4)
    script = tmp_path / "unguarded.py"
    script.write_text("from cloudfn.batch import crop_all\nprint(len(list(crop_all('photos', workers=1))))\n")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=SECONDS, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "died before they did any work" in done.stderr
    assert '__name__ == "__main__"' in done.stderr


# --- A Dask cluster --------------------------------------------------------------------------------------------------


class Cluster:
    """A scheduler and two workers, each with a nanny that starts it anew."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "scheduler.json"
        environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
        }  # fmt: skip
        start = functools.partial(
            subprocess.Popen, env=environment, cwd=folder, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        module = (sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0")
        self._running = [start([*module, "--no-dashboard", "--scheduler-file", str(self._file)])]
        wait_for(lambda: self._file.exists() and self._file.read_text().endswith("}"), "no scheduler")
        self.address: str = json.loads(self._file.read_text())["address"]
        for number in range(2):
            self._running.append(
                start(
                    [
                        *(sys.executable, "-m", "distributed.cli.dask_worker", self.address, "--nthreads", "1"),
                        *("--no-dashboard", "--host", "127.0.0.1", "--local-directory", str(folder / str(number))),
                        *("--memory-limit", "0"),
                    ]
                )
            )

    def workers(self) -> list[int]:
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
            found: dict[str, int] = client.run(os.getpid)
        return list(found.values())

    def stop_scheduler(self) -> None:
        self._running[0].kill()

    def close(self) -> None:
        for process in reversed(self._running):
            process.terminate()
        for process in self._running:
            process.wait(SECONDS)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    pytest.importorskip("distributed")
    (tmp_path / "dask").mkdir()
    running = Cluster(tmp_path / "dask")
    try:
        wait_for(lambda: len(running.workers()) == 2, "no workers")
        yield running
    finally:
        running.close()


def test_a_cluster_gives_the_same_results(run: Run, tmp_path: Path, photo: Any, cluster: Cluster) -> None:
    arguments = ("batch", photo("chelsea.jpg").parent, "--ratios", "1,2.35", "--out")
    assert run(*arguments, "pool.jsonl").returncode == 0
    done = run(*arguments, "dask.jsonl", "--scheduler", cluster.address)
    assert done.returncode == 0, done.stderr
    results = [
        {line["input"]: (line["results"], line["imgSize"]) for line in read(tmp_path / name)}
        for name in ("pool.jsonl", "dask.jsonl")
    ]
    assert results[0] == results[1]
    assert len(results[0]) == 8


def test_a_cluster_whose_workers_are_killed_loses_nothing(pictures: Callable[[int], Path], cluster: Cluster) -> None:
    folder = pictures(300)
    victims = cluster.workers()
    lines = []
    for line in crop_all(folder, "1", scheduler=cluster.address):
        lines.append(line)
        if len(lines) in (20, 120):
            os.kill(victims.pop(), signal.SIGKILL)
    assert_once_each(lines, 300)
    assert {line["errCode"] for line in lines} == {0}


def test_a_picture_that_kills_a_clusters_workers_is_set_aside(
    pictures: Callable[[int], Path], cluster: Cluster
) -> None:
    items = [Item(str(path)) for path in sorted(pictures(40).iterdir())]
    items[9:9] = [Item("poison")]
    with executors.dask(TASK, cluster.address) as slots:
        slots[0].work = deadly
        lines = [done.line for done in executors.Run(iter(items), slots) if done.line]
    assert_once_each(lines, 41)
    assert [line["input"] for line in lines if line["errCode"]] == ["poison"]


def test_no_scheduler(run: Run, pictures: Callable[[int], Path]) -> None:
    pictures(1)
    done = run("batch", "photos", "--scheduler", "tcp://127.0.0.1:9")
    assert done.returncode == 3
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_secret_travels_to_workers(monkeypatch: pytest.MonkeyPatch, pictures: Callable[[int], Path]) -> None:
    monkeypatch.setenv("WX_APPID", "wx0123456789abcdef")
    monkeypatch.setenv("WX_APPSECRET", "5ecret-5ecret-5ecret")
    monkeypatch.setenv("WX_ACCESS_TOKEN", "t0ken-t0ken-t0ken")
    seen = []

    class Spy(Executor):
        def submit(self, function: Any, /, *arguments: Any, **_: Any) -> Any:
            import pickle

            seen.append(pickle.dumps((function, arguments)))
            return executors._Here().submit(function, *arguments)

    assert len(list(crop_all(pictures(9), executor=Spy(), workers=1))) == 9
    assert len(seen) == 2
    assert not any(secret in sent for sent in seen for secret in (b"5ecret", b"t0ken", b"wx0123"))


# --- Full disks ------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=False).returncode
    ):
        pytest.skip("needs root, and a system that lets it mount a small tmpfs")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_under_the_results(run: Run, tiny_disk: Path, pictures: Callable[[int], Path]) -> None:
    pictures(400)
    out = tiny_disk / "r.jsonl"
    done = run("batch", "photos", "--ratios", "1,2,3,4,5", "--out", out, "--workers", 1)
    assert done.returncode == 3
    assert f"{out}: cannot be written (No space left on device)" in done.stderr
    assert "Traceback" not in done.stderr
    assert out.read_bytes().endswith(b"}\n")
    number = len(read(out))
    assert 0 < number < 400
    room = out.with_name("room.jsonl")
    moved = tiny_disk.parent / room.name
    moved.write_bytes(out.read_bytes())
    assert run("batch", "photos", "--ratios", "1,2,3,4,5", "--out", moved, "--resume").returncode == 0
    assert_once_each(read(moved), 400)


def test_a_full_disk_under_the_cut_pictures(run: Run, tiny_disk: Path, pictures: Callable[[int], Path]) -> None:
    pictures(150)
    arguments = ("batch", "photos", "--out", "r.jsonl", "--cut", tiny_disk / "cut", "--workers", 1)
    done = run(*arguments)
    assert done.returncode == 3
    assert "No space left" in done.stderr
    lines = read(Path("r.jsonl"))
    assert 0 < len(lines) < 150
    assert {line["errCode"] for line in lines} == {0}
    for path in (tiny_disk / "cut").iterdir():
        with Image.open(path) as image:
            image.load()


# --- WeChat ----------------------------------------------------------------------------------------------------------


def test_wechats_quota_ends_the_day_and_the_next_one_goes_on(run: Run, tmp_path: Path, server: RecordingServer) -> None:
    (tmp_path / "l.txt").write_text("".join(f"https://example.com/{number}.jpg\n" for number in range(9)))
    environment = {"WX_ACCESS_TOKEN": "t0ken-0123456789", "CLOUDFN_API_BASE": server.url}
    arguments = ("batch", "l.txt", "--backend", "wechat", "--out", "r.jsonl", "--quota", 4, "--rate", "50/s")
    done = run(*arguments, **environment)
    assert done.returncode == 1
    assert "today's quota of 4 calls is used up" in done.stderr
    assert len(read(tmp_path / "r.jsonl")) == len(server.requests) == 4
    assert run(*arguments, "--resume", **environment).returncode == 1
    assert len(server.requests) == 4  # it is the same day
    lines = read(tmp_path / "r.jsonl")
    (tmp_path / "r.jsonl").write_text(
        "".join(json.dumps({**line, "time": "2020-01-01T00:00:00Z"}) + "\n" for line in lines)
    )
    full = answer({"errcode": 45009, "errmsg": "reach max api daily quota limit"})
    server.answers = [answer(OK), answer(OK), full]
    done = run(*arguments, "--resume", "--workers", 1, **environment)
    assert done.returncode == 1
    assert "45009" in done.stderr
    lines = read(tmp_path / "r.jsonl")
    assert_once_each(lines, 6)
    assert {line["backend"] for line in lines} == {"wechat"}
    assert "t0ken" not in (tmp_path / "r.jsonl").read_text() + done.stderr


# --- Stores ----------------------------------------------------------------------------------------------------------


def test_a_store_in_memory() -> None:
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    for name in ("a.jpg", "in/b.jpg", "in/c.txt"):
        store.pipe_file(f"/batch/{name}", small())
    store.pipe_file("/list.jsonl", b'{"input": "memory://batch/a.jpg", "ratios": "2"}\n{"input": "memory://no.jpg"}\n')
    with ThreadPoolExecutor(2) as pool:
        go = functools.partial(crop_all, executor=pool)
        lines = list(go("memory://batch", "1", cut="memory://cut"))
        assert sorted(line["input"] for line in lines) == ["memory:///batch/a.jpg", "memory:///batch/in/b.jpg"]
        assert sorted(store.find("/cut")) == ["/cut/a-1.jpg", "/cut/in/b-1.jpg"]
        assert [line["input"] for line in go("memory://batch/in/*.jpg")] == ["memory:///batch/in/b.jpg"]
        assert [line["input"] for line in go("memory://batch/*")] == ["memory:///batch/a.jpg"]  # and no folder
        (nothing,) = go("memory://batch/*.png")
        assert (nothing["input"], nothing["errCode"]) == ("memory://batch/*.png", -401002)
        store.pipe_file("/odd/a[1].jpg", small())
        assert [line["errCode"] for line in go("memory://odd/a[1].jpg")] == [0]
        codes = {line["input"]: line["errCode"] for line in go("memory://list.jsonl")}
        assert codes == {"memory://batch/a.jpg": 0, "memory://no.jpg": -401002}
        with pytest.raises(CloudError, match="no file system"):
            list(go("nosuch://a/b"))
        (chained,) = go([{"input": "simplecache::http://127.0.0.1/a.jpg"}])
        assert chained["errCode"] == -401002
    store.rm("/", recursive=True)


def test_pictures_over_http(run: Run, tmp_path: Path, photo: Any) -> None:
    handler = functools.partial(_Quiet, directory=str(photo("chelsea.jpg").parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{running.server_address[1]}"
        refused = run("batch", f"{url}/chelsea.jpg")
        assert json.loads(refused.stdout)["errCode"] == 101000  # a private address
        done = run(
            "batch", f"{url}/chelsea.jpg?sig=1", f"{url}/no.jpg", "--cut", "cut", CLOUDFN_ALLOW_HOSTS="127.0.0.1"
        )
        running.shutdown()
    assert done.returncode == 4
    codes = {line["input"].rpartition("/")[2]: line["errCode"] for line in map(json.loads, done.stdout.splitlines())}
    assert codes == {"chelsea.jpg?sig=1": 0, "no.jpg": 101000}
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["chelsea-auto.jpg"]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_a_bucket(run: Run, tmp_path: Path) -> None:
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    import boto3

    bucket = moto.ThreadedMotoServer("127.0.0.1", 0)
    bucket.start()
    try:
        host, port = bucket.get_host_and_port()
        url = f"http://{host}:{port}"
        keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "5ecret-5ecret"}
        client = boto3.client(
            "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
        )
        client.create_bucket(Bucket="photos")
        for number in range(12):
            client.put_object(Bucket="photos", Key=f"in/{number % 2}/{number}.jpg", Body=small(number))
        environment = {
            **keys,
            "AWS_ENDPOINT_URL": url,
            "FSSPEC_S3_ENDPOINT_URL": url,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        arguments = ("batch", "s3://photos/in", "--ratios", "1", "--cut", "s3://photos/cut", "--out", "r.jsonl")
        done = run(*arguments, "--workers", 2, **environment)
        assert done.returncode == 0, done.stderr
        lines = read(tmp_path / "r.jsonl")
        assert_once_each(lines, 12)
        keys_cut = [entry["Key"] for entry in client.list_objects_v2(Bucket="photos", Prefix="cut/")["Contents"]]
        assert sorted(keys_cut) == sorted(f"cut/{number % 2}/{number}-1.jpg" for number in range(12))
        assert all(line["cut"][0].startswith("s3://photos/cut/") for line in lines)
        (gone,) = (json.loads(text) for text in run("batch", "s3://photos/no.jpg", **environment).stdout.splitlines())
        assert gone["errCode"] == -401002
        client.put_object(
            Bucket="photos", Key="list.csv", Body=b"path,ratios\ns3://photos/in/1/1.jpg,2\n" + b"x" * 70_000
        )
        listed = run("batch", "s3://photos/list.csv", **environment)
        lines = [json.loads(text) for text in listed.stdout.splitlines()]
        assert [(line["input"], line["errCode"]) for line in lines] == [
            ("s3://photos/in/1/1.jpg", 0),
            ("s3://photos/list.csv:3", -401002),
        ]
        gone = run("batch", "s3://photos/no.jsonl", **environment)
        assert (gone.returncode, "s3://photos/no.jsonl cannot be read" in gone.stderr) == (3, True)
    finally:
        bucket.stop()


# --- On a terminal ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="POSIX terminals")
def test_the_bar_is_for_a_terminal_alone(tmp_path: Path, run: Run, pictures: Callable[[int], Path]) -> None:
    import pty

    folder = pictures(40)
    (folder / "bad.jpg").write_text("no picture")
    assert "\x1b[" not in run("batch", "photos", "--out", "quiet.jsonl").stderr
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "PYTHONPATH": str(ROOT)}
    arguments = command("batch", "photos", "--out", "r.jsonl")
    with subprocess.Popen(arguments, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal ends
            while data := os.read(ours, 65536):
                shown += data
    os.close(ours)
    assert process.returncode == 4
    text = shown.decode()
    assert "\x1b[" in text
    assert "of 41" in text
    assert "101002: 1" in text
    assert "40 cropped, 1 failed" in text
