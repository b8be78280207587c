"""A multipart body as its parts: what real clients send, what is refused, and what is meant to be slow or misread."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudfn.net.multipart import parse

TYPE = "multipart/form-data; boundary=b"
END = b"--b--\r\n"


def part(parameters: bytes = b'name="a"', content: bytes = b"1", headers: bytes = b"") -> bytes:
    return b"--b\r\nContent-Disposition: form-data; " + parameters + headers + b"\r\n\r\n" + content + b"\r\n"


GOOD = part() + END


# ---- delimiters: what stands where, and whose bytes are whose


@pytest.mark.parametrize(
    ("body", "contents"),
    [
        (GOOD, [b"1"]),
        (part() + part(content=b"2") + END, [b"1", b"2"]),
        (part() * 32 + END, [b"1"] * 32),
        (END, []),  # a browser's form without fields
        (b"--b--", []),
        (b"\r\n" + GOOD, [b"1"]),
        (b"a preamble, of which --b is no end\r\n" + GOOD, [b"1"]),
        (GOOD + b"an epilogue\r\n" + part(), [b"1"]),
        (part() + b"--b--glued to it", [b"1"]),
        (part().replace(b"--b", b"--b \t") + b"--b-- \r\n", [b"1"]),
        (part(content=b"") + END, [b""]),
        (part()[: -len(b"1\r\n")] + END, [b""]),  # RFC 2046: no body, and its empty line is the delimiter's
        (part(content=b"\r\n") + END, [b"\r\n"]),
        (part(content=b"1\r\n\r\n") + END, [b"1\r\n\r\n"]),
        (part(content=b"\r\n--\r\n-\r\n\r\r\n--") + END, [b"\r\n--\r\n-\r\n\r\r\n--"]),
        (part(content=b"1--b\r\n2--b--") + END, [b"1--b\r\n2--b--"]),
        (part(content=b"1\n--b\n2\r--b\r3") + END, [b"1\n--b\n2\r--b\r3"]),
        (part(content=b"1\r\n--bX\r\n2\r\n--b X\r\n--b-") + END, [b"1\r\n--bX\r\n2\r\n--b X\r\n--b-"]),
        (
            part(content=part().replace(b"--b", b"--bb") + b"--bb--") + END,
            [part().replace(b"--b", b"--bb") + b"--bb--"],
        ),
    ],
)
def test_contents(body: bytes, contents: list[bytes]) -> None:
    assert [found.data for found in parse(TYPE, body)] == contents


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no end"),
        (b"x", "no end"),
        (GOOD.replace(b"\r\n", b"\n"), "no end"),
        (b"glued to it" + part(), "no end"),
        *((GOOD[:length], "no end") for length in range(len(GOOD) - len(b"\r\n"))),
        (part() * 33 + END, "more than 32 parts"),
        (b"--b\r\n" + END, "no headers"),
        (b"--b\r\n1\r\n" + END, "no headers"),
        (b"--b\r\n\r\n1\r\n\r\n2\r\n" + END, "no headers"),
        (b"--b\r\nA: b\r\n" + GOOD, "no headers"),
        (part(headers=b"\r\nA: " + b"b" * 9000) + END, "no headers"),
        (b"--b\r\nA: b\r\n\r\n1\r\n" + END, "no name"),
        (part(b'filename="a.jpg"') + END, "no name"),
        (part(b'name=""') + END, "no name"),
    ],
)
def test_refused(body: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(TYPE, body)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=----WebKitFormBoundaryx5Pq", "----WebKitFormBoundaryx5Pq"),
        ('Multipart/Form-Data; charset=utf-8;Boundary = "b" ', "b"),
        ('multipart/form-data; boundary="b;c d"; charset=utf-8', "b;c d"),
        ("multipart/form-data; boundary=b=/c", "b=/c"),
        ("multipart/form-data; boundary=.*[+", ".*[+"),
        (f"multipart/form-data; boundary={'b' * 70}", "b" * 70),
        ("multipart/form-data", ""),
        ("multipart/form-data; boundary=", ""),
        ('multipart/form-data; boundary=" "', ""),
        (f"multipart/form-data; boundary={'b' * 71}", ""),
        ("multipart/form-data; boundary=\x00", ""),
        ("", ""),
    ],
)
def test_boundaries(content_type: str, boundary: str) -> None:
    body = GOOD.replace(b"--b", b"--" + boundary.encode())
    if boundary:
        assert [found.text for found in parse(content_type, body)] == ["1"]
    else:
        with pytest.raises(ValueError, match="no boundary"):
            parse(content_type, body)


PIECES = st.sampled_from([b"\r\n", b"--", b"b", b"-", b"\r", b"\n", b" ", b"x", b"\0"])


@given(st.lists(st.lists(PIECES).map(b"".join), max_size=32))
def test_what_goes_in_comes_out(contents: list[bytes]) -> None:
    body = b"".join(part(content=content).replace(b"--b\r\nC", b"--edge\r\nC") for content in contents)
    found = parse("multipart/form-data; boundary=edge", body + b"--edge--\r\n")
    assert [one.data for one in found] == contents


# ---- names


@pytest.mark.parametrize(
    ("parameters", "filename"),
    [
        (b'filename="a.jpg"', "a.jpg"),
        (b"FileName=a.jpg", "a.jpg"),
        (b'filename = "a.jpg" ', "a.jpg"),
        (b'filename=""', ""),  # a browser, where no file was chosen
        (b'filename="a;name=b.jpg"', "a;name=b.jpg"),
        (b'filename="a%22b.jpg"', 'a"b.jpg'),  # browsers, curl
        (b'filename="a\\"b.jpg"', 'a"b.jpg'),  # older curl
        (b'filename="C:\\\\a\\new.jpg"', "C:\\a\\new.jpg"),
        (b'filename="100%25.jpg"', "100%25.jpg"),
        ('filename="图.jpg"'.encode(), "图.jpg"),
        ('filename="你.jpg"'.encode("gb18030"), "\ufffd\ufffd.jpg"),  # curl in a Chinese Windows
        (b"filename*=utf-8''%E5%9B%BE's.jpg", "图's.jpg"),
        (b"filename*=ISO-8859-1'en'%A3.jpg", "£.jpg"),
        (b"filename*=utf-8''a%22b.jpg", 'a"b.jpg'),
        (b"filename*=a.jpg", "a.jpg"),
        (b"filename*=utf-8''%E5%9B%BE.jpg; filename=\"a.jpg\"", "a.jpg"),
        (b'filename="a.jpg', "a.jpg"),
        (b"filename", None),
        (b"", None),
    ],
)
def test_file_names(parameters: bytes, filename: str | None) -> None:
    (found,) = parse(TYPE, part(b'name="img"; ' + parameters) + END)
    assert (found.name, found.filename) == ("img", filename)


def test_headers_in_any_case_and_folded() -> None:
    head = (
        b'--b\r\ncontent-DISPOSITION:form-data;\r\n\tNAME=a;\r\n  filename="b"\r\nno header\r\ncontent-TYPE: image/png'
    )
    (found,) = parse(TYPE, head + b"\r\n\r\n\r\n" + END)
    assert (found.name, found.filename, found.headers["content-type"]) == ("a", "b", "image/png")


def test_a_text_that_is_not_utf_8() -> None:
    (found,) = parse(TYPE, part(content=b"1\xff") + END)
    assert (found.text, found.data) == ("1\ufffd", b"1\xff")


# ---- hostile: twice the work for twice the bytes


MEGABYTES = 2_000_000
SLOW: dict[str, bytes] = {
    "CRLF": b"\r\n",
    "CR": b"\r",
    "dashes": b"-",
    "nearly a delimiter": b"\r\n--",
    "the beginning of a boundary": b"\r\n--boundar",
    "a boundary and more": b"\r\n--boundaryX",
    "a boundary and spaces": b"\r\n--boundary" + b" " * 1000,
    "parts": part().replace(b"--b", b"--boundary"),
}
SLOW_HEADS = [b";", b';x="', b';x=" ', b";x", b"\\", b'\\"', b" ", b"\t;", b"'", b"=", b"\r\n ", b"\r\n;", b"%22"]


@pytest.mark.parametrize("repeated", SLOW.values(), ids=SLOW)
@pytest.mark.parametrize("end", [b"", b"\r\n--boundary--"])
def test_hostile_contents(repeated: bytes, end: bytes) -> None:
    body = part().replace(b"--b", b"--boundary")[:-2] + repeated * (MEGABYTES // len(repeated)) + end
    assert _seconds("multipart/form-data; boundary=boundary", body) < 2


@pytest.mark.parametrize("repeated", SLOW_HEADS)
@pytest.mark.parametrize("before", [b"", b'x="'])
def test_hostile_heads(repeated: bytes, before: bytes) -> None:
    body = part(b'name="a"; ' + before + repeated * (8000 // len(repeated))) * 32 + END
    assert _seconds(TYPE, body) < 2
    assert _seconds("multipart/form-data; " + (before + repeated * 8000).decode(), GOOD) < 2


def _seconds(content_type: str, body: bytes) -> float:
    start = time.process_time()
    with contextlib.suppress(ValueError):
        parse(content_type, body)
    return time.process_time() - start
