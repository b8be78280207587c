from __future__ import annotations

import json
import pickle
import subprocess
import sys
import traceback

from cloudfn import CloudError
from cloudfn.codes import CODES
from cloudfn.errors import failure, refusal


def test_an_error_in_every_form_the_sdk_gives_it() -> None:
    error = CloudError(-604101, "system error: error code: -604101", api="img.aiCrop")
    assert (error.errCode, error.err_code) == (-604101, -604101)
    assert error.errMsg == error.err_msg == "system error: error code: -604101"
    assert json.dumps(error.to_dict()) == '{"errCode": -604101, "errMsg": "system error: error code: -604101"}'
    assert str(error) == (
        "errCode: -604101 function has no permission to call this API | errMsg: system error: error code: -604101"
    )
    assert "config.json" in error.hint
    assert error.retryable is False


def test_a_code_that_nobody_knows() -> None:
    error = CloudError(61450, "x")
    assert str(error) == "errCode: 61450  | errMsg: x"
    assert (error.hint, error.retryable) == ("", False)


def test_an_error_crosses_process_borders() -> None:
    error = CloudError(-1, "busy", api="img.aiCrop", hint="wait", retryable=False)
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.to_dict(), copy.api, copy.hint, copy.retryable, str(copy)) == (
        error.to_dict(), "img.aiCrop", "wait", False, str(error),
    )  # fmt: skip


def test_every_code_tells_its_meaning_and_cure() -> None:
    assert all(row.name.isupper() and row.meaning and row.cure for row in CODES.values())
    assert len({row.name for row in CODES.values()}) == len(CODES)
    assert [code for code in (-1, -604102, -601003, 45011) if CODES[code].retryable] == [-1, -604102, -601003, 45011]
    assert not CODES[45009].retryable


def test_a_traceback_shows_the_cure() -> None:
    error = failure("img.aiCrop", 45009, "reach max api daily quota limit", cure="wait until tomorrow")
    assert error.__notes__ == ["cure: wait until tomorrow"]
    assert pickle.loads(pickle.dumps(error)).__notes__ == error.__notes__
    if sys.version_info >= (3, 11):
        assert "".join(traceback.format_exception(error)).endswith("\ncure: wait until tomorrow\n")
    script = "from cloudfn.errors import failure; raise failure('img.aiCrop', 45009, 'over', cure='wait')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stderr.endswith("| errMsg: openapi.img.aiCrop:fail over\ncure: wait\n")  # on 3.10 too
    own = refusal(-601002, "a setting is wrong", "set it anew")
    assert not hasattr(own, "__notes__")  # its own words say so already
