"""`img.scanQRCode` on this machine, with the optional zxing-cpp: a picture's codes in WeChat's own shape."""

from __future__ import annotations

from typing import Any

from cloudfn import crop
from cloudfn.errors import missing_extra

# zxing-cpp's names of formats -> those that WeChat's page of img.scanQRCode has, or would have by their pattern.
_TYPES = {
    "Aztec": "AZTEC",
    "Codabar": "CODABAR",
    "Code128": "CODE_128",
    "Code39": "CODE_39",
    "Code93": "CODE_93",
    "DataMatrix": "DATAMATRIX",
    "EAN13": "EAN_13",
    "EAN8": "EAN_8",
    "ITF": "ITF",
    "MaxiCode": "MAXICODE",
    "PDF417": "PDF_417",
    "QRCode": "QR_CODE",
    "QRCodeModel2": "QR_CODE",
    "UPCA": "UPC_A",
    "UPCE": "UPC_E",
}
_WITH_PLACE = ("QR_CODE", "DATAMATRIX")  # WeChat gives the place of these alone
_CORNERS = {
    "left_top": "top_left",
    "right_top": "top_right",
    "right_bottom": "bottom_right",
    "left_bottom": "bottom_left",
}


def check_installed() -> None:
    """Raise `CloudError` -601002 where zxing-cpp, or what the engine needs, is not installed."""
    try:
        import zxingcpp  # noqa: F401
    except ImportError as error:
        raise missing_extra("img.scanQRCode on this machine", "zxing-cpp", "qrcode") from error
    crop.check_installed()


def scan(
    picture: bytes | bytearray | memoryview, *, max_megapixels: float, max_jpeg_megapixels: float, seconds: float
) -> dict[str, Any]:
    """Return WeChat's JSON: `code_results`, each with type_name, data and, for QR and DataMatrix, pos; and `img_size`.

    Corners are pixels of the picture as displayed. Raises `CloudError`: 101002 for anything but a picture, -604102 for
    one that would take more than these seconds, -601002 if zxing-cpp is not installed.
    """
    check_installed()
    import zxingcpp

    pixels, size = crop.grey(
        picture, max_megapixels=max_megapixels, max_jpeg_megapixels=max_jpeg_megapixels, seconds=seconds
    )
    codes = [_described(code) for code in zxingcpp.read_barcodes(pixels)]
    return {"errcode": 0, "errmsg": "ok", "code_results": codes, "img_size": {"w": size.width, "h": size.height}}


def _described(code: Any) -> dict[str, Any]:
    name = code.format.name
    kind = _TYPES.get(name, name.upper())
    result: dict[str, Any] = {"type_name": kind, "data": code.text}
    if kind in _WITH_PLACE:
        corners = {theirs: getattr(code.position, ours) for theirs, ours in _CORNERS.items()}
        result["pos"] = {name: {"x": corner.x, "y": corner.y} for name, corner in corners.items()}
    return result
