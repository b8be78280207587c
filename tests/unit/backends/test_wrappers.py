"""Backends around a backend: cache, quota, fallback, smaller pictures."""

from __future__ import annotations

import io
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image

from cloudfn import CloudError, crop
from cloudfn.backends.shrink import Shrunk
from cloudfn.backends.stores.memory import Memory
from cloudfn.backends.stores.resting import Resting
from cloudfn.backends.stores.store import StoreError
from cloudfn.backends.wrappers import Cached, Counted, Fallback, Quota
from cloudfn.call.apis import APIS
from cloudfn.call.media import Bytes
from cloudfn.call.params import read
from cloudfn.call.values import Call, Deadline, Trace
from cloudfn.errors import failure
from cloudfn.settings import Settings

AI_CROP = APIS["img.aiCrop"]
PICTURE = b"\xff\xd8\xff" + bytes(100)
OK = {"errcode": 0, "errmsg": "ok", "results": [], "img_size": {"w": 1, "h": 1}}


class Scripted:
    """A backend that answers from a list, the last one again and again, and keeps what it was asked."""

    name = "wechat"

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers) or [OK]
        self.calls: list[Call] = []
        self.closed = False

    def __call__(self, call: Call, trace: Trace) -> dict[str, Any]:
        self.calls.append(call)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            answer = answer(call)
        if isinstance(answer, BaseException):
            raise answer
        return dict(answer)

    def begin(self, api: str) -> None:
        pass

    def warm_up(self, *, network: bool = False) -> None:
        """Nothing to load."""

    def close(self) -> None:
        self.closed = True


class Held:
    """An answer that waits until it may come: it has `begun` to be made, and `go` lets it through."""

    def __init__(self, answer: Any) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self._answer = answer

    def __call__(self, _call: Call) -> Any:
        self.begun.set()
        assert self.go.wait(10)
        return self._answer


class Broken(Memory):
    """A store that is down."""

    def get(self, key: str) -> bytes | None:
        raise StoreError("down")

    def set(self, key: str, value: Bytes, seconds: float) -> None:
        raise StoreError("down")

    def add(self, key: str, amount: int, seconds: float) -> int:
        raise StoreError("down")


def call(picture: bytes | str = PICTURE, ratios: str = "1,2.35", **more: Any) -> Call:
    given = {"imgUrl": picture} if isinstance(picture, str) else {"img": picture}
    made = read(AI_CROP, {**given, "ratios": ratios})
    return Call(made.api, made.params, **more)


def error(code: int) -> CloudError:
    return failure("img.aiCrop", code, "words of WeChat")


# --- cache ---------------------------------------------------------------------------------------------------------


def test_an_equal_call_is_answered_from_the_cache() -> None:
    backend, store = Scripted(), Memory()
    cached = Cached(backend, store, 60, "")
    trace = Trace()
    assert cached(call(), trace) == cached(call(), trace) == OK
    assert (len(backend.calls), trace.answered_by) == (1, "cache")
    assert Cached(Scripted(CloudError(-1, "")), store, 60, "")(call(), Trace()) == OK


@pytest.mark.parametrize(
    "other", [call(PICTURE + b"x"), call(ratios="1"), call(ratios=""), call("https://example.com/a.jpg")]
)
def test_another_call_is_another_key(other: Call) -> None:
    backend = Scripted()
    cached = Cached(backend, Memory(), 60, "")
    cached(call(), Trace())
    cached(other, Trace())
    assert len(backend.calls) == 2


def test_an_account_does_not_see_anothers_results() -> None:
    backend, store = Scripted(), Memory()
    for account in ("a", "b"):
        Cached(backend, store, 60, account)(call(), Trace())
    assert len(backend.calls) == 2


@pytest.mark.parametrize("answer", [{"errcode": 45009, "errmsg": "quota"}, error(-601003)])
def test_a_failure_is_not_kept(answer: Any) -> None:
    backend = Scripted(answer, OK)
    cached = Cached(backend, Memory(), 60, "")
    try:
        cached(call(), Trace())
    except CloudError as raised:
        assert raised is answer  # noqa: PT017
    assert cached(call(), Trace()) == OK


def test_a_result_has_a_life_and_that_of_a_url_is_short() -> None:
    now = [0.0]
    backend = Scripted()
    cached = Cached(backend, Memory(clock=lambda: now[0]), 3600, "")
    cached(call(), Trace())
    cached(call("https://example.com/a.jpg"), Trace())
    now[0] = 61
    cached(call(), Trace())
    assert len(backend.calls) == 2
    cached(call("https://example.com/a.jpg"), Trace())
    assert len(backend.calls) == 3
    now[0] = 3601
    cached(call(), Trace())
    assert len(backend.calls) == 4


def test_equal_calls_at_the_same_time_are_one() -> None:
    held = Held(OK)
    backend = Scripted(held)
    cached = Cached(backend, Memory(), 60, "")
    with ThreadPoolExecutor(16) as pool:
        first = pool.submit(cached, call(), Trace())
        assert held.begun.wait(10)
        others = [pool.submit(cached, call(), Trace()) for _ in range(15)]
        held.go.set()
        assert [job.result() for job in [first, *others]] == [OK] * 16
    assert len(backend.calls) == 1


def test_the_others_do_not_share_a_failure() -> None:
    held = Held(error(-601003))
    backend = Scripted(held, OK)
    cached = Cached(backend, Memory(), 60, "")
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(cached, call(), Trace())
        assert held.begun.wait(10)
        others = [pool.submit(cached, call(), Trace()) for _ in range(3)]
        held.go.set()
        assert [job.result() for job in others] == [OK] * 3
        assert isinstance(first.exception(), CloudError)


def test_who_waits_for_an_equal_call_waits_until_its_own_deadline() -> None:
    held = Held(OK)
    backend = Scripted(held)
    cached = Cached(backend, Memory(), 60, "")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(cached, call(), Trace())
        assert held.begun.wait(10)
        with pytest.raises(CloudError, match=r"within 0\.05 seconds") as raised:
            cached(call(deadline=Deadline(0.05)), Trace())
        held.go.set()
        assert first.result() == OK
    assert (raised.value.errCode, len(backend.calls)) == (-604102, 1)


def test_a_call_that_has_just_ended_is_not_made_again() -> None:
    """The store is asked once nobody makes the same call: else one could end between the two looks."""
    backend, store = Scripted(), Memory()

    class Slow(Memory):
        def get(self, key: str) -> bytes | None:
            value = store.get(key)
            if not backend.calls:
                Cached(backend, store, 60, "")(call(), Trace())  # an equal call, from its begin to its end
            return value

        def set(self, key: str, value: Bytes, seconds: float) -> None:
            assert key in cached._running  # it counts as under way until it is kept
            store.set(key, value, seconds)

    cached = Cached(backend, Slow(), 60, "")
    assert cached(call(), Trace()) == cached(call(), Trace()) == OK
    assert len(backend.calls) == 2


def test_an_answer_in_wechats_place_is_not_kept() -> None:
    first, second = Scripted(error(-601003), OK), Scripted()
    second.name = "local"
    cached, trace = Cached(Fallback(first, second), Memory(), 60, ""), Trace()
    assert cached(call(), trace) == OK
    assert trace.answered_by == "local"
    trace = Trace()
    assert cached(call(), trace) == OK
    assert trace.answered_by == ""  # WeChat itself: it is back


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_does_not_wait_for_its_parents_call() -> None:
    begun, go = threading.Event(), threading.Event()

    def wait(_call: Call) -> dict[str, Any]:
        if threading.current_thread() is not threading.main_thread():
            begun.set()
            assert go.wait(20)
        return OK

    cached = Cached(Scripted(wait), Memory(), 60, "")
    thread = threading.Thread(target=cached, args=(call(), Trace()))
    thread.start()
    assert begun.wait(10)
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if cached(call(deadline=Deadline(5)), Trace()) == OK else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    go.set()
    thread.join()


def test_a_store_that_is_down_costs_no_call(caplog: pytest.LogCaptureFixture) -> None:
    store = Resting(Broken())
    for _ in range(3):
        assert Cached(Scripted(), store, 60, "")(call(), Trace()) == OK
        assert Counted(Scripted(), store, Quota(1, 86400), "")(call(), Trace()) == OK
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == ["CLOUDFN_STORE: down"]


# --- quota ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "code"), [(86400, 45009), (60, 45011)])
def test_the_call_that_is_one_too_many(seconds: int, code: int) -> None:
    now = [1_800_000_000.0]
    backend = Scripted()
    counted = Counted(backend, Memory(), Quota(2, seconds), "", clock=lambda: now[0])
    assert counted(call(), Trace()) == counted(call(), Trace()) == OK
    with pytest.raises(CloudError, match="CLOUDFN_QUOTA") as raised:
        counted(call(), Trace())
    assert (raised.value.errCode, len(backend.calls)) == (code, 2)
    now[0] += seconds
    assert counted(call(), Trace()) == OK


@pytest.mark.parametrize("attempts", [0, 1])
def test_a_call_that_did_not_get_as_far_as_wechat_is_not_counted(attempts: int) -> None:
    class Failing(Scripted):
        def __call__(self, call: Call, trace: Trace) -> dict[str, Any]:
            trace.attempts = attempts if len(self.calls) == 0 else 1
            return super().__call__(call, trace)

    counted = Counted(Failing(error(101002), OK), Memory(), Quota(1, 86400), "")
    with pytest.raises(CloudError):
        counted(call(), Trace())
    if attempts:
        with pytest.raises(CloudError, match="CLOUDFN_QUOTA"):
            counted(call(), Trace())
    else:
        assert counted(call(), Trace()) == OK


def test_a_minutes_quota_uses_up_no_days() -> None:
    now = [1_800_000_000.0]

    class Sent(Scripted):
        def __call__(self, call: Call, trace: Trace) -> dict[str, Any]:
            trace.attempts = 1
            return super().__call__(call, trace)

    store = Memory()
    minute = Counted(Sent(), store, Quota(2, 60), "", clock=lambda: now[0])
    counted = Counted(minute, store, Quota(7, 86400), "", clock=lambda: now[0])
    codes = []
    for _ in range(3):
        for _ in range(5):
            try:
                codes.append(counted(call(), Trace())["errcode"])
            except CloudError as refused:
                codes.append(refused.errCode)
        now[0] += 60
    assert codes == [0, 0, 45011, 45011, 45011] * 3


def test_a_day_ends_at_midnight_in_china() -> None:
    quota = Quota(1, 86400)
    before, after = 1_700_150_399, 1_700_150_400  # 2023-11-16 15:59:59 and 16:00:00 UTC
    assert quota.period(after) == quota.period(before) + 1


# --- fallback ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "failed",
    [error(-604102), error(-601003), error(-601001), {"errcode": 45009, "errmsg": "q"}, {"errcode": -1}],
)
def test_the_second_backend_answers_when_wechat_cannot(failed: Any) -> None:
    second = Scripted()
    second.name = "local"
    trace = Trace()
    assert Fallback(Scripted(failed), second)(call(), trace) == OK
    assert trace.answered_by == "local"
    assert int(trace.because) in (-604102, -601003, -601001, 45009, -1)


@pytest.mark.parametrize("failed", [error(-604101), error(-401002), error(101002), error(101000), error(40164)])
def test_not_on_what_is_the_callers(failed: CloudError) -> None:
    second = Scripted()
    with pytest.raises(CloudError) as raised:
        Fallback(Scripted(failed), second)(call(), Trace())
    assert (raised.value, second.calls) == (failed, [])


def test_wechats_own_refusal_is_given_back() -> None:
    second = Scripted()
    assert Fallback(Scripted({"errcode": 101002}), second)(call(), Trace()) == {"errcode": 101002}
    assert second.calls == []


def test_when_the_second_fails_too_the_first_failure_counts(caplog: pytest.LogCaptureFixture) -> None:
    first = error(-601003)
    with pytest.raises(CloudError) as raised:
        Fallback(Scripted(first), Scripted(error(101002)))(call(), Trace())
    assert raised.value is first
    assert "101002" in caplog.text
    answer = {"errcode": 45009, "errmsg": "q"}
    assert Fallback(Scripted(answer), Scripted(error(101002)))(call(), Trace()) == answer


def test_the_engine_keeps_enough_of_the_time() -> None:
    now = [100.0]

    def slow(asked: Call) -> BaseException:
        now[0] += asked.deadline.left
        return error(-604102)

    first, second = Scripted(slow), Scripted()
    for seconds, kept in ((5.0, 2.0), (1.0, 0.4)):
        Fallback(first, second)(call(deadline=Deadline(seconds, lambda: now[0])), Trace())
        assert first.calls[-1].deadline.seconds == pytest.approx(seconds - kept)
        assert second.calls[-1].deadline.left == pytest.approx(kept)


def test_closing_closes_what_is_inside() -> None:
    first, second = Scripted(), Scripted()
    Cached(Counted(Fallback(first, second), Memory(), Quota(1, 60), ""), Memory(), 1, "").close()
    assert first.closed
    assert second.closed


# --- smaller pictures ----------------------------------------------------------------------------------------------


def noise(width: int, height: int, orientation: int = 1) -> bytes:
    """A JPEG of well over 2 MiB."""
    image = Image.effect_noise((width, height), 90).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95, exif=exif)
    return file.getvalue()


def centred(asked: Call) -> dict[str, Any]:
    """What a cropper answers that takes the middle: WeChat's corners, for the picture that it was sent."""
    with Image.open(io.BytesIO(asked.params["img"].value)) as image:
        size = crop.Size(*image.size)
    boxes = []
    for ratio in asked.params["ratios"].values if "ratios" in asked.params else (size.width / size.height,):
        width, height = crop.largest(size, ratio)
        left, top = (size.width - width) // 2, (size.height - height) // 2
        boxes.append(
            {"crop_left": left, "crop_top": top, "crop_right": left + width - 1, "crop_bottom": top + height - 1}
        )
    return {"errcode": 0, "errmsg": "ok", "results": boxes, "img_size": {"w": size.width, "h": size.height}}


@pytest.mark.parametrize(
    "answer",
    [
        {"results": [{}], "img_size": {"w": 10, "h": 10}},
        {"results": [{"crop_left": 0, "crop_top": 0, "crop_right": 9, "crop_bottom": 9}], "img_size": {"w": 0, "h": 0}},
        {"results": [{"crop_left": 0, "crop_top": 0, "crop_right": 9, "crop_bottom": 9}], "img_size": {}},
        {"results": [None], "img_size": {"w": 10, "h": 10}},
        {"results": [], "img_size": {"w": "10", "h": 10}},
    ],
)
def test_an_answer_that_cannot_be_scaled_back_is_an_error(answer: dict[str, Any]) -> None:
    with pytest.raises(CloudError, match="wechat server internal error") as raised:
        Shrunk(Scripted({"errcode": 0, **answer}), Settings())(call(noise(3000, 2000)), Trace())
    assert raised.value.errCode == -601001


@pytest.mark.parametrize(("width", "height", "orientation"), [(3000, 2001, 1), (1999, 3001, 1), (3001, 2000, 6)])
@pytest.mark.parametrize("ratios", ["1,2.35,16:9,3:4,9:16", ""])
def test_a_large_picture_goes_out_small_and_its_boxes_come_back_large(
    width: int, height: int, orientation: int, ratios: str
) -> None:
    picture = noise(width, height, orientation)
    assert len(picture) > 2 * 1024 * 1024
    backend = Scripted(centred)
    asked = call(picture, ratios)
    answer = Shrunk(backend, Settings())(asked, Trace())
    assert len(backend.calls[0].params["img"].value) < 2_000_000
    size = crop.Size(*((height, width) if orientation == 6 else (width, height)))
    assert answer["img_size"] == {"w": size.width, "h": size.height}
    wanted = asked.params["ratios"].values if ratios else (None,)
    assert len(answer["results"]) == len(wanted)
    for box, ratio in zip(answer["results"], wanted, strict=True):
        left, top, right, bottom = (box[f"crop_{edge}"] for edge in ("left", "top", "right", "bottom"))
        assert 0 <= left <= right < size.width
        assert 0 <= top <= bottom < size.height
        if ratio is not None:
            assert (right - left + 1, bottom - top + 1) == crop.largest(size, ratio)
        assert abs((left + right + 1) / 2 - size.width / 2) <= 2
        assert abs((top + bottom + 1) / 2 - size.height / 2) <= 2


def test_a_small_picture_goes_out_as_it_is() -> None:
    backend = Scripted()
    assert Shrunk(backend, Settings())(call(), Trace()) == OK
    assert backend.calls[0].params["img"].value == PICTURE


def test_a_refusal_comes_back_as_it_is() -> None:
    answer = {"errcode": 45009, "errmsg": "q"}
    assert Shrunk(Scripted(answer), Settings())(call(noise(3000, 2000)), Trace()) == answer


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(CloudError) as raised:
        Shrunk(Scripted(), Settings())(call(b"\xff\xd8\xff" + bytes(3_000_000)), Trace())
    assert raised.value.errCode == 101002
    assert raised.value.errMsg.startswith("openapi.img.aiCrop:fail ")


Run = Callable[..., Any]


def test_who_answered_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    from cloudfn.backends import perform

    backend = Cached(Scripted(), Memory(), 60, "")
    with caplog.at_level(logging.INFO, "cloudfn"):
        perform(call(), backend)
        perform(call(), backend)
    assert [record.answered for record in caplog.records] == ["wechat", "cache"]  # type: ignore[attr-defined]


def test_nothing_begins_before_the_quota_or_the_cache_was_asked() -> None:
    """Else a token would be fetched for a call that is not made."""

    class Eager(Scripted):
        def begin(self, api: str) -> None:
            raise AssertionError(api)

    Counted(Eager(), Memory(), Quota(0, 86400), "").begin("img.aiCrop")
    Cached(Eager(), Memory(), 60, "").begin("img.aiCrop")
