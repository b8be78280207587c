"""The stores: memory, files, a real Redis server; one table of promises for all of them."""

from __future__ import annotations

import multiprocessing
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cloudfn import CloudError
from cloudfn.backends.stores import open_store
from cloudfn.backends.stores.disk import Disk
from cloudfn.backends.stores.memory import Memory
from cloudfn.backends.stores.redis import Redis
from cloudfn.backends.stores.resting import Resting
from cloudfn.backends.stores.store import Store, StoreError
from cloudfn.secret import Secret
from tests.support.redis import EXECUTABLE, RedisServer


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    if EXECUTABLE is None:
        pytest.skip("redis-server is not installed")
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["memory", "file", "redis"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Opens the same store again and again, as other processes do; memory is one process' own."""
    if request.param == "memory":
        memory = open_store(Secret("memory"))
        return lambda: memory
    if request.param == "file":
        return lambda: open_store(Secret(f"file://{tmp_path}/store"))
    server: RedisServer = request.getfixturevalue("redis_server")
    url = f"{server.url[:-1]}{abs(hash(request.node.name)) % 15}"
    return lambda: open_store(Secret(url))


def test_a_value_is_there_until_its_life_is_over(opened: Callable[[], Store]) -> None:
    store = opened()
    key = os.urandom(8).hex()
    assert store.get(key) is None
    store.set(key, b"\x00value\xff", 30)
    assert opened().get(key) == b"\x00value\xff"
    store.set(key, b"another", 30)
    assert opened().get(key) == b"another"
    store.set(key, b"short", 0.01)
    threading.Event().wait(0.05)
    assert opened().get(key) is None


def test_only_the_same_value_is_deleted(opened: Callable[[], Store]) -> None:
    key = os.urandom(8).hex()
    opened().set(key, b"new", 30)
    opened().delete(key, b"old")
    assert opened().get(key) == b"new"
    opened().delete(key, b"new")
    assert opened().get(key) is None
    opened().delete(key, b"new")


def test_one_holder_of_a_lock_at_a_time(opened: Callable[[], Store]) -> None:
    key = os.urandom(8).hex()
    with opened().lock(key, 30) as first:
        with opened().lock(key, 30) as second:
            assert (first, second) == (True, False)
        with opened().lock(key, 30) as still:
            assert not still  # who did not get it does not release it
        with opened().lock(f"{key}2", 30) as other:
            assert other
    with opened().lock(key, 30) as again:
        assert again


def test_a_counter_that_many_threads_raise(opened: Callable[[], Store]) -> None:
    key = os.urandom(8).hex()
    with ThreadPoolExecutor(16) as pool:
        counts = list(pool.map(lambda _: opened().add(key, 1, 30), range(100)))
    assert sorted(counts) == list(range(1, 101))
    assert opened().add(key, 5, 30) == 105
    short = os.urandom(8).hex()
    assert opened().add(short, 1, 0.01) == 1
    threading.Event().wait(0.05)
    assert opened().add(short, 1, 30) == 1  # a new period


def test_memory_is_bounded() -> None:
    store = Memory(largest=10_000)
    for number in range(100):
        store.set(f"{number:03}", bytes(997), 30)
        store.get("000")  # used again and again, so it stays
    kept = [number for number in range(100) if store.get(f"{number:03}") is not None]
    assert len(kept) == 10
    assert kept[0] == 0
    assert kept[1:] == list(range(91, 100))


def test_memory_is_bounded_by_counters_too() -> None:
    store = Memory(largest=1000)
    for number in range(1000):
        store.add(f"{number:04}", 1, 30)
    assert sum(store.get(f"{number:04}") is not None for number in range(1000)) <= 200


def test_files_belong_to_their_owner(tmp_path: Path) -> None:
    store = open_store(Secret(f"file://{tmp_path}/a/store"))
    store.set("token:wx0123", b"t0ken", 30)
    folder = tmp_path / "a" / "store"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "wx0123" not in file.name


def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(CloudError, match="others may write") as raised:
        open_store(Secret(f"file://{tmp_path}"))
    assert raised.value.errCode == -601002


def test_a_clock_that_was_set_back(tmp_path: Path) -> None:
    now = [1000.0]
    store = Disk(tmp_path / "store", clock=lambda: now[0])
    store.set("a", b"value", 60)
    now[0] = 500.0
    assert store.get("a") is None
    assert store.add("n", 1, 60) == 1


def test_a_file_that_broke_off(tmp_path: Path) -> None:
    store = open_store(Secret(f"file://{tmp_path}/store"))
    store.set("a", b"value", 30)
    (file,) = (tmp_path / "store").iterdir()
    file.write_bytes(b"\x00" * 5)
    assert store.get("a") is None
    assert store.add("a", 1, 30) == 1


HOLDS = """
import sys, time
now = time.time
time.time = lambda: now() + 3600 * float(sys.argv[3])  # the clock of a machine that is hours wrong
from cloudfn.backends.stores import open_store
from cloudfn.secret import Secret
with open_store(Secret(sys.argv[1])).lock(sys.argv[2], 2) as held:
    print(held, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("hours", [0, -5, 5])
@pytest.mark.parametrize("kind", ["file", "redis"])
def test_a_holder_that_is_killed_blocks_nobody_beyond_its_lease(
    kind: str, hours: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Whatever its clock says: the lease of Redis is by the server's clock, that of a file by the system's lock."""
    url = f"file://{tmp_path}/store" if kind == "file" else request.getfixturevalue("redis_server").url
    key = os.urandom(8).hex()
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, url, key, str(hours)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout
    with holder, holder.stdout:
        assert holder.stdout.readline() == "True\n"
        with open_store(Secret(url)).lock(key, 30) as held:
            assert not held
        holder.kill()
        holder.wait()
        for _ in range(100):
            with open_store(Secret(url)).lock(key, 30) as held:
                if held:
                    break
            threading.Event().wait(0.05)
        assert held


def test_a_store_that_is_down_says_so_and_no_more(tmp_path: Path) -> None:
    store = open_store(Secret("redis://user:passw0rd@127.0.0.1:1/0"))
    for use in (lambda: store.get("a"), lambda: store.set("a", b"b", 1), lambda: store.add("a", 1, 1)):
        with pytest.raises(StoreError) as raised:
            use()
        assert raised.value.__context__ is None or raised.value.__suppress_context__
        assert "passw0rd" not in f"{raised.value!r} {store!r}"
        assert "127.0.0.1" not in str(raised.value)


@pytest.mark.parametrize(
    "address", ["redis", "http://127.0.0.1", "", "postgres://a", "redis://host:port", "file:///proc/no/such"]
)
def test_what_is_no_store(address: str) -> None:
    with pytest.raises(CloudError, match="CLOUDFN_STORE") as raised:
        open_store(Secret(address))
    assert raised.value.errCode == -601002


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_lock_ends_with_its_block_although_a_child_was_forked_in_it(opened: Callable[[], Store]) -> None:
    key, (reads, writes) = os.urandom(8).hex(), os.pipe()
    with opened().lock(key, 30) as held:
        assert held
        child = os.fork()
        if child == 0:  # lives on, with all that its parent has open
            os.close(writes)
            os.read(reads, 1)
            os._exit(0)
    try:
        with opened().lock(key, 30) as again:
            assert again
    finally:
        os.close(writes)
        os.waitpid(child, 0)
        os.close(reads)


def test_files_whose_life_is_over_do_not_stay(tmp_path: Path) -> None:
    now = [1000.0]
    store = Disk(tmp_path / "store", clock=lambda: now[0])
    for number in range(500):
        store.set(f"{number}", b"value", 10 if number % 2 else 10_000)
    now[0] += 60
    store.set("one more", b"value", 10)
    assert len(list((tmp_path / "store").iterdir())) == 251
    assert store.get("0") == b"value"


def test_the_folder_is_bounded(tmp_path: Path) -> None:
    now = [1000.0]
    store = Disk(tmp_path / "store", largest=100 * 4096, clock=lambda: now[0])
    for number in range(1001):
        now[0] += 1
        store.set(f"{number}", b"value", 10_000)
    kept = [number for number in range(1001) if store.get(f"{number}")]
    assert kept == list(range(901, 1001))
    for number in range(1000):
        store.add(f"quota:{number}", 1, 10_000)
    assert len(list((tmp_path / "store").iterdir())) < 200


def test_a_store_that_hangs_is_left_alone_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    """One look costs a second; the next ones, and one warning for all of them, nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        now = [0.0]
        looks: list[str] = []

        class Counting(Redis):
            def get(self, key: str) -> bytes | None:
                looks.append(key)
                return super().get(key)

        store = Resting(Counting(Secret(address)), clock=lambda: now[0])
        for _ in range(20):
            with pytest.raises(StoreError):
                store.get("a")
        assert len(looks) == 1
        now[0] += 6
        with pytest.raises(StoreError):
            store.get("a")
        assert len(looks) == 2
    assert len(caplog.records) == 1


def _child(store: Store, answers: multiprocessing.SimpleQueue[bytes | None]) -> None:
    store.set("b", b"child", 30)
    answers.put(store.get("b"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_while_threads_use_the_store(opened: Callable[[], Store]) -> None:
    store = opened()
    over = threading.Event()

    def use() -> None:
        while not over.is_set():
            store.set("a", b"parent", 30)
            store.add("n", 1, 30)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        context = multiprocessing.get_context("fork")
        for _ in range(10):
            answers = context.SimpleQueue()
            child = context.Process(target=_child, args=(store, answers))
            child.start()
            child.join(20)
            assert child.exitcode == 0
            assert answers.get() == b"child"
    finally:
        over.set()
        for thread in threads:
            thread.join()
