"""The work on one picture: what its cut pictures are called."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cloudfn.batch import crop_all
from cloudfn.batch.values import Cut, Item, Task
from cloudfn.batch.work import Cropper
from cloudfn.settings import Settings


def test_no_cut_picture_replaces_another(tmp_path: Path, photo: Callable[[str], Path]) -> None:
    data = photo("camera.jpg").read_bytes()
    for name in ("a.jpg", "a-2.jpg", "a-2-2.jpg"):
        (tmp_path / name).write_bytes(data)
    with ThreadPoolExecutor(1) as pool:
        lines = list(crop_all(tmp_path, "2,2,2", cut=tmp_path.with_name("cut"), executor=pool))
    written = [name for line in lines for name in line["cut"]]
    assert len(set(written)) == 9
    assert {Path(name) for name in written} == set(tmp_path.with_name("cut").iterdir())


class TwoBoxes:
    """A backend that answers two boxes, as WeChat may where no ratios are sent."""

    name = "wechat"

    def __call__(self, call: Any, trace: Any) -> dict[str, Any]:
        box = {"crop_left": 0, "crop_top": 0, "crop_right": 9, "crop_bottom": 9}
        return {"errcode": 0, "errmsg": "ok", "results": [box, box], "img_size": {"w": 512, "h": 512}}

    def begin(self, api: str) -> None:
        pass

    def warm_up(self, *, network: bool = False) -> None:
        pass

    def close(self) -> None:
        pass


def test_every_box_of_wechats_is_cut_out(tmp_path: Path, photo: Callable[[str], Path]) -> None:
    task = Task(Settings(), Cut(str(tmp_path)))
    (done,) = Cropper(task, TwoBoxes())([Item(str(photo("camera.jpg")), name="a")])
    assert done.line
    assert done.line["cut"] == [str(tmp_path / "a-auto.jpg"), str(tmp_path / "a-auto_2.jpg")]
