"""What is fuzzed: each target takes bytes, and only a `CloudError` or ValueError that it documents may come out."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from cloudfn import CloudError, crop, handler, permissions
from cloudfn.call.apis import APIS
from cloudfn.call.params import read
from cloudfn.call.reply import normalise, parse
from cloudfn.net import multipart


@cache
def _main() -> handler.Handler:
    folder = Path(tempfile.mkdtemp(prefix="cloudfn-fuzz-"))
    (folder / "config.json").write_text('{"permissions": {"openapi": ["img.aiCrop"]}}')
    return handler.make_main(backend="local", config=folder / "config.json")


def event(data: bytes) -> None:
    """An event in bytes, as FC hands it over."""
    with contextlib.suppress(CloudError):
        answer = _main()(data, None)
        if not isinstance(answer, bytes):
            json.dumps(answer, ensure_ascii=False).encode()


def picture(data: bytes) -> None:
    """A picture for the engine, within small limits so that a run tries many."""
    with contextlib.suppress(CloudError):
        crop.find(data, [1], max_megapixels=1, max_jpeg_megapixels=1)


def parameters(data: bytes) -> None:
    """JSON as the parameters of a cloud call."""
    try:
        given: Any = json.loads(data)
    except (ValueError, RecursionError):
        return
    with contextlib.suppress(CloudError):
        read(APIS["img.aiCrop"], given)


def form(data: bytes) -> None:
    """A multipart body behind the line that names its content type."""
    content_type, _, body = data.partition(b"\n")
    with contextlib.suppress(ValueError):
        multipart.parse(content_type.decode("latin-1"), body)


def reply(data: bytes) -> None:
    """An answer of WeChat."""
    with contextlib.suppress(CloudError):
        normalise("img.aiCrop", parse("img.aiCrop", data))


def config(data: bytes) -> None:
    """A config.json."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(data)
        file.flush()
        with contextlib.suppress(CloudError):
            permissions.check("img.aiCrop", file.name)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (event, picture, parameters, form, reply, config)
}
CORPUS = Path(__file__).with_name("corpus")
