"""The table of cloud calls. Adding one is a row here and a JSON Schema of its parameters, `schemas/<name>.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from cloudfn.call import schema


class Api(NamedTuple):
    """Where a cloud call goes, and how each of its camelCase parameters travels.

    `query` parameters are part of the address, `text` are multipart text parts, `media` are multipart file parts.
    `extra` is this package's extra with which the embedded engine, and so the server, answers too; "" for WeChat alone.
    """

    name: str
    path: str
    query: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    media: tuple[str, ...] = ()
    extra: str = ""

    @property
    def fields(self) -> tuple[str, ...]:
        """Return every parameter's name."""
        return self.query + self.text + self.media

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the parameters."""
        return schema.load(self.name)


APIS: Mapping[str, Api] = {
    api.name: api
    for api in (
        # https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/img-ocr/img/aiCrop.html
        Api("img.aiCrop", "/cv/img/aicrop", query=("imgUrl",), text=("ratios",), media=("img",), extra="local"),
        # The same wire, each with a page of its own there.
        Api("img.scanQRCode", "/cv/img/qrcode", query=("imgUrl",), media=("img",), extra="qrcode"),
        Api("img.superresolution", "/cv/img/superresolution", query=("imgUrl",), media=("img",)),
        Api("ocr.printedText", "/cv/ocr/comm", query=("imgUrl",), media=("img",)),
        Api("ocr.idcard", "/cv/ocr/idcard", query=("imgUrl", "type"), media=("img",)),
        Api("ocr.bankcard", "/cv/ocr/bankcard", query=("imgUrl", "type"), media=("img",)),
        Api("ocr.driverLicense", "/cv/ocr/drivinglicense", query=("imgUrl",), media=("img",)),
        Api("ocr.vehicleLicense", "/cv/ocr/driving", query=("imgUrl", "type"), media=("img",)),
        Api("ocr.businessLicense", "/cv/ocr/bizlicense", query=("imgUrl",), media=("img",)),
    )
}
