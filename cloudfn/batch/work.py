"""The work of a worker: read a picture, find its crop, cut it out; one chunk of pictures at a time."""

from __future__ import annotations

import base64
import io
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import lru_cache
from itertools import count
from typing import Any, TypeAlias

from cloudfn import crop
from cloudfn.backends import choose, perform
from cloudfn.backends.local import fetched
from cloudfn.batch import store
from cloudfn.batch.values import Done, Item, Task
from cloudfn.boxes import half_open
from cloudfn.call import media, params
from cloudfn.call.apis import APIS
from cloudfn.call.values import Backend, Deadline
from cloudfn.errors import CloudError, refusal, setup_error, shortage

API = APIS["img.aiCrop"]
# Codes after which no other picture would fare better today: the set-up is wrong, or WeChat's quota is used up.
_HALTS = frozenset((-601002, 41001, 40001, 40013, 40125, 40164, 42001, 45009, 48001))
THUMBNAIL = 160  # pixels of the longer side of a small picture
_PLACED = {"jpeg": "jpg", "heif": "heic", "svg+xml": "svg"}

# Writes something more for a picture: called with its bytes and result, returns more members for its line.
Also: TypeAlias = Callable[[Item, bytes, dict[str, Any]], dict[str, Any]]


def crop_chunk(task: Task, items: Sequence[Item]) -> list[Done]:
    """Crop some pictures in a process that keeps nothing but its backend between calls."""
    return _cropper(task)(items)


def warm_up(task: Task) -> None:
    """Load everything that the first picture needs; raises CloudError -601002 where the engine is not installed."""
    _cropper(task)
    if task.settings.backend == "local":
        crop.find(_SMALLEST, (1,))


_SMALLEST = base64.b64decode("R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs=")  # one pixel


@lru_cache(maxsize=1)
def _cropper(task: Task) -> Cropper:
    _keep_working_memory()
    return Cropper(task)


def _keep_working_memory() -> None:
    """Undo the default that Dask sets for its workers: that glibc returns all but 64 KiB of free memory to the kernel.

    Taking it again for each picture is 2,400 page faults, 40 % of the time. Other values are left as they are.
    """
    if os.name == "nt" or os.environ.get("MALLOC_TRIM_THRESHOLD_") != "65536":
        return
    import ctypes

    mallopt: Callable[[int, int], int] | None = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_TRIM_THRESHOLD, 64 * 1024 * 1024)
        mallopt(_MMAP_THRESHOLD, 8 * 1024 * 1024)


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


class Cropper:
    """A cropper of pictures with one backend; as thread-safe as the backend."""

    def __init__(self, task: Task, backend: Backend | None = None, also: Also | None = None) -> None:
        """Keep `also`, a command's own extra step, which is called with a picture's bytes and result."""
        self._task = task
        self._backend = backend or choose(task.settings)
        self._also = also

    def __call__(self, items: Sequence[Item]) -> list[Done]:
        """Return the outcome of each picture; a picture that fails raises nothing."""
        return [self._done(item) for item in items]

    def close(self) -> None:
        """Close the backend's connections."""
        self._backend.close()

    def _done(self, item: Item) -> Done:
        start = time.perf_counter()
        failed: CloudError | None = None
        thumbnail = None
        try:
            if item.error:
                raise item.error
            outcome, thumbnail = self._crop(item)
        except CloudError as error:
            if error.errCode in _HALTS:
                return Done(item, halt=error)
            failed = error
        except MemoryError as error:
            failed = shortage(error)
        except OSError as error:
            problem = f"{error.filename or 'the cut picture'}: cannot be written ({store.why(error)})"
            if error.errno in store.FULL:
                return Done(item, halt=setup_error(problem, "make room there, then go on with --resume"))
            failed = setup_error(problem, "name a folder that can be written to")
        except Exception as error:  # noqa: BLE001 - whatever happens to one picture, the others go on
            problem = f"the picture cannot be worked on: {type(error).__name__}: {store.why(error)}"
            failed = refusal(-504002, problem, "report it, with the picture if that is possible")
        seconds = time.perf_counter() - start
        outcome = told(failed) if failed else outcome
        return Done(item, line(item, outcome, self._backend.name, seconds), error=failed, thumbnail=thumbnail)

    def _crop(self, item: Item) -> tuple[dict[str, Any], bytes | None]:
        task = self._task
        arguments: dict[str, Any] = {"ratios": item.ratios}
        wants_pixels = task.cut or task.thumbnails or self._also
        if item.data is not None:
            arguments["img"] = item.data
        elif not store.is_http(item.source):
            arguments["img"] = store.read(item.source, int(task.settings.max_url_mib * 1024 * 1024))
        elif wants_pixels:
            # One download for the box and the pixels: behind a URL the picture may be another one a moment later.
            arguments["img"] = fetched(item.source, task.settings, seconds=task.settings.timeout)
        else:
            arguments["imgUrl"] = item.source
        call = replace(params.read(API, arguments), deadline=Deadline(task.settings.timeout))
        result = perform(call, self._backend)
        outcome, thumbnail = dict(result), None
        if wants_pixels:
            data = arguments["img"]
            if task.cut:
                outcome["cut"] = self._write_cut(item, data, result)
            if self._also:
                outcome |= self._also(item, data, result)
            if task.thumbnails:
                thumbnail = _thumbnail(data, task)
        return outcome, thumbnail

    def _write_cut(self, item: Item, data: bytes, result: dict[str, Any]) -> list[str]:
        cut = self._task.cut
        assert cut
        pieces = crop.cut(
            data,
            [half_open(box) for box in result["results"]],
            size=cut.size,
            format=cut.format,
            quality=cut.quality,
            max_megapixels=self._task.settings.max_megapixels,
            max_jpeg_megapixels=self._task.settings.max_jpeg_megapixels,
        )
        names = [
            store.join(cut.folder, f"{item.name}-{label.replace(':', 'x')}.{ending(piece)}")
            for label, piece in zip(unlike(labels(item.ratios, len(pieces))), pieces, strict=True)
        ]
        for name in names if cut.keep else ():
            if identity(name) in cut.keep:
                raise refusal(-401002, f"{name} is a picture of the input and is not replaced", "name another folder")
        for name, piece in zip(names, pieces, strict=True):
            store.write(name, piece)
        return names


def line(item: Item, outcome: dict[str, Any], backend: str, seconds: float) -> dict[str, Any]:
    """Return a picture's line for the results: input, ratios, result or error, backend, milliseconds, time (UTC)."""
    return {
        "input": item.source,
        **({"ratios": item.ratios} if item.ratios else {}),
        **outcome,
        **({"name": item.name} if "cut" in outcome else {}),
        "backend": backend,
        "milliseconds": round(seconds * 1000, 1),
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z"),
    }


def told(error: CloudError) -> dict[str, Any]:
    """Return an error as a line reports it: errCode, errMsg, and the hint where errMsg does not contain it."""
    return {**error.to_dict(), **({"hint": error.hint} if error.hint and not error.facts.in_words else {})}


def labels(ratios: str, boxes: int = 1) -> list[str]:
    """Return the ratios as the user wrote them, one for each box; without ratios WeChat decides how many there are."""
    return [text.strip() for text in ratios.split(",")] if ratios.strip() else ["auto"] * boxes


def unlike(names: list[str]) -> list[str]:
    """Return the names made unique: repeated ones get _2, _3, ... at the end.

    No "-" comes in, so that the last one in a cut picture's name still ends its picture's own name, which is unique.
    """
    used: dict[str, None] = {}
    for name in names:
        used[next(new for n in count(1) if (new := name if n == 1 else f"{name}_{n}") not in used)] = None
    return list(used)


def ending(picture: bytes) -> str:
    """Return the usual ending of an encoded picture's file name."""
    kind = (media.sniff(picture) or "image/png").partition("/")[2]
    return _PLACED.get(kind, kind)


def identity(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Return the identity of a file, the same under all its names; None where there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 - Path raises for a name with a NUL byte
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _thumbnail(data: bytes, task: Task) -> bytes:
    from PIL import Image

    from cloudfn.crop.picture import Limits, read_grid

    limits = Limits(task.settings.max_megapixels, task.settings.max_jpeg_megapixels)
    pixels, size = read_grid(data, THUMBNAIL, limits)
    scale = THUMBNAIL / max(size)
    small = Image.fromarray(pixels).resize((max(1, round(size.width * scale)), max(1, round(size.height * scale))))
    file = io.BytesIO()
    small.save(file, "WEBP", quality=60, method=2)
    return file.getvalue()


def prepare_process() -> None:
    """Prepare a new worker process: threads for one core, and an end when its parent ends.

    Numpy's own threads would only wait for those of the other workers. A parent that is killed closes no queue that
    its workers wait on, so they watch it.
    """
    import multiprocessing.connection
    import threading

    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ.setdefault(name, "1")
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            multiprocessing.connection.wait([parent.sentinel])
            os._exit(1)

        threading.Thread(target=watch, name="cloudfn-parent", daemon=True).start()
