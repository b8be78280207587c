"""`cloudfn crop`: boxes, cut pictures and a preview for pictures on this machine or behind URLs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cloudfn import crop, settings
from cloudfn.backends import choose
from cloudfn.backends.local import Local
from cloudfn.batch import store
from cloudfn.batch.inputs import expand
from cloudfn.batch.run import Batch
from cloudfn.batch.values import Item
from cloudfn.batch.work import identity, labels
from cloudfn.boxes import half_open
from cloudfn.cli import pictures
from cloudfn.cli.progress import Bar
from cloudfn.cli.report import exit_code, print_line, report, wrong_use
from cloudfn.errors import CloudError, setup_error

# The members of a batch's line that describe the batch and not the picture.
_BATCH_ONLY = ("input", "ratios", "name", "backend", "milliseconds", "time")


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("crop", help="find the best crop of pictures")
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help=pictures.INPUTS)
    pictures.add_arguments(parser, "--out")
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
    parser.set_defaults(run=run)


class _Finder:
    """The engine with the boxes of --focus, for which the cloud call has no place; keeps its last result."""

    def __init__(self, focus: Sequence[tuple[float, ...]]) -> None:
        self._focus = focus
        self.last: crop.Found | None = None

    def __call__(self, picture: bytes, ratios: Sequence[float], **limits: float) -> crop.Found:
        try:
            self.last = crop.find(picture, ratios, focus=self._focus, **limits)
        except ValueError as error:
            wrong_use("crop", f"--focus: {error}")
        return self.last


class _Drawings:
    """The drawings of --preview and --explain for a picture, made from its bytes and its result."""

    def __init__(self, arguments: argparse.Namespace, current: settings.Settings, finder: _Finder) -> None:
        self._preview: Path | None = arguments.preview
        self._explain: Path | None = arguments.explain
        self._limits = current.max_megapixels, current.max_jpeg_megapixels
        self._finder = finder

    def __call__(self, item: Item, data: bytes, result: dict[str, Any]) -> dict[str, Any]:
        from cloudfn.cli import preview
        from cloudfn.crop.picture import Limits

        limits, texts = Limits(*self._limits), labels(item.ratios, len(result["results"]))
        written = {}
        if self._preview:
            boxes = [half_open(box) for box in result["results"]]
            drawn = preview.draw(data, boxes, texts, self._preview.suffix.lower(), limits)
            written["preview"] = _written(self._preview, drawn)
        if self._explain and self._finder.last:
            why = self._finder.last.explain()
            drawn = preview.explain(data, why, texts, self._explain.suffix.lower(), limits)
            written["explain"] = _written(self._explain, drawn)
        return written


def run(arguments: argparse.Namespace) -> int:
    """Crop each picture; a failure is reported and the others go on. Nothing here reads config.json."""
    pictures.check_ratios(arguments, "crop")
    if (arguments.explain or arguments.focus) and arguments.backend != "local":
        wrong_use("crop", "--explain and --focus are answered by the embedded engine: use --backend local")
    cut = pictures.cut_of(arguments, "crop", "--out")
    current = settings.load({"backend": arguments.backend})
    if arguments.backend == "local" or cut or arguments.preview:
        crop.check_installed()
    items = list(expand(arguments.pictures, arguments.ratios, pictures.filter_of(arguments), pictures.standard_input()))
    if not items:
        wrong_use("crop", f"{' '.join(arguments.pictures)}: there is no picture")
    kept = frozenset(filter(None, (identity(item.source) for item in items if not store.is_url(item.source))))
    for option, path in (("--preview", arguments.preview), ("--explain", arguments.explain)):
        if path:
            _check_drawing(option, path, items, kept)
    finder = _Finder(arguments.focus)
    batch = Batch(
        inputs=items,
        ratios=arguments.ratios,
        cut=replace(cut, keep=kept) if cut else None,
        backend=arguments.backend,
        here=Local(current, find=finder) if arguments.backend == "local" else choose(current),
        also=_Drawings(arguments, current, finder) if arguments.preview or arguments.explain else None,
    )
    errors: list[CloudError] = []
    with Bar(lambda: len(items), wanted=len(items) > 1) as bar:
        for done in batch.run():
            if done.error:
                errors.append(done.error)
                report(done.error, store.shown(done.item.source))
            _print(done.item, done.line or {}, as_json=arguments.json)
            bar.show(batch.done, batch.skipped, batch.failures)
    return exit_code(errors, of=batch.done)


def _focus(text: str) -> tuple[float, ...]:
    """Parse `left,top,right,bottom[:weight]`, whose corners are inclusive, into the engine's half-open box."""
    corners, _, weight = text.partition(":")
    try:
        edges = (int(number) for number in corners.split(","))
        box = half_open(dict(zip(("cropLeft", "cropTop", "cropRight", "cropBottom"), edges, strict=True)))
        return *box, float(weight or 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected four whole numbers and perhaps a weight") from None


def _check_drawing(option: str, path: Path, items: Sequence[Item], kept: frozenset[tuple[int, int]]) -> None:
    """End the command where a drawing has no place of its own."""
    from cloudfn.cli.preview import EXTENSIONS

    if len(items) > 1:
        wrong_use("crop", f"{option} takes one picture, not {len(items):,}; for several use --out")
    if path.suffix.lower() not in EXTENSIONS:
        wrong_use("crop", f"{option} {path}: expected a file name that ends in {', '.join(EXTENSIONS)}")
    if identity(path) in kept:
        wrong_use("crop", f"{option} {path} is the picture itself: name another file")
    if not path.absolute().parent.is_dir():
        wrong_use("crop", f"{option} {path}: there is no folder {path.parent}: make it, or name another")


def _written(path: Path, drawn: bytes) -> str:
    try:
        store.write(str(path), drawn)
    except OSError as error:
        raise setup_error(
            f"{path}: cannot be written ({store.why(error)})", "name a file in a folder that can be written to"
        ) from None
    return str(path)


def _print(item: Item, line: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_line({"picture": item.source, **{name: line[name] for name in line if name not in _BATCH_ONLY}})
        return
    if "results" in line:
        print(f"{store.shown(item.source)}  {line['imgSize']['w']}x{line['imgSize']['h']}")
        files = line.get("cut") or [""] * len(line["results"])
        texts = labels(item.ratios, len(line["results"]))
        for label, box, file in zip(texts, line["results"], files, strict=False):
            left, top, right, bottom = half_open(box)
            print(
                f"  {label:<8} left {left}, top {top}, right {right - 1}, bottom {bottom - 1}  "
                f"({right - left}x{bottom - top})" + (f"  {file}" if file else "")
            )
    for name in ("preview", "explain"):
        if name in line:
            print(f"  {name:<8} {line[name]}")
    sys.stdout.flush()
