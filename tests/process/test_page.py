"""The page in a real Chromium: what a person sees, clicks, types, downloads and copies."""

from __future__ import annotations

import base64
import importlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from cloudfn import boxes, crop, cut
from cloudfn.server import page
from cloudfn.testing import Fault, Server
from tests.conftest import TESTS
from tests.process.test_server import Process
from tests.support import npm
from tests.support.recording import RecordingServer, http

PHOTOS = TESTS / "photos"
RACCOON = PHOTOS / "raccoon-966x728.jpg"
WIDE = PHOTOS / "raccoon-wide.jpg"
AXE = "axe-core@4.14.1"
# What the console says of a test's own doing: an answer that is no 200, a server that was stopped.
_MEANT = re.compile("Failed to load resource")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("chromium is not installed")
    try:
        driver = importlib.import_module("playwright.sync_api")
    except ImportError:
        pytest.skip("playwright is not installed")
    with driver.sync_playwright() as playwright:
        driver.expect.set_options(timeout=20_000)
        browser = playwright.chromium.launch(executable_path=program)
        yield browser
        browser.close()


@pytest.fixture
def cloudfn() -> Iterator[Server]:
    with Server(allow_hosts=["127.0.0.1"]) as running:
        yield running


class Visitor:
    """Somebody with the page in front of them."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.errors: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(url)

    def see(self, selector: str, count: int | None = None, text: str | None = None) -> Any:
        """Wait until so many elements, or one with this text, can be seen."""
        found = self.page.locator(selector)
        if text is not None:
            found = found.filter(has_text=text)
        expect = importlib.import_module("playwright.sync_api").expect
        if count is None:
            expect(found.first).to_be_visible()
        else:
            expect(found).to_have_count(count)
        return found

    def choose(self, *photos: Path) -> None:
        self.page.set_input_files("#files", [str(photo) for photo in photos])
        self.see("#cards li")  # which come last

    def ratios(self, text: str, count: int) -> None:
        """Type ratios, and wait for so many boxes."""
        self.page.fill("#ratios", text)
        self.see("#stage [data-box]", count)
        self.see("#cards li", count)

    @property
    def boxes(self) -> list[tuple[int, ...]]:
        """x, y, width and height of the boxes that are drawn, in order."""
        return [
            tuple(
                int(self.page.get_attribute(f"#stage [data-box='{number}']", name))
                for name in ("x", "y", "width", "height")
            )
            for number in range(self.page.locator("#stage [data-box]").count())
        ]

    @property
    def json(self) -> Any:
        return json.loads(self.page.text_content("#json"))

    def code(self, language: str) -> str:
        """Copy the code of a language, and give what lies on the clipboard."""
        self.page.click(f"#codes button:text-is('{language}')")
        shown = self.page.text_content("#code")
        self.page.click(".copyable:has(#code) button")
        self.see(".copyable:has(#code) button", text="Copied")
        copied: str = self.page.evaluate("navigator.clipboard.readText()")
        assert copied == shown
        return copied

    def download(self, selector: str) -> tuple[str, bytes]:
        with self.page.expect_download() as waiting:
            self.page.click(selector)
        return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Any]:
    """Opens the page of a server in a browser window of its own; whatever the console complains of fails the test."""
    visitors: list[Visitor] = []
    contexts: list[Any] = []

    def open_page(server: Server | Process, path: str = "/", **options: Any) -> Visitor:
        options = {"locale": "en-GB", "viewport": {"width": 1280, "height": 900}} | options
        contexts.append(chromium.new_context(permissions=["clipboard-read", "clipboard-write"], **options))
        contexts[-1].set_default_timeout(20_000)
        visitors.append(Visitor(contexts[-1].new_page(), server.url + path))
        return visitors[-1]

    yield open_page
    for context in contexts:
        context.close()
    for visitor in visitors:
        assert [text for text in visitor.errors if not _MEANT.search(text)] == []


def places(answer: Any) -> list[tuple[int, ...]]:
    """The boxes of WeChat's JSON, or of the cloud call's, as x, y, width and height."""
    found = [boxes.half_open(box) for box in answer["results"]]
    return [(box.left, box.top, box.right - box.left, box.bottom - box.top) for box in found]


def drop(visitor: Visitor, kind: str, *files: tuple[str, bytes]) -> None:
    """Drop files on the page, or paste them."""
    visitor.page.evaluate(
        """([kind, files]) => {
            const data = new DataTransfer();
            for (const [name, content] of files) {
                const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
                data.items.add(new File([bytes], name, {type: "image/jpeg"}));
            }
            const options = {bubbles: true, cancelable: true};
            document.body.dispatchEvent(kind === "drop"
                ? new DragEvent("drop", {...options, dataTransfer: data})
                : new ClipboardEvent("paste", {...options, clipboardData: data}));
        }""",
        [kind, [[name, base64.b64encode(content).decode()] for name, content in files]],
    )


# --- Pictures in, boxes out ---


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_picture_s_boxes_are_those_of_the_json_and_of_the_server(cloudfn: Server, visit: Any, kind: str) -> None:
    visitor = visit(cloudfn)
    drop(visitor, kind, ("raccoon.jpg", RACCOON.read_bytes()))
    visitor.see("#cards li", 2)
    files: Any = {"img": ("a.jpg", RACCOON.read_bytes()), "ratios": (None, "1,1.77778")}
    known = requests.post(f"{cloudfn.url}/cv/img/aicrop?access_token=T", files=files, timeout=20).json()
    assert visitor.json == known
    assert visitor.boxes == places(known)
    visitor.page.click("text=from the cloud call")
    assert places(visitor.json) == places(known)
    assert visitor.json["errMsg"] == "openapi.img.aiCrop:ok"
    # Where it lies on the screen, and what the page says of it.
    image, first = (visitor.page.locator(f"#stage {what}").bounding_box() for what in ("img", "[data-box='0']"))
    scale = image["width"] / 966
    x, _, width, height = places(known)[0]
    assert first["x"] - image["x"] == pytest.approx(x * scale, abs=4)
    assert (first["width"], first["height"]) == pytest.approx((width * scale, height * scale), abs=8)
    assert visitor.page.text_content("#cards li >> nth=0 >> b") == "1"
    assert "728×728" in visitor.page.text_content("#cards li >> nth=0")


def test_what_is_cut_away_is_dark_and_the_rest_is_not(cloudfn: Server, visit: Any) -> None:
    visitor = visit(cloudfn)
    visitor.choose(WIDE)
    visitor.ratios("1", 1)
    shot = np.asarray(Image.open(io.BytesIO(visitor.page.locator("#stage img").screenshot())).convert("RGB"), float)
    plain = Image.open(WIDE).convert("RGB").resize((shot.shape[1], shot.shape[0]))
    scale = shot.shape[1] / 1024
    (x, _, width, _) = visitor.boxes[0]
    inside = slice(round(x * scale) + 12, round((x + width) * scale) - 12)
    outside = slice(0, round(x * scale) - 12)
    rows = slice(30, -12)
    expected = np.asarray(plain, float)
    assert shot[rows, inside].mean() == pytest.approx(expected[rows, inside].mean(), rel=0.05)
    assert shot[rows, outside].mean() == pytest.approx(expected[rows, outside].mean() * 0.38, rel=0.15)


@pytest.mark.parametrize(
    ("typed", "sizes"),
    [
        ("1", [(728, 728)]),
        ("2.35", [(966, 411)]),
        ("16:9", [(966, 543)]),
        (" 3:4 , .5", [(546, 728), (364, 728)]),
        ("1,4:3,16:9,2.35,9:16", [(728, 728), (966, 725), (966, 543), (966, 411), (410, 728)]),
    ],
)
def test_each_form_of_a_ratio(cloudfn: Server, visit: Any, typed: str, sizes: list[tuple[int, int]]) -> None:
    visitor = visit(cloudfn)
    visitor.page.fill("#ratios", typed)
    visitor.choose(RACCOON)
    visitor.see("#stage [data-box]", len(sizes))
    assert [box[2:] for box in visitor.boxes] == sizes
    assert visitor.boxes == places(visitor.json)


def test_presets_are_switched_on_and_off_and_automatic_is_one_box(cloudfn: Server, visit: Any) -> None:
    visitor = visit(cloudfn)
    visitor.choose(RACCOON)
    visitor.page.click("#presets button:text-is('9:16')")
    visitor.see("#stage [data-box]", 3)
    assert visitor.page.input_value("#ratios") == "1, 16:9, 9:16"
    visitor.page.click("#presets button:text-is('1')")
    visitor.see("#stage [data-box]", 2)
    visitor.page.click("#presets button:text-is('automatic')")
    visitor.see("#stage [data-box]", 1)
    (found,) = crop.find(RACCOON.read_bytes()).boxes
    assert places(visitor.json) == [(found.left, found.top, found.right - found.left, found.bottom - found.top)]
    assert "ratios" not in visitor.code("curl")
    assert visitor.page.get_attribute("#presets button:text-is('automatic')", "aria-pressed") == "true"


@pytest.mark.parametrize(
    ("typed", "word"),
    [
        ("16/9", "16:9"),
        ("1，2", "ASCII"),
        ("0", "“0”"),
        ("1,,2", "“”"),
        ("1,2,3,4,5,6", "at most five"),
        ("-1", "“-1”"),
    ],
)
def test_a_wrong_ratio_is_told_while_it_is_typed_and_not_sent(
    cloudfn: Server, visit: Any, typed: str, word: str
) -> None:
    visitor = visit(cloudfn)
    visitor.choose(RACCOON)
    visitor.page.fill("#ratios", typed)
    visitor.see("#ratios-problem", text=word)
    assert visitor.page.get_attribute("#ratios", "aria-invalid") == "true"
    visitor.ratios("2", 1)
    assert visitor.page.text_content("#ratios-problem") == ""
    assert [call.ratios for call in cloudfn.requests] == ["1,1.77778", "2"]


def test_samples_are_one_click_away(cloudfn: Server, visit: Any) -> None:
    visitor = visit(cloudfn)
    for name in ("astronaut", "chelsea", "coffee", "raccoon", "rocket"):
        visitor.page.click(f"#samples button[aria-label={name}]")
        visitor.see(f"#stage img[alt='{name}.jpg']")
        visitor.see("#stage [data-box]", 2)


def test_a_phone_s_camera_is_asked_for_a_picture(cloudfn: Server, visit: Any) -> None:
    visitor = visit(cloudfn, has_touch=True, is_mobile=True, viewport={"width": 390, "height": 800})
    visitor.see("text=Photograph")
    assert visitor.page.get_attribute("#camera", "capture") == "environment"
    visitor.page.set_input_files("#camera", str(RACCOON))
    visitor.see("#stage [data-box]", 2)


def test_the_exif_orientation_counts(cloudfn: Server, visit: Any) -> None:
    visitor = visit(cloudfn)
    visitor.choose(PHOTOS / "coffee-orientation-6.jpg")
    visitor.ratios("1", 1)
    assert visitor.json["img_size"] == {"w": 600, "h": 400}
    assert visitor.page.evaluate("document.querySelector('#stage img').naturalWidth") == 600


def test_a_format_that_the_browser_cannot_show_is_cropped_all_the_same(visit: Any, tmp_path: Path) -> None:
    Image.open(RACCOON).save(tmp_path / "a.tiff")
    with Server(max_bytes=4_000_000) as server:
        visitor = visit(server)
        visitor.choose(tmp_path / "a.tiff")
        visitor.see("#status", text="This browser cannot show this format.")
        assert visitor.boxes == places(visitor.json)
        name, content = visitor.download("[aria-label='Download 1']")
        assert (name, Image.open(io.BytesIO(content)).size) == ("a-1.tiff", (728, 728))


def test_pointing_at_a_card_or_an_edge_selects_its_box(cloudfn: Server, visit: Any) -> None:
    visitor = visit(cloudfn)
    visitor.choose(RACCOON)
    assert visitor.page.text_content("#stage .tag") == "1"
    visitor.page.hover("#cards li >> nth=1")
    assert visitor.page.text_content("#stage .tag") == "16:9"
    assert visitor.page.get_attribute("#stage .chosen", "data-box") == "1"
    box = visitor.page.locator("#stage [data-box='0']").bounding_box()
    visitor.page.mouse.move(box["x"] + 3, box["y"] + box["height"] - 40)
    visitor.see("#stage .tag", text="1")
    assert visitor.page.get_attribute("#cards li >> nth=0 >> .pick", "aria-pressed") == "true"


# --- Why ---


def test_the_heat_map_is_the_engine_s(cloudfn: Server, visit: Any) -> None:
    visitor = visit(cloudfn)
    visitor.choose(RACCOON)
    assert visitor.page.locator("#stage canvas").count() == 0
    visitor.page.click("text=Heat map")
    visitor.see("#legend", text="matters most")
    pixels = visitor.page.evaluate(
        "[...document.querySelector('#stage canvas').getContext('2d').getImageData(0, 0, 64, 64).data]"
    )
    shown = np.array(pixels).reshape(64, 64, 4)
    wanted = crop.find(RACCOON.read_bytes(), [1]).explain().map
    assert tuple(shown[np.unravel_index(wanted.argmax(), wanted.shape)]) == (255, 255, 128, 255)
    assert np.corrcoef(shown[..., 1].ravel(), np.sqrt(wanted).ravel())[0, 1] > 0.9
    visitor.page.click("text=Heat map")
    visitor.see("#stage canvas", 0)


def test_runners_up_faces_and_the_focal_point(cloudfn: Server, visit: Any) -> None:
    visitor = visit(cloudfn)
    visitor.page.fill("#ratios", "1, 0.5")
    visitor.choose(PHOTOS / "astronaut.jpg")
    visitor.page.click("text=Runners-up")
    visitor.page.click("text=Focal point")
    visitor.see("#stage .other", 0)
    visitor.page.hover("#cards li >> nth=1")
    why = crop.find((PHOTOS / "astronaut.jpg").read_bytes(), [0.5]).explain()
    others = visitor.see("#stage .other", len(why.runners_up[0]))
    assert [int(others.nth(n).get_attribute("x")) for n in range(others.count())] == [
        placed.box.left for placed in why.runners_up[0]
    ]
    visitor.see("#stage .face", len(why.faces))
    cross = visitor.page.locator("#stage .focal").bounding_box()
    image = visitor.page.locator("#stage img").bounding_box()
    assert (cross["x"] + cross["width"] / 2 - image["x"]) / image["width"] == pytest.approx(why.focal_share.x, abs=0.01)
    share = f"{100 * why.focal_share.x:.1f}% {100 * why.focal_share.y:.1f}%"
    assert visitor.page.text_content("#css") == f"object-fit: cover; object-position: {share};"
    share = share.replace(".0%", "%")  # as browsers write it
    frames = visitor.see("#frames img", 5)
    assert {frames.nth(n).evaluate("image => getComputedStyle(image).objectPosition") for n in range(5)} == {share}
    shapes = [frames.nth(n).bounding_box() for n in range(5)]
    assert [round(shape["width"] / shape["height"], 1) for shape in shapes] == [1.0, 1.8, 0.8, 0.6, 3.0]


def test_a_focus_that_is_drawn_changes_the_crop_at_once(cloudfn: Server, visit: Any, tmp_path: Path) -> None:
    visitor = visit(cloudfn)
    visitor.choose(WIDE)
    visitor.ratios("1", 1)
    before = visitor.boxes
    image = visitor.page.locator("#stage img").bounding_box()
    visitor.page.mouse.move(image["x"] + 2, image["y"] + 20)
    visitor.page.mouse.down()
    visitor.page.mouse.move(image["x"] + 40, image["y"] + 60)
    visitor.page.mouse.move(image["x"] + 80, image["y"] + 90)
    visitor.page.mouse.up()
    drawn = [int(edge) for edge in visitor.see("#focuses input").input_value().split(",")]
    visitor.see("#stage .focus", 1)
    left, _, width, _ = visitor.boxes[0]
    assert visitor.boxes != before
    assert left <= drawn[0] <= drawn[2] < left + width
    # The call to WeChat cannot say it; the engine's own can.
    visitor.page.click("#codes button:text-is('curl')")
    visitor.see("#code-note", text="no focus")
    code = visitor.code("Python")
    shutil.copy(WIDE, tmp_path)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert f"left={left}, top=0, right={left + width}" in done.stdout
    visitor.page.click("[aria-label='Remove focus 1']")
    visitor.see("#stage .focus", 0)
    assert visitor.boxes == before


def test_a_finger_draws_only_when_it_was_told_to(cloudfn: Server, visit: Any) -> None:
    visitor = visit(cloudfn, has_touch=True, is_mobile=True, viewport={"width": 390, "height": 800})
    visitor.choose(WIDE)

    def stroke() -> None:
        visitor.page.locator("#stage").evaluate(
            """(stage) => {
                const around = stage.querySelector("img").getBoundingClientRect();
                stage.setPointerCapture = () => {};
                for (const [type, x] of [["pointerdown", 5], ["pointermove", 60], ["pointerup", 60]]) {
                    stage.dispatchEvent(new PointerEvent(type, {pointerType: "touch", pointerId: 1, bubbles: true,
                        clientX: around.left + x, clientY: around.top + 10 + x / 2}));
                }
            }"""
        )

    stroke()
    assert visitor.page.locator("#focuses input").count() == 0
    visitor.page.click("text=Draw a focus")
    stroke()
    visitor.see("#focuses input", 1)
    visitor.see("#stage .focus", 1)


# --- Pictures out ---


def test_a_download_is_the_box(cloudfn: Server, visit: Any) -> None:
    visitor = visit(cloudfn)
    visitor.choose(RACCOON)
    first, second = cut(RACCOON, visitor.json)
    assert visitor.download("[aria-label='Download 1']") == ("raccoon-966x728-1.jpg", first)
    assert visitor.download("[aria-label='Download 16:9']") == ("raccoon-966x728-16x9.jpg", second)
    assert Image.open(io.BytesIO(second)).size == (966, 543)
    visitor.page.select_option("#width", "200")
    assert visitor.page.locator("#cards canvas").first.bounding_box()["width"] == 200
    _, small = visitor.download("[aria-label='Download 16:9']")
    assert Image.open(io.BytesIO(small)).size == (200, 112)


def test_a_lossless_picture_s_download_has_the_box_s_very_pixels(cloudfn: Server, visit: Any, tmp_path: Path) -> None:
    image = Image.open(PHOTOS / "chelsea.jpg").convert("RGB")
    image.save(tmp_path / "chelsea.png")
    visitor = visit(cloudfn)
    visitor.choose(tmp_path / "chelsea.png")
    x, y, width, height = visitor.boxes[0]
    name, content = visitor.download("[aria-label='Download 1']")
    assert name == "chelsea-1.png"
    assert Image.open(io.BytesIO(content)).tobytes() == image.crop((x, y, x + width, y + height)).tobytes()


def test_several_pictures_are_a_contact_sheet_and_one_archive(cloudfn: Server, visit: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "coffee.jpg").write_bytes((PHOTOS / "coffee.jpg").read_bytes())
    visitor = visit(cloudfn)
    visitor.choose(PHOTOS / "chelsea.jpg", tmp_path / "coffee.jpg", tmp_path / "broken.jpg", PHOTOS / "coffee.jpg")
    visitor.see("#sheet [data-box]", 6)
    visitor.see("#sheet button", text="broken.jpg").filter(has_text="101002")
    visitor.page.click("#sheet button >> nth=1")
    visitor.see("#stage img[alt='coffee.jpg']")
    assert visitor.json["img_size"] == {"w": 600, "h": 400}
    visitor.page.click("#sheet button >> nth=2")
    visitor.see("#problem", text="101002 INVALID_IMAGE_DATA")
    visitor.page.click("#sheet button >> nth=0")
    name, content = visitor.download("#download-all")
    assert name == "crops.zip"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [
            *("chelsea-1.jpg", "chelsea-16x9.jpg", "coffee-1.jpg", "coffee-16x9.jpg"),
            *("coffee-1-2.jpg", "coffee-16x9-2.jpg"),
        ]
        assert [archive.read(name) for name in archive.namelist()[:2]] == cut(PHOTOS / "chelsea.jpg", visitor.json)
    visitor.page.fill("#ratios", "3:4")
    visitor.see("#sheet [data-box]", 3)


# --- The call ---


def curl(code: str, folder: Path) -> Any:
    """Run a line for the shell."""
    done = subprocess.run(["bash", "-c", code], cwd=folder, capture_output=True, text=True, timeout=30, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["raccoon.jpg", 'it\'s; a, "cat" $HOME.jpg', "浣熊 1.jpg"])
def test_the_copied_curl_and_python_answer_what_is_on_the_screen(
    cloudfn: Server, visit: Any, permitted: Path, name: str
) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    shutil.copy(RACCOON, permitted / name)
    visitor = visit(cloudfn)
    visitor.choose(permitted / name)
    assert curl(visitor.code("curl"), permitted) == visitor.json
    visitor.page.click("text=from the cloud call")
    code = visitor.code("Python").replace("print(result)", "import json; print(json.dumps(result))")
    done = subprocess.run([sys.executable, "-c", code], cwd=permitted, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == visitor.json


def test_the_copied_node_and_mini_program_code_is_javascript_that_makes_the_call(
    cloudfn: Server, visit: Any, tmp_path: Path
) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    shutil.copy(RACCOON, tmp_path)
    visitor = visit(cloudfn)
    visitor.choose(tmp_path / RACCOON.name)
    stage = """
        const said = [];
        const openapi = { img: { aiCrop: async (given) => said.push(given) } };
        require.cache[require.resolve("./wx-server-sdk.js")] = { exports: { init() {}, openapi } };
        const wx = { chooseMedia: async () => ({ tempFiles: [{ tempFilePath: "wxfile://1" }] }), cloud: {
            uploadFile: async ({ filePath }) => ({ fileID: `cloud://${filePath}` }),
            getTempFileURL: async ({ fileList }) => ({ fileList: [{ tempFileURL: `https://${fileList[0]}` }] }),
            callFunction: async (given) => { said.push(given); return { result: { results: [1], imgSize: 2 } }; } } };
        const Page = (page) => page.crop.call({ setData: (data) => said.push(data) });
    """
    (tmp_path / "wx-server-sdk.js").write_text("")

    def run(code: str, then: str) -> Any:
        script = f"{stage}\n(async () => {{\n{code.replace('wx-server-sdk', './wx-server-sdk.js')}\n{then}\n}})()"
        script += ".then(() => setTimeout(() => console.log(JSON.stringify(said)), 20))"
        (tmp_path / "run.js").write_text(script)
        done = subprocess.run(["node", "run.js"], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True)
        return json.loads(done.stdout)

    (given,) = run(visitor.code("Node.js"), "await exports.main()")
    assert bytes(given["img"]["value"]["data"]) == RACCOON.read_bytes()
    assert (given["img"]["contentType"], given["ratios"]) == ("image/jpeg", "1,1.77778")
    called, shown = run(visitor.code("Mini Program"), "")
    data = {"imgUrl": "https://cloud://wxfile://1", "ratios": "1,1.77778"}
    assert called == {"name": "aiCrop", "data": data}
    assert shown == {"boxes": [1], "size": 2}


def test_a_picture_by_its_url(cloudfn: Server, visit: Any, server: RecordingServer, permitted: Path) -> None:
    server.answers = [http(RACCOON.read_bytes(), content_type="image/jpeg")] * 2
    visitor = visit(cloudfn)
    url = f"{server.url}/a%20b.jpg?x=1&y=2"
    visitor.page.fill("#url", url)
    visitor.page.press("#url", "Enter")
    visitor.see("#stage img[alt='a b.jpg']")
    visitor.see("#stage [data-box]", 2)
    code = visitor.code("curl")
    assert "img=@" not in code
    assert curl(code, permitted) == visitor.json
    for language in ("Python", "Node.js", "Mini Program"):
        assert url in visitor.code(language)
    server.answers = [http(RACCOON.read_bytes(), content_type="image/jpeg")]
    visitor.page.fill("#url", f"{server.url}/%B5%C4.jpg")  # GBK
    visitor.page.press("#url", "Enter")
    visitor.see("#stage img[alt='%B5%C4.jpg']")
    # No name leads an archive's file out of the folder that it is unpacked in.
    server.answers = [http(RACCOON.read_bytes(), content_type="image/jpeg")]
    visitor.page.fill("#url", f"{server.url}/..%2F..%5Ca.jpg")
    visitor.page.press("#url", "Enter")
    visitor.see("#stage img[alt='.._.._a.jpg']")
    _, content = visitor.download("#download-all")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == [".._.._a-1.jpg", ".._.._a-16x9.jpg"]


# --- What can go wrong ---


def test_a_url_that_is_refused_is_told_with_code_cause_and_cure(cloudfn: Server, visit: Any) -> None:
    visitor = visit(cloudfn)
    visitor.page.fill("#url", "http://10.0.0.1/a.jpg")
    visitor.page.click("text=Fetch")
    visitor.see("#problem", text="101000 INVALID_IMAGE_URL")
    visitor.see("#problem", text="private address")
    visitor.see("#problem", text="Cure")
    visitor.see("#problem", text=cloudfn.requests[-1].rid)
    assert visitor.json["errcode"] == 101000
    assert "img_url=http%3A%2F%2F10.0.0.1%2Fa.jpg" in visitor.code("curl")
    visitor.page.click("text=from the cloud call")
    assert visitor.json["errCode"] == 101000


def test_a_picture_that_is_too_big_can_be_made_smaller(visit: Any) -> None:
    with Server(max_bytes=100_000) as server:
        visitor = visit(server)
        visitor.page.set_input_files("#files", str(RACCOON))
        visitor.see("#problem", text="101002 INVALID_IMAGE_DATA")
        visitor.see("#problem", text="148043 bytes, 100000 are taken")
        assert server.requests == []
        visitor.page.click("text=Make it smaller here")
        visitor.see("#stage [data-box]", 2)
        assert visitor.page.is_hidden("#problem")
        assert visitor.json["img_size"]["w"] < 966
        assert server.requests[-1].picture <= 100_000
        assert "raccoon-966x728-small.jpg" in visitor.code("curl")


def test_what_is_no_picture(cloudfn: Server, visit: Any) -> None:
    visitor = visit(cloudfn)
    drop(visitor, "drop", ("notes.jpg", b"some words"))
    visitor.see("#problem", text="101002 INVALID_IMAGE_DATA")
    assert visitor.page.is_hidden("#results")
    assert visitor.json["errcode"] == 101002


def test_a_server_that_has_gone_is_told_and_the_page_goes_on_when_it_is_back(visit: Any, tmp_path: Path) -> None:
    server = Process(tmp_path, "--workers", "1")
    try:
        visitor = visit(server)
        visitor.choose(RACCOON)
        server.kill()
        visitor.page.fill("#ratios", "2")
        visitor.see("#problem", text="The server does not answer")
        visitor.see("#problem", text="cloudfn serve --open")
        server = Process(tmp_path, "--workers", "1", "--port", server.url.rpartition(":")[2])
        visitor.page.click("text=Try again")
        visitor.see("#stage [data-box]", 1)
        assert visitor.page.is_hidden("#problem")
    finally:
        server.kill()


def test_a_fault_without_a_body_is_told(cloudfn: Server, visit: Any) -> None:
    cloudfn.fail(Fault("img.aiCrop", 502))
    visitor = visit(cloudfn)
    visitor.page.set_input_files("#files", str(RACCOON))
    visitor.see("#problem", text="HTTP 502")
    cloudfn.fail(Fault("img.aiCrop", 45009))
    visitor.page.click("text=Try again")
    visitor.see("#problem", text="45009 DAILY_QUOTA")


# --- Requests ---


def test_the_requests_view_shows_a_call_that_was_just_made(cloudfn: Server, visit: Any) -> None:
    visitor = visit(cloudfn, "/#requests")
    visitor.see("#none")
    requests.get(f"{cloudfn.url}/cv/img/aicrop?access_token=SECRETTOKEN", timeout=10)
    row = visitor.see("#list tbody tr", 1)
    text = row.inner_text()
    rid = cloudfn.requests[0].rid
    assert all(word in text for word in ("GET /cv/img/aicrop", "43002", "the method is GET: send POST", rid))
    assert "SECRETTOKEN" not in visitor.page.content()
    files: Any = {"img": ("a.jpg", RACCOON.read_bytes()), "ratios": (None, "1")}
    requests.post(f"{cloudfn.url}/cv/img/aicrop?access_token=T", files=files, timeout=10)
    visitor.see("#list tbody tr", 2)
    assert "ratios 1 · 148043 bytes" in visitor.page.inner_text("#list tbody tr >> nth=0")
    visitor.page.click("nav >> text=Crop")
    visitor.choose(RACCOON)
    visitor.page.click("nav >> text=Requests")
    visitor.see("#list tbody tr", 3)
    visitor.page.uncheck("#with-page")
    visitor.see("#list tbody tr", 2)


def crop_code(server: Server) -> int:
    answer = requests.post(f"{server.url}/cv/img/aicrop?access_token=T", timeout=10)
    return int(answer.json()["errcode"]) if answer.status_code == 200 else answer.status_code


def test_faults_quota_and_tokens_are_set_there(visit: Any) -> None:
    with Server(quota=5) as server:
        credentials = {"grant_type": "client_credential", "appid": server.appid, "secret": "any"}
        requests.get(f"{server.url}/cgi-bin/token", params=credentials, timeout=10)
        visitor = visit(server, f"/#admin={server.admin_token}")
        assert server.admin_token not in visitor.page.url
        assert not any(server.admin_token in url.partition("#")[0] for url in visitor.asked)
        visitor.page.click("nav >> text=Requests")
        visitor.see("#quota-state", text="0 of 5 used")
        visitor.see("#tokens-state", text="1 valid")
        visitor.page.click("#faults label >> nth=0")
        visitor.see("#faults input:checked", 1)
        assert crop_code(server) == 45009
        visitor.page.click("#faults label >> nth=0")
        visitor.see("#faults input:checked", 0)
        assert crop_code(server) == 41005
        visitor.page.fill("#fault [name=code]", "503")
        visitor.page.click("#fault button")
        visitor.see("#faults label", text="img.aiCrop 503")
        assert crop_code(server) == 503
        visitor.page.fill("#quota [name=limit]", "7")
        visitor.page.click("#quota button")
        visitor.see("#quota-state", text="0 of 7 used")
        visitor.page.click("text=Expire all")
        visitor.see("#tokens-state", text="0 valid")
        visitor.page.click("text=Reset everything")
        visitor.see("#quota-state", text="0 of 5 used")
        visitor.see("#faults input:checked", 0)
        assert crop_code(server) == 41005


def until(visitor: Any, cloudfn: Server, code: int) -> None:
    """Wait until a crop ends with this code: a switch moves at once, the request that it makes comes after it."""
    for _ in range(100):
        if crop_code(cloudfn) == code:
            return
        visitor.page.wait_for_timeout(50)
    raise AssertionError(f"no crop ended with {code}")


def test_without_the_admin_token_it_is_asked_for(cloudfn: Server, visit: Any) -> None:
    visitor = visit(cloudfn, "/#requests")
    words: list[str] = []

    def dismiss(dialog: Any) -> None:
        words.append(dialog.message)
        dialog.dismiss()

    visitor.page.once("dialog", dismiss)
    visitor.page.click("#faults label >> nth=0")
    visitor.see("#admin-problem", text="a change needs the admin token")
    visitor.see("#faults input:checked", 0)
    assert words == ["The admin token that cloudfn serve printed"]
    assert crop_code(cloudfn) == 41005
    visitor.page.once("dialog", lambda dialog: dialog.accept(cloudfn.admin_token))
    visitor.page.click("#faults label >> nth=0")
    visitor.see("#faults input:checked", 1)
    until(visitor, cloudfn, 45009)
    visitor.page.reload()  # which the token survives, in this window alone
    visitor.page.click("#faults label >> nth=0")
    visitor.see("#faults input:checked", 0)
    until(visitor, cloudfn, 41005)


def test_the_admin_surface_that_is_closed_says_so(cloudfn: Server, visit: Any) -> None:
    visitor = visit(cloudfn, "/#requests", extra_http_headers={"X-Forwarded-For": "203.0.113.9"})
    visitor.see("#admin-problem", text="it answers no proxy")
    assert visitor.page.is_hidden("#admin")


# --- For everybody ---


def test_english_and_chinese_by_browser_and_by_switch(cloudfn: Server, visit: Any) -> None:
    visitor = visit(cloudfn, locale="zh-CN")
    assert visitor.page.get_attribute("html", "lang") == "zh-CN"
    visitor.see("h1", text="拖入图片")
    visitor.choose(RACCOON)
    visitor.see("#status", text="框：2")
    visitor.page.fill("#ratios", "16/9")
    visitor.see("#ratios-problem", text="请写")
    visitor.page.fill("#ratios", "1")
    visitor.page.fill("#url", "http://10.0.0.1/")
    visitor.page.press("#url", "Enter")
    visitor.see("#problem", text="请用无需登录的公网 https 图片网址")
    visitor.page.click("#language")
    visitor.see("h1", text="Drop a picture")
    visitor.see("#status", text="boxes: 1")
    visitor.page.reload()
    visitor.see("h1", text="Drop a picture")
    assert visitor.page.get_attribute("html", "lang") == "en"
    visitor.page.click("#language")
    visitor.page.click("nav >> text=请求")
    visitor.see("h1", text="本服务器收到的请求")


def test_with_the_keyboard_alone(cloudfn: Server, visit: Any) -> None:
    visitor = visit(cloudfn)

    def go_to(selector: str) -> None:
        """Press Tab until the focus is there, and see that it shows."""
        for _ in range(60):
            visitor.page.keyboard.press("Tab")
            if visitor.page.evaluate("(wanted) => document.activeElement.matches(wanted)", selector):
                style = (
                    "getComputedStyle(document.activeElement.closest('.button') ?? document.activeElement).outlineStyle"
                )
                assert visitor.page.evaluate(style) == "solid"
                return
        raise AssertionError(f"Tab never comes to {selector}")

    go_to("#files")
    go_to("#samples button[aria-label=coffee]")
    visitor.page.keyboard.press("Enter")
    visitor.see("#stage [data-box]", 2)
    go_to("#presets button[value='2.35']")
    visitor.page.keyboard.press("Space")
    visitor.see("#stage [data-box]", 3)
    go_to("#show-heat")
    visitor.page.keyboard.press("Space")
    visitor.see("#stage canvas", 1)
    go_to("#focuses button")
    visitor.page.keyboard.press("Enter")
    visitor.see("#stage .focus", 1)
    visitor.page.keyboard.press("Shift+Tab")
    go_to("#focuses input")
    visitor.page.keyboard.press("Control+A")
    visitor.page.keyboard.type("0,0,99,99")
    visitor.page.keyboard.press("Enter")
    visitor.see("#stage .focus[width='100']", 1)
    go_to("#cards li:nth-child(2) .pick")
    assert visitor.page.text_content("#stage .tag") == "16:9"
    go_to("#cards li:nth-child(3) .pick")
    assert visitor.page.text_content("#stage .tag") == "2.35"
    go_to(".copyable:has(#json) button")
    visitor.page.keyboard.press("Enter")
    visitor.see(".copyable:has(#json) button", text="Copied")
    assert json.loads(visitor.page.evaluate("navigator.clipboard.readText()")) == visitor.json


@pytest.mark.parametrize("path", ["/#crop", "/#requests"])
def test_on_a_screen_of_360_pixels_nothing_is_cut_off(cloudfn: Server, visit: Any, path: str) -> None:
    visitor = visit(cloudfn, path, has_touch=True, is_mobile=True, viewport={"width": 360, "height": 740})
    requests.get(f"{cloudfn.url}/cv/img/aicrop?access_token=T", timeout=10)
    if path == "/#crop":
        visitor.choose(RACCOON, WIDE)
        visitor.ratios("1,4:3,16:9,2.35,9:16", 5)
    else:
        visitor.see("#list tbody tr")
    assert visitor.page.evaluate("document.documentElement.scrollWidth") == 360
    for button in visitor.page.locator("button:visible, input:visible, select:visible").all():
        place = button.bounding_box()
        assert place["x"] >= 0
        assert place["x"] + place["width"] <= 360
    assert visitor.page.locator("#language").bounding_box()["height"] < 60


def test_dark_and_without_motion_where_the_system_says_so(cloudfn: Server, visit: Any) -> None:
    def colours(visitor: Visitor) -> list[int]:
        said = visitor.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return [int(part) for part in re.findall(r"\d+", said)]

    light = visit(cloudfn, color_scheme="light")
    dark = visit(cloudfn, "/#requests", color_scheme="dark", reduced_motion="reduce")
    assert min(colours(light)) > 200
    assert max(colours(dark)) < 50
    dark.see("#faults input")
    moves = "getComputedStyle(document.querySelector('#faults input'), '::before').transitionDuration"
    assert dark.page.evaluate(moves) == "0s"


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core's script, from npm."""
    modules = npm.install(tmp_path_factory.mktemp("axe"), AXE)
    return (modules / "axe-core" / "axe.min.js").read_text("utf-8")


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(cloudfn: Server, visit: Any, axe: str, scheme: str, locale: str) -> None:
    visitor = visit(cloudfn, f"/#admin={cloudfn.admin_token}", color_scheme=scheme, locale=locale)

    def check(where: str) -> None:
        visitor.page.evaluate(axe)
        found = visitor.page.evaluate(
            "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})"
        )
        assert found["passes"]
        bad = [
            (rule["impact"], rule["id"], [node["html"][:90] for node in rule["nodes"]][:3])
            for rule in found["violations"]
        ]
        assert bad == [], where

    check("empty")
    visitor.choose(RACCOON, PHOTOS / "astronaut.jpg")
    visitor.page.click("#show-heat")
    visitor.page.click("#show-focal")
    visitor.page.click("#focuses button")
    visitor.see("#stage .focus", 1)
    check("crop")
    visitor.page.fill("#url", "http://10.0.0.1/")
    visitor.page.press("#url", "Enter")
    visitor.see("#problem")
    check("error")
    visitor.page.click("nav a >> nth=1")
    visitor.see("#list tbody tr")
    visitor.page.click("#faults label >> nth=0")
    visitor.see("#faults input:checked", 1)
    check("requests")


def test_nothing_is_loaded_from_elsewhere_and_the_page_is_light(cloudfn: Server, visit: Any) -> None:
    visitor = visit(cloudfn, locale="zh-CN")
    visitor.choose(RACCOON)
    visitor.page.click("nav a >> nth=1")
    visitor.see("#list tbody tr")
    assert {url.split("/")[2] for url in visitor.asked if not url.startswith("blob:")} == {cloudfn.url[7:]}
    own = {url for url in visitor.asked if re.search(r"/$|/page/[\w.-]+$", url) and not url.endswith("/page/crop")}
    assert len(own) > 10
    assert sum(len(requests.get(url, timeout=10).content) for url in own) < 60_000


def test_every_text_of_the_page_is_translated_and_no_other() -> None:
    folder = Path(page.__file__).parent
    chinese = set(re.findall(r'"((?:[^"\\]|\\.)+)": "', (folder / "zh.js").read_text("utf-8")))
    html = (folder / "index.html").read_text("utf-8")
    scripts = "\n".join(path.read_text("utf-8") for path in folder.glob("*.js") if path.name != "zh.js")
    wanted = set(re.findall(r"data-t>([^<]+)<", html)) | set(re.findall(r'data-label="([^"]+)"', html))
    wanted |= set(re.findall(r'\b(?:t|common)\(\s*"((?:[^"\\]|\\.)+)"', scripts))
    wanted |= set(re.findall(r'\bt\([^"(),]+\? "([^"]+)"', scripts)) | set(re.findall(r'\n\s+: "([^"]+)"\)', scripts))
    assert len(wanted) > 60
    assert wanted - chinese - {"JSON", "CSS"} == set()
    assert {text for text in chinese if text not in html + scripts and not text.startswith("cure ")} == set()


def test_serve_open_starts_the_page_in_the_browser(tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}.part && mv {opened}.part {opened}\n')
    browser.chmod(0o755)
    environment = os.environ | {"BROWSER": f"{browser} %s"}
    command = [sys.executable, "-m", "cloudfn", "serve", "--port", "0", "--open"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            address = process.stdout.readline().strip()
            for _ in range(200):
                if opened.exists():
                    break
                time.sleep(0.05)
            address_opened = opened.read_text().strip()
            printed = dict(
                line.strip().split("=", 1) for line in (process.stdout.readline(), process.stdout.readline())
            )
            assert address_opened == f"{address}/#admin={printed['CLOUDFN_ADMIN_TOKEN'][1:-1]}"
            assert "cloudfn" in requests.get(address_opened, timeout=10).text
            # One worker, so that the requests' view has all there is.
            assert requests.get(f"{address}/_cloudfn/state", timeout=10).status_code == 200
        finally:
            process.terminate()
