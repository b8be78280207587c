"""`cloudfn crop`: boxes, cut pictures and a preview for pictures on this machine or behind URLs."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

from cloudfn import crop, settings
from cloudfn.backends import choose, perform
from cloudfn.backends.local import Local, fetched
from cloudfn.boxes import half_open
from cloudfn.call import media, params
from cloudfn.call.apis import APIS
from cloudfn.call.values import Backend
from cloudfn.cli.report import exit_code, report
from cloudfn.errors import CloudError, setup_error

_API = APIS["img.aiCrop"]


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("crop", help="find the best crop of pictures")
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="a file, or an http(s) URL")
    parser.add_argument(
        "--ratios", default="", help="at most five aspect ratios, such as 1,2.35,16:9; default: automatic"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="write the cut pictures into this folder")
    parser.add_argument(
        "--preview", metavar="FILE", type=Path, help="write a picture with the boxes drawn (one PICTURE)"
    )
    parser.add_argument(
        "--explain",
        metavar="FILE",
        type=Path,
        help="write a picture of why the boxes are there: heat map, faces, runners-up, focal point (one PICTURE)",
    )
    parser.add_argument(
        "--focus",
        metavar="LEFT,TOP,RIGHT,BOTTOM[:WEIGHT]",
        type=_focus,
        action="append",
        default=[],
        help="a box that must count, in pixels of the picture as displayed, right and bottom included; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON a picture")
    parser.add_argument("--backend", choices=("local", "wechat", "auto"), default="local", help="default: local")
    parser.set_defaults(run=run, usage=parser.error)


class _Finder:
    """The engine with the boxes of --focus, for which the cloud call has no place; keeps the last that it found."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self.found: crop.Found | None = None

    def __call__(self, picture: bytes, ratios: Sequence[float], **limits: float) -> crop.Found:
        try:
            self.found = crop.find(picture, ratios, focus=self._arguments.focus, **limits)
        except ValueError as error:
            self._arguments.usage(f"--focus: {error}")  # which ends the command
            raise
        return self.found


def run(arguments: argparse.Namespace) -> int:
    """Crop each picture; what fails is told and the others go on. Nothing here reads config.json."""
    labels = _labels(arguments)
    for option, path in (("--preview", arguments.preview), ("--explain", arguments.explain)):
        if path and len(arguments.pictures) > 1:
            arguments.usage(f"{option} takes one PICTURE; for several use --out")
        if path:
            _check_extension(arguments, option, path)
    if (arguments.explain or arguments.focus) and arguments.backend != "local":
        arguments.usage("--explain and --focus are answered by the embedded engine: use --backend local")
    chosen = settings.load({"backend": arguments.backend})
    finder = _Finder(arguments)
    backend = Local(chosen, find=finder) if arguments.backend == "local" else choose(chosen)
    errors = []
    for picture, name in zip(arguments.pictures, _names(arguments.pictures), strict=True):
        try:
            result = _crop(picture, name, labels, arguments, chosen, backend, finder)
        except CloudError as error:
            errors.append(error)
            report(error, picture)
            result = error.to_dict()
        _print(picture, labels, result, as_json=arguments.json)
    return exit_code(errors, of=len(arguments.pictures))


def _labels(arguments: argparse.Namespace) -> list[str]:
    """The ratios as the user wrote them, each with its box; a wrong one is a wrong call of the command."""
    try:
        params.read(_API, {"imgUrl": "https://example.com/", "ratios": arguments.ratios})
    except CloudError as error:
        arguments.usage(f"--{error.facts.problem}; {error.facts.cure}")
    return [text.strip() for text in arguments.ratios.split(",")] if arguments.ratios.strip() else ["auto"]


def _focus(text: str) -> tuple[float, ...]:
    """`left,top,right,bottom[:weight]`, corners inclusive, as the engine takes it: half-open."""
    corners, _, weight = text.partition(":")
    try:
        edges = (int(number) for number in corners.split(","))
        box = half_open(dict(zip(("cropLeft", "cropTop", "cropRight", "cropBottom"), edges, strict=True)))
        return *box, float(weight or 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected four whole numbers and perhaps a weight") from None


def _check_extension(arguments: argparse.Namespace, option: str, path: Path) -> None:
    from cloudfn.cli.preview import EXTENSIONS

    if path.suffix.lower() not in EXTENSIONS:
        arguments.usage(f"{option} {path}: expected a file name that ends in {', '.join(EXTENSIONS)}")


def _crop(
    picture: str,
    name: str,
    labels: list[str],
    arguments: argparse.Namespace,
    chosen: settings.Settings,
    backend: Backend,
    finder: _Finder,
) -> dict[str, Any]:
    given: dict[str, Any] = {"ratios": arguments.ratios}
    is_url = picture.lower().startswith(("http://", "https://"))
    wants_pixels = arguments.out or arguments.preview or arguments.explain
    if not is_url:
        given["img"] = Path(picture)
    elif wants_pixels:
        # One download for the box and for the pixels: behind a URL the picture may be another one a moment later.
        given["img"] = fetched(picture, chosen)
    else:
        given["imgUrl"] = picture
    call = params.read(_API, given)
    result = perform(call, backend)
    if wants_pixels:
        data = call.params["img"].value
        boxes = [half_open(box) for box in result["results"]]
        _write_pictures(data, boxes, name, labels, arguments, chosen, finder.found)
    return result


def _write_pictures(
    data: bytes,
    boxes: list[crop.Box],
    name: str,
    labels: list[str],
    arguments: argparse.Namespace,
    chosen: settings.Settings,
    found: crop.Found | None,
) -> None:
    limits = chosen.max_megapixels, chosen.max_jpeg_megapixels
    if arguments.out:
        endings = {"jpeg": "jpg"}
        cuts = crop.cut(data, boxes, max_megapixels=limits[0], max_jpeg_megapixels=limits[1])
        for label, cut in zip(_unlike(labels), cuts, strict=True):
            kind = media.sniff(cut) or "image/png"
            ending = kind.partition("/")[2]
            file = f"{name}-{label.replace(':', 'x')}.{endings.get(ending, ending)}"
            _write(arguments.out / file, cut)
    if arguments.preview:
        from cloudfn.cli.preview import draw
        from cloudfn.crop.picture import Limits

        _write(arguments.preview, draw(data, boxes, labels, arguments.preview.suffix.lower(), Limits(*limits)))
    if arguments.explain and found:
        from cloudfn.cli.preview import explain
        from cloudfn.crop.picture import Limits

        extension = arguments.explain.suffix.lower()
        _write(arguments.explain, explain(data, found.explain(), labels, extension, Limits(*limits)))


def _write(path: Path, content: bytes) -> None:
    """Write the whole file or none of it: to a temporary file beside it, then renamed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                file.write(content)
                file.close()
                mask = os.umask(0)
                os.umask(mask)
                Path(file.name).chmod(0o666 & ~mask)  # a temporary file is readable by its owner alone
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        cure = "name a folder that can be written to"
        raise setup_error(f"{path}: cannot be written ({error.strerror})", cure) from None


def _names(pictures: list[str]) -> list[str]:
    """A file name's stem for each picture, no two alike."""
    paths = [picture.partition("?")[0].rstrip("/") if "://" in picture else picture for picture in pictures]
    return _unlike([Path(path).stem or "picture" for path in paths])


def _unlike(names: list[str]) -> list[str]:
    """The names with -2, -3, ... behind those that came before: nothing that --out writes replaces another."""
    used: dict[str, None] = {}
    for name in names:
        used[next(new for n in count(1) if (new := name if n == 1 else f"{name}-{n}") not in used)] = None
    return list(used)


def _print(picture: str, labels: list[str], result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"picture": picture, **result}, ensure_ascii=False))
    elif "results" in result:
        print(f"{picture}  {result['imgSize']['w']}x{result['imgSize']['h']}")
        for label, box in zip(labels, result["results"], strict=True):
            left, top, right, bottom = half_open(box)
            print(
                f"  {label:<8} left {left}, top {top}, right {right - 1}, bottom {bottom - 1}  "
                f"({right - left}x{bottom - top})"
            )
    sys.stdout.flush()
