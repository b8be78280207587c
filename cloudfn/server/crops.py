"""From a client's request to WeChat's JSON: checked, fetched, answered by the embedded engine."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cloudfn import crop
from cloudfn.backends.local import Local, fetched
from cloudfn.call import params
from cloudfn.call.apis import APIS
from cloudfn.call.values import Backend, Call, Deadline, Media, Trace
from cloudfn.errors import CloudError
from cloudfn.server.answers import Refusal
from cloudfn.server.bucket import Bucket
from cloudfn.server.budget import Account, Budget
from cloudfn.server.form import PictureRequest
from cloudfn.server.intake import too_large
from cloudfn.server.journal import Exchange, shown_url
from cloudfn.server.metrics import Metrics
from cloudfn.server.options import Options

# The parameter that is wrong -> the code. 47001 for ratios and 44001 for no bytes are ours: WeChat's are not known.
_CODES = {"ratios": 47001, "imgUrl": 101000, "img.value": 44001}
# One pixel; what the engine loads for it is all that it ever loads.
_SMALLEST = b"GIF89a\1\0\1\0\x80\0\0\xff\xff\xff\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"


class Crops:
    """A finder of crops; thread-safe. The engine works on one picture for each core of this worker at a time."""

    def __init__(self, options: Options, metrics: Metrics, budget: Budget, bucket: Bucket | None) -> None:
        self._options = options
        self._metrics = metrics
        self._budget = budget
        self._bucket = bucket
        self._engine = Local(options.settings)
        self._slots = threading.BoundedSemaphore(math.ceil((os.cpu_count() or 1) / options.workers))

    def warm_up(self) -> None:
        """Load the engine; raises CloudError -601002 where its packages are not installed."""
        self._engine(params.read(APIS["img.aiCrop"], {"img": _SMALLEST, "ratios": "1"}), Trace())

    def check(self, api: str) -> None:
        """Raise Refusal -604100 for an API that is not answered here: a wrong answer would look like a right one."""
        if not APIS[api].extra:
            raise Refusal(-604100, f"{api} is answered by WeChat alone, not by this server: use WeChat's own address")
        try:
            self._engine.check(api)
        except CloudError as error:
            raise Refusal(-604100, f"{error.facts.problem}: {error.hint}") from None

    def find(self, wanted: PictureRequest, exchange: Exchange, engine: Backend | None = None) -> dict[str, Any]:
        """Return WeChat's JSON for a call with a picture; raises Refusal 47001, 101000, 101002, 44001."""
        if wanted.img is not None:
            exchange.picture = len(wanted.img)
        if exchange.picture > self._options.max_bytes:
            raise too_large(str(exchange.picture), self._options)
        call = self._read(wanted, exchange)
        with self._budget.account() as account:
            if "imgUrl" in call.params:
                call = self._fetch(call, exchange, account)
            return self._find(call, engine or self._engine)

    def _find(self, call: Call, engine: Backend) -> dict[str, Any]:
        with self._slots:
            try:
                answer = engine(replace(call, deadline=Deadline(self._options.settings.timeout)), Trace())
            except CloudError as error:
                self._metrics.not_decoded()
                raise Refusal(error.errCode, error.hint) from None
        self._metrics.decoded(answer["img_size"]["w"], answer["img_size"]["h"])
        return answer

    def fetch(self, wanted: PictureRequest, exchange: Exchange) -> bytes:
        """Return the picture behind a URL, with the size limit of one that is sent; raises Refusal 101000, 101002."""
        with self._budget.account() as account:
            picture: bytes = self._fetch(self._read(wanted, exchange), exchange, account).params["img"].value
        if len(picture) > self._options.max_bytes:
            raise too_large(str(len(picture)), self._options)
        return picture

    def cut(self, picture: bytes, boxes: Sequence[crop.Box], size: tuple[int | None, int | None] | None) -> list[bytes]:
        """See `cloudfn.crop.cut`; raises Refusal 101002, ValueError for a wrong box or size."""
        limits = self._options.settings
        with self._slots:
            try:
                return crop.cut(
                    picture,
                    boxes,
                    size=size,
                    max_megapixels=limits.max_megapixels,
                    max_jpeg_megapixels=limits.max_jpeg_megapixels,
                )
            except CloudError as error:
                raise Refusal(error.errCode, error.hint) from None

    def _read(self, wanted: PictureRequest, exchange: Exchange) -> Call:
        api = APIS[wanted.api]
        sent = {"ratios": wanted.ratios, "img": wanted.img, "imgUrl": wanted.img_url}
        if wanted.img_url is not None:
            exchange.img_url = shown_url(wanted.img_url)
        arguments = {name: value for name, value in sent.items() if name in api.fields and value is not None}
        try:
            call = params.read(api, arguments)
        except CloudError as error:
            facts = error.facts
            raise Refusal(_CODES.get(facts.parameter, 47001), f"{facts.problem}, {facts.cure}") from None
        if "ratios" in call.params:
            exchange.ratios = call.params["ratios"].text
        return call

    def _fetch(self, call: Call, exchange: Exchange, account: Account) -> Call:
        def hold(count: int) -> None:
            if not account.take(count):
                raise Refusal(-1)

        url, settings = call.params["imgUrl"], self._options.settings
        try:
            # A link to a file of this server, on whose own address nothing else may be fetched.
            own = self._bucket.behind(url) if self._bucket else None
            picture = own if own is not None else fetched(url, settings, hold, seconds=settings.timeout)
        except CloudError as error:
            raise Refusal(error.errCode, error.hint) from None
        exchange.picture = len(picture)
        rest = {name: value for name, value in call.params.items() if name != "imgUrl"}
        return Call(call.api, {**rest, "img": Media("", picture, "")})
