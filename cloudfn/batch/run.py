"""A whole batch: inputs listed, work handed out, results written."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, BinaryIO

from cloudfn import crop, settings
from cloudfn.batch import executor as executors
from cloudfn.batch import store
from cloudfn.batch.inputs import Filter, Source, expand
from cloudfn.batch.pace import Pace, today
from cloudfn.batch.results import Results
from cloudfn.batch.sheet import Sheet
from cloudfn.batch.values import Cut, Done, Item, Task
from cloudfn.batch.work import API, Also, Cropper
from cloudfn.call import params
from cloudfn.call.values import Backend
from cloudfn.errors import CloudError, refusal, setup_error
from cloudfn.settings import Settings

_THREADS = 8  # calls of WeChat at a time


@dataclass
class Batch:
    """The work to be done and, while it runs, its progress. Fields as in `crop_all`."""

    inputs: Iterable[Source]
    ratios: str = ""
    cut: Cut | None = None
    out: Path | None = None
    sheet: Path | None = None
    resume: bool = False
    retry_failed: bool = False
    limit: int | None = None
    only: Filter = field(default_factory=Filter)
    backend: str = "local"
    workers: int | None = None
    scheduler: str = ""
    executor: Executor | None = None
    quota: int | None = None
    rate: float | None = None
    stop: Callable[[], bool] = lambda: False
    stdin: BinaryIO | None = None
    # For commands: pictures are worked on in this thread, in order, by this backend, with this extra step.
    here: Backend | None = None
    also: Also | None = None

    done = 0
    skipped = 0
    left_out = False  # by `limit`

    def __post_init__(self) -> None:
        self.failures: Counter[int] = Counter()

    def check(self) -> Settings:
        """Return the settings.

        Raise CloudError, for wrong settings of cut pictures ValueError, for every mistake that can be detected before
        any work.
        """
        params.read(API, {"imgUrl": "https://example.com/", "ratios": self.ratios})
        current = settings.load({"backend": self.backend})
        if self.backend == "local" or self.cut or self.sheet:
            crop.check_installed()
        if self.cut:
            from cloudfn.crop import extract

            extract.check(self.cut.size, self.cut.format, self.cut.quality)
        if self.cut and not (self.resume or self.retry_failed) and not self.here:
            self._check_cut(self.cut.folder)
        return current

    def count(self) -> int | None:
        """Return how many pictures the inputs hold; None where listing them twice is not possible or costs calls."""
        if any(isinstance(source, str) and (source == "-" or store.is_url(source)) for source in self.inputs):
            return None
        number = sum(1 for _ in self._items())
        return number if self.limit is None else min(number, self.limit + self.skipped)

    def pending(self) -> Iterator[Item]:
        """List what a run would work on, and do nothing."""
        with Results(self.out if self.out and self.out.exists() else None, **self._going_on()) as results:
            yield from self._wanted(results)

    def run(self) -> Iterator[Done]:
        """Work, and yield the outcome of each picture once its line is written; see `crop_all`."""
        current = self.check()
        if self.cut:
            _make_folder(self.cut.folder)
        with contextlib.ExitStack() as stack:
            results = stack.enter_context(Results(self.out, **self._going_on()))
            sheet = self._sheet(results, stack)
            wanted = self._wanted(results)
            pause: Callable[[], float] = lambda: 0.0  # noqa: E731
            if self.rate:
                pause = Pace(self.rate).pause
            if self.quota is not None:
                wanted = _until_quota(wanted, self.quota - results.calls_on(today), self.quota)
            slots = stack.enter_context(self._slots(current))
            try:
                for done in executors.Run(wanted, slots, self.stop, pause, self.backend):
                    assert done.line is not None
                    results.append(done.line)
                    if sheet:
                        sheet.add(done.line, done.thumbnail)
                    self.done += 1
                    self.failures[done.line["errCode"]] += 1
                    yield done
            except CloudError:  # the pictures done until then are worth a page
                if sheet:
                    sheet.close()
                raise
            if sheet:
                sheet.close()

    def _going_on(self) -> dict[str, bool]:
        return {"resume": self.resume, "retry_failed": self.retry_failed}

    def _items(self) -> Iterator[Item]:
        return expand(self.inputs, self.ratios, self.only, self.stdin)

    def _wanted(self, results: Results) -> Iterator[Item]:
        """Yield the pictures that are still to be done, at most `limit`, each with a name for its cut pictures."""
        taken = 0
        for item in self._items():
            if not results.wants(item):
                self.skipped += 1
                continue
            if taken == self.limit:
                self.left_out = True
                return
            taken += 1
            yield results.register.named(item) if self.cut else item

    @contextlib.contextmanager
    def _slots(self, current: Settings) -> Iterator[Sequence[executors.Slot]]:
        task = Task(current, self.cut, thumbnails=self.sheet is not None)
        if self.here or self.backend != "local":
            cropper = Cropper(task, self.here, self.also)
            with contextlib.closing(cropper):
                yield executors.here(cropper) if self.here else executors.threads(cropper, self.workers or _THREADS)
            return
        task = replace(task, settings=_without_secrets(current))
        if self.executor:
            yield executors.own(self.executor, task, self.workers or os.cpu_count() or 1)
        elif self.scheduler:
            with executors.dask(task, self.scheduler) as slots:
                yield slots
        else:
            yield executors.processes(task, self.workers or os.cpu_count() or 1)

    def _sheet(self, results: Results, stack: contextlib.ExitStack) -> Sheet | None:
        if self.sheet is None:
            return None
        sheet = Sheet(self.sheet)
        stack.callback(sheet.leave)
        for line in results.lines():
            sheet.add(line)
        return sheet

    def _check_cut(self, folder: str) -> None:
        """Raise CloudError where a new run would cut into a folder that holds files, which might be overwritten."""
        for source in self.inputs if isinstance(self.inputs, (list, tuple)) else ():
            if isinstance(source, (str, os.PathLike)) and os.path.isdir(source) and not store.is_url(folder):  # noqa: PTH112
                top, inner = Path(source).resolve(), Path(folder).resolve()
                if inner.is_relative_to(top):
                    raise setup_error(f"--cut {folder} lies in {source}, which it would fill", "name another folder")
        try:
            if not store.is_empty(folder):
                raise setup_error(f"--cut {folder} has files in it", "name an empty folder, or go on with --resume")
        except OSError as error:
            raise setup_error(f"--cut {folder}: {store.why(error)}", "name a folder that can be written to") from None


def _make_folder(folder: str) -> None:
    """Make the folder for the cut pictures and check that it is writable, before the first picture fails for it."""
    if store.is_url(folder):
        return
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        problem = f"{folder}: cannot be written ({store.why(error)})"
        raise setup_error(problem, "name a folder that can be written to") from None


def _until_quota(items: Iterator[Item], left: int, quota: int) -> Iterator[Item]:
    for item in items:
        if left <= 0:
            problem = f"today's quota of {quota} calls is used up"
            error = refusal(45009, problem, "go on tomorrow with --resume; WeChat's day begins at midnight in China")
            yield replace(item, error=error)
            return
        left -= 1
        yield item


def _without_secrets(current: Settings) -> Settings:
    """Return the settings for a worker of the engine, which may be on another machine: no secret travels."""
    secret: dict[str, Any] = {row.name: row.default for row in fields(Settings) if row.metadata.get("secret")}
    return replace(current, **secret, appid="", sources={})


def crop_all(
    inputs: Source | Iterable[Source],
    ratios: str = "",
    *,
    cut: str | os.PathLike[str] | None = None,
    size: tuple[int | None, int | None] | None = None,
    format: str | None = None,  # noqa: A002 - the word that Pillow and users have for it
    quality: int | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    retry_failed: bool = False,
    limit: int | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    backend: str = "local",
    workers: int | None = None,
    scheduler: str = "",
    executor: Executor | None = None,
    quota: int | None = None,
    rate: float | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[dict[str, Any]]:
    """Crop any number of pictures; yield a line for each as it is done, in no fixed order.

    `inputs` are paths, folders, globs, URLs and lists (.jsonl, .csv, .txt), or mappings {"input": ..., "ratios": ...}.
    A line is a dict: `input`, `ratios` if there are any, the call's result (`results` with corners in pixels of the
    picture as displayed, right and bottom inclusive, `imgSize`, `errCode` 0) or `errCode`, `errMsg` and `hint`, `cut`
    with the names of the cut pictures, `name` with what they begin with, `backend`, `milliseconds`, `time`. A picture
    that fails is a line and raises nothing; the same picture with the same ratios is done once.

    `cut` is a folder or URL for the cut pictures, `size`, `format` and `quality` as in `cloudfn.cut`. `out` is a file
    that gets the lines too; `resume` skips what it holds, `retry_failed` does its failures again. `include` and
    `exclude` are shell patterns for files of folders.

    Work goes to one process a core (`workers`), the workers of a Dask cluster (`scheduler`), or an `executor` of your
    own, `workers` chunks at a time. Programs that start processes need `if __name__ == "__main__":`. With
    backend="wechat" it stays in threads of this process, at most `quota` calls a day (as `out` tells) and `rate` a
    second. When `stop()` turns true, what is under way is finished. A generator that is closed early leaves the rest.

    Raises CloudError: -401002 for wrong ratios, -601002 for a wrong set-up, an `out` that is there already or cannot be
    written, 45009 when the quota is used up. TypeError for `inputs`, `workers` or an `executor` of another type;
    ValueError for another `limit`, `quota` or `rate`, and for what `cloudfn.cut` refuses of the cut pictures' settings.
    """
    if not isinstance(inputs, Iterable | os.PathLike):
        raise TypeError(f"inputs are a path, a URL or a list of them, not a {type(inputs).__name__}")
    if workers is not None and (type(workers) is not int or workers < 1):
        raise TypeError(f"workers is a whole number from 1 on, not {workers!r}")
    if executor is not None and not isinstance(executor, Executor):
        raise TypeError(f"executor is a concurrent.futures.Executor, not a {type(executor).__name__}")
    for name, number in (("limit", limit), ("quota", quota), ("rate", rate)):
        if number is not None and not number > 0:
            raise ValueError(f"{name} is a number above 0, not {number!r}")
    sources: Iterable[Source] = [inputs] if isinstance(inputs, (str, os.PathLike, Mapping, Item)) else inputs
    batch = Batch(
        inputs=sources,
        ratios=ratios,
        cut=Cut(os.fspath(cut), size, format, quality) if cut is not None else None,
        out=Path(out) if out is not None else None,
        resume=resume,
        retry_failed=retry_failed,
        limit=limit,
        only=Filter(tuple(include), tuple(exclude)),
        backend=backend,
        workers=workers,
        scheduler=scheduler,
        executor=executor,
        quota=quota,
        rate=rate,
        stop=stop,
    )
    return (done.line for done in batch.run() if done.line)
