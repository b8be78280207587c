"""Arguments that `cloudfn crop` and `cloudfn batch` share: inputs, ratios and cut pictures."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from typing import BinaryIO

from cloudfn.batch.inputs import Filter
from cloudfn.batch.values import Cut
from cloudfn.batch.work import API
from cloudfn.call import params
from cloudfn.cli.report import wrong_use
from cloudfn.errors import CloudError

_SIZE = re.compile(r"([0-9]{1,5})?(?:x([0-9]{1,5})?)?", re.IGNORECASE)
INPUTS = (
    "a file, a folder, a quoted glob, a URL (http, https, or one that fsspec reads, such as s3://), a list "
    "(.jsonl, .csv, .txt), or - for a picture or a list on standard input"
)


def add_arguments(parser: argparse.ArgumentParser, cut: str) -> None:
    """Add the arguments; `cut` is the option that takes the folder of the cut pictures."""
    parser.add_argument(
        "--ratios", default="", help="at most five aspect ratios, such as 1,2.35,16:9; default: automatic"
    )
    parser.add_argument(cut, dest="cut", metavar="DIR", help="write the cut pictures into this folder or URL")
    parser.add_argument("--size", type=_size, metavar="WxH", help="of the cut pictures: 300x200, 300x or x200")
    parser.add_argument("--format", type=_format, metavar="FORMAT", help="of the cut pictures: jpeg, png or webp")
    parser.add_argument("--quality", type=number(1, 100), metavar="1..100", help="of the cut pictures, where lossy")
    parser.add_argument(
        "--include", action="append", default=[], metavar="PATTERN", help="take only such files of folders"
    )
    parser.add_argument("--exclude", action="append", default=[], metavar="PATTERN", help="leave such files out")
    parser.add_argument("--backend", choices=("local", "wechat", "auto"), default="local", help="default: local")


def cut_of(arguments: argparse.Namespace, command: str, option: str) -> Cut | None:
    """Return the settings for cut pictures, None where none are wanted."""
    if arguments.cut:
        return Cut(arguments.cut, arguments.size, arguments.format, arguments.quality)
    for name in ("size", "format", "quality"):
        if getattr(arguments, name) is not None:
            wrong_use(command, f"--{name} is about cut pictures: add {option} DIR")
    return None


def filter_of(arguments: argparse.Namespace) -> Filter:
    """Return the filter of --include and --exclude."""
    return Filter(tuple(arguments.include), tuple(arguments.exclude))


def check_ratios(arguments: argparse.Namespace, command: str) -> None:
    """End the command where the ratios are wrong."""
    try:
        params.read(API, {"imgUrl": "https://example.com/", "ratios": arguments.ratios})
    except CloudError as error:
        wrong_use(command, f"--{error.facts.problem}; {error.facts.cure}")


def standard_input() -> BinaryIO | None:
    """Return standard input's bytes, None where it is closed."""
    return getattr(sys.stdin, "buffer", None)


def number(least: int, most: int) -> Callable[[str], int]:
    """Return a parser of whole numbers for argparse."""

    def parse(text: str) -> int:
        value = int(text) if re.fullmatch(r"[0-9]{1,19}", text) else least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from {least} to {most}")
        return value

    return parse


def _size(text: str) -> tuple[int | None, int | None]:
    match = _SIZE.fullmatch(text)
    sides = [int(side) if side else None for side in match.groups()] if match else [None, None]
    if sides == [None, None] or 0 in sides or any(side and side > 65535 for side in sides):
        raise argparse.ArgumentTypeError(f"{text!r}: expected pixels such as 300x200, 300x or x200")
    return sides[0], sides[1]


def _format(text: str) -> str:
    kind = {"jpg": "jpeg"}.get(text.lower(), text.lower())
    if kind not in ("jpeg", "png", "webp"):
        raise argparse.ArgumentTypeError(f"{text!r}: expected jpeg, png or webp")
    return kind
