"""The embedded engine behind the cloud call: WeChat's JSON for real photographs."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import cloudfn as cloud
from cloudfn import CloudError
from cloudfn.backends.local import Local
from cloudfn.call.apis import APIS
from cloudfn.call.params import read
from cloudfn.call.values import Trace
from cloudfn.settings import Settings
from tests.conftest import TESTS
from tests.support.recording import RecordingServer, http

PHOTOS = {
    "astronaut.jpg": (512, 512),
    "camera.jpg": (512, 512),
    "chelsea.jpg": (451, 300),
    "coffee.jpg": (600, 400),
    "coffee-orientation-6.jpg": (600, 400),
    "raccoon-966x728.jpg": (966, 728),
    "raccoon-wide.jpg": (1024, 320),
    "rocket-tall.jpg": (170, 427),
}


@pytest.fixture
def crop(permitted: Path) -> Callable[..., Any]:
    return cloud.Cloud(backend="local").openapi.img.aiCrop


def size(box: dict[str, int]) -> tuple[int, int]:
    return box["cropRight"] - box["cropLeft"] + 1, box["cropBottom"] - box["cropTop"] + 1


def test_every_photograph_has_a_licence_beside_it() -> None:
    licences = (TESTS / "photos" / "LICENSES.md").read_text(encoding="utf-8")
    assert {path.name for path in (TESTS / "photos").glob("*.jpg")} == set(PHOTOS)
    assert not [name for name in PHOTOS if f"`{name}`" not in licences]


@pytest.mark.parametrize(("name", "shown"), PHOTOS.items())
def test_photographs(name: str, shown: tuple[int, int], crop: Any, photo: Any) -> None:
    width, height = shown
    result = crop(img=photo(name), ratios="1,2.35,9:16")
    assert result["imgSize"] == {"w": width, "h": height}
    for ratio, box in zip((1, 2.35, 9 / 16), result["results"], strict=True):
        full = (width, round(width / ratio)) if width / height <= ratio else (round(height * ratio), height)
        assert size(box) == full
        assert 0 <= box["cropLeft"] <= box["cropRight"] < width
        assert 0 <= box["cropTop"] <= box["cropBottom"] < height
    (auto,) = crop(img=photo(name))["results"]
    assert 0 < size(auto)[0] <= width
    assert 0 < size(auto)[1] <= height


def test_wechats_own_json(photo: Any) -> None:
    call = read(APIS["img.aiCrop"], {"img": photo("raccoon-966x728.jpg"), "ratios": "1,2.35"})
    reply = Local(Settings())(call, Trace())
    assert list(reply) == ["errcode", "errmsg", "results", "img_size"]
    assert (reply["errcode"], reply["errmsg"], reply["img_size"]) == (0, "ok", {"w": 966, "h": 728})
    square, wide = reply["results"]
    assert (square["crop_top"], square["crop_bottom"], square["crop_right"] - square["crop_left"]) == (0, 727, 727)
    assert (wide["crop_left"], wide["crop_right"], wide["crop_bottom"] - wide["crop_top"]) == (0, 965, 410)
    assert all(type(corner) is int for corner in (*square.values(), *wide.values()))


def test_the_crop_of_a_turned_picture_is_the_displayed_ones(crop: Any, photo: Any) -> None:
    upright = crop(img=photo("coffee.jpg"), ratios="1,2.35")["results"]
    turned = crop(img=photo("coffee-orientation-6.jpg"), ratios="1,2.35")["results"]
    for one, other in zip(upright, turned, strict=True):
        assert one.keys() == other.keys()
        assert max(abs(one[corner] - other[corner]) for corner in one) <= 6  # encoded anew: one percent of a side


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.floats(0.01, 100))
def test_any_size_and_ratio_gives_the_largest_box(width: int, height: int, ratio: float) -> None:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(file, "PNG")
    reply = Local(Settings())(read(APIS["img.aiCrop"], {"img": file.getvalue(), "ratios": ratio}), Trace())
    (box,) = reply["results"]
    full = (width, max(1, round(width / ratio))) if width / height <= ratio else (max(1, round(height * ratio)), height)
    assert (box["crop_right"] - box["crop_left"] + 1, box["crop_bottom"] - box["crop_top"] + 1) == full
    # A picture of one colour has nothing to prefer: the middle, to the pixel.
    assert abs(box["crop_left"] + box["crop_right"] - (width - 1)) <= 1
    assert abs(box["crop_top"] + box["crop_bottom"] - (height - 1)) <= 1


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_what_is_no_whole_picture(share: float, crop: Any, photo: Any) -> None:
    data = photo("chelsea.jpg").read_bytes()
    with pytest.raises(CloudError) as raised:
        crop(img=data[: int(len(data) * share)] or b"not a picture")
    assert raised.value.to_dict() == {"errCode": 101002, "errMsg": "openapi.img.aiCrop:fail invalid image data"}
    assert raised.value.hint
    assert raised.value.api == "img.aiCrop"


def test_limits_are_settings(permitted: Path, photo: Any) -> None:
    small = cloud.Cloud(backend="local", max_jpeg_megapixels=0.1)
    with pytest.raises(CloudError, match="invalid image data") as raised:
        small.openapi.img.aiCrop(img=photo("chelsea.jpg"))
    assert "451x300" in raised.value.hint


def test_a_pictures_url(permitted: Path, server: RecordingServer, photo: Any, caplog: Any) -> None:
    data = photo("chelsea.jpg").read_bytes()
    server.answers = [http(data, content_type="image/jpeg")]
    url = f"{server.url}/a.jpg?sign=x"
    with pytest.raises(CloudError) as raised:
        cloud.Cloud(backend="local").openapi.img.aiCrop(imgUrl=url)
    assert raised.value.to_dict() == {"errCode": 101000, "errMsg": "openapi.img.aiCrop:fail invalid image url"}
    assert "CLOUDFN_ALLOW_HOSTS" in raised.value.hint
    assert caplog.text.count("CLOUDFN_ALLOW_HOSTS") == 1
    assert server.connections == 0
    allowed = cloud.Cloud(backend="local", allow_hosts="127.0.0.1")
    assert allowed.openapi.img.aiCrop(imgUrl=url, ratios=1) == allowed.openapi.img.aiCrop(img=data, ratios=1)
    tiny = cloud.Cloud(backend="local", allow_hosts="127.0.0.1", max_url_mib=0.01)
    with pytest.raises(CloudError, match="invalid image url"):
        tiny.openapi.img.aiCrop(imgUrl=url)


@pytest.mark.parametrize("missing", ["PIL", "numpy"])
def test_without_the_engines_packages(missing: str, permitted: Path, photo: Any) -> None:
    script = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "import pathlib, cloudfn as cloud\n"
        f"try: cloud.Cloud(backend='local').openapi.img.aiCrop(img=pathlib.Path({str(photo('chelsea.jpg'))!r}))\n"
        "except cloud.CloudError as err: print(err)"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told.startswith("errCode: -601002 system args error | errMsg: openapi.img.aiCrop:fail ")
    assert 'pip install "cloudfn-aicrop[local]"' in told


@pytest.mark.parametrize("missing", ["PIL", "numpy"])
def test_without_the_engines_packages_nothing_is_fetched(
    missing: str, permitted: Path, server: RecordingServer
) -> None:
    script = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "import cloudfn as cloud, cloudfn.cli\n"
        "try: cloud.Cloud(backend='local', allow_hosts='127.0.0.1').openapi.img.aiCrop(imgUrl=sys.argv[1])\n"
        "except cloud.CloudError as err: print(err, flush=True)\n"
        "sys.exit(cloudfn.cli.main(['crop', sys.argv[1], '--out', 'cut']))"
    )
    command = [sys.executable, "-c", script, f"{server.url}/a.jpg"]
    environment = {**os.environ, "CLOUDFN_ALLOW_HOSTS": "127.0.0.1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=30)
    for told in (done.stdout, done.stderr):
        assert "-601002" in told
        assert 'pip install "cloudfn-aicrop[local]"' in told
    assert (done.returncode, server.connections) == (3, 0)
