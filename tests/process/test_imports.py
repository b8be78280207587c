"""What a call loads: each of these costs time in a first call, and memory ever after."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.recording import RecordingServer

# Of the package itself, all that a call to WeChat out of a function needs.
LOADED = {
    "cloudfn",
    *("cloudfn.backends", "cloudfn.backends.credentials", "cloudfn.backends.redaction", "cloudfn.backends.retry"),
    "cloudfn.backends.tokens",
    *(
        "cloudfn.backends.wechat",
        "cloudfn.call",
        "cloudfn.call.absent",
        "cloudfn.call.apis",
        "cloudfn.call.media",
        "cloudfn.call.naming",
    ),
    *("cloudfn.call.params", "cloudfn.call.reply", "cloudfn.call.schema", "cloudfn.call.values", "cloudfn.cloud"),
    *("cloudfn.codes", "cloudfn.errors", "cloudfn.files", "cloudfn.forks", "cloudfn.formats", "cloudfn.hosts"),
    *(
        "cloudfn.invocation",
        "cloudfn.net",
        "cloudfn.net.deadline",
        "cloudfn.net.tls",
        "cloudfn.net.transport",
        "cloudfn.permissions",
    ),
    *("cloudfn.secret", "cloudfn.settings"),
}
# Of others, what a valid call does without: explaining a refusal, .env, a proxy, certificates, pictures.
NOT_LOADED = {
    *("jsonschema", "dotenv", "requests", "charset_normalizer", "idna", "certifi", "PIL", "numpy", "flask"),
    *("difflib", "html", "asyncio", "urllib.request", "concurrent.futures.thread"),
}

CALL = """
import json, sys
import cloudfn as cloud
cloud.init(backend="wechat", access_token="t", api_base=sys.argv[1])
img = {"contentType": "image/jpeg", "value": b"\\xff\\xd8\\xff"}
answer = cloud.openapi.img.aiCrop({"img": img, "ratios": "1,2.35"})
assert answer["errCode"] == 0
print(json.dumps([sorted(sys.modules)]))
"""


@pytest.mark.slow
def test_the_modules_of_a_call(permitted: Path, server: RecordingServer) -> None:
    command = [sys.executable, "-I", "-c", CALL, server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (loaded,) = json.loads(done.stdout)
    assert {name for name in loaded if name.partition(".")[0] == "cloudfn"} == LOADED
    assert not NOT_LOADED & set(loaded)
