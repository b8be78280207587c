"""The server inside a test: users' own functions, in any language, against WeChat's wire on loopback.

    from cloudfn.testing import Fault, Server

    def test_my_function_when_the_quota_is_used_up():
        with Server(faults=[Fault("img.aiCrop", 45009)]) as server:
            with server.environment():
                assert main({"imgUrl": URL}, None)["errCode"] == 45009
            assert server.requests[-1].code == 45009

In pytest, `pytest_plugins = ["cloudfn.testing"]` in conftest.py gives the fixture `cloudfn_server`: a running server,
with the environment set so that `cloudfn` and wx-server-sdk call it. Needs the extra: pip install
"cloudfn-aicrop[local]".
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any

from cloudfn.errors import missing_extra, refusal, setting_error, setup_error
from cloudfn.server.faults import Fault
from cloudfn.server.journal import Exchange
from cloudfn.server.options import MAX_BYTES, Options
from cloudfn.settings import Settings

if TYPE_CHECKING:
    from typing_extensions import Self
    from werkzeug.serving import BaseWSGIServer

__all__ = ["Exchange", "Fault", "Server"]

APPID, SECRET = "wx0123456789abcdef", "0123456789abcdef0123456789abcdef"


class Server:
    """WeChat's endpoints on a free port of 127.0.0.1, in a thread of this process; a context manager.

    `faults`, `latency` (seconds), `seed`, `quota`, `strict`, `config`, `storage` (a folder) and `max_bytes` are those
    of `cloudfn serve`; `settings` are Cloud's keywords that concern the engine, such as `allow_hosts=["127.0.0.1"]`
    for pictures behind a server of the test's own. Nothing is read from the environment. With `strict` tokens are
    issued for `appid` and `secret`. Changes by its admin surface `/_cloudfn/` need `admin_token`.
    """

    def __init__(
        self,
        *,
        faults: Sequence[Fault] = (),
        latency: float = 0.0,
        seed: int | None = None,
        quota: int | None = None,
        strict: bool = False,
        config: str = "",
        storage: str = "",
        max_bytes: int = MAX_BYTES,
        appid: str = APPID,
        secret: str = SECRET,
        **settings: Any,
    ) -> None:
        """Raises CloudError.

        -601002 where the extra is not installed or a value is wrong, -401003 for `faults` that are none, -401002 for
        an unknown keyword.
        """
        try:
            from cloudfn.server.state import State
        except ImportError as error:
            raise missing_extra("the server", f"its packages ({error})", "local") from error
        from cloudfn.settings import check

        _check_numbers(latency=latency, seed=seed, quota=quota, max_bytes=max_bytes)
        self.appid = appid
        self.admin_token = token_urlsafe(16)
        self._secret = secret
        self._state = State(
            Options(
                settings=Settings(**dict(check({**settings, "appid": appid, "appsecret": secret}))),
                strict=strict,
                config=config,
                storage=storage,
                max_bytes=max_bytes,
                faults=_checked(faults),
                latency=latency,
                seed=seed,
                quota=quota,
                admin_token=self.admin_token,
            )
        )
        self._http: BaseWSGIServer | None = None

    def __repr__(self) -> str:
        return f"Server({self.url if self._http else 'not started'})"

    def __enter__(self) -> Self:
        """Start it; raise CloudError -601002 where it runs already."""
        if self._http:
            raise setup_error("the server runs already", "make another Server for a block inside its own")
        from werkzeug.serving import WSGIRequestHandler, make_server

        from cloudfn.server.app import create_app

        class Quiet(WSGIRequestHandler):
            """A handler that logs nothing: Werkzeug would log the address with its token."""

            def log(self, *_: Any) -> None:
                pass

        self._state.crops.warm_up()
        self._http = make_server("127.0.0.1", 0, create_app(self._state), threaded=True, request_handler=Quiet)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), name="cloudfn-server")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._http is not None
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
        self._http = None

    @property
    def url(self) -> str:
        """Return the base address: CLOUDFN_API_BASE of a function under test.

        This and all that needs it raise CloudError -601002 outside the with block.
        """
        if self._http is None:
            raise setup_error("the server does not run", "use it inside its with block: with Server() as server")
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    def requests(self) -> list[Exchange]:
        """Return the last 200 requests, newest last, without secrets: `code`, `img_url`, `ratios`, `mistakes`, ..."""
        return self._state.journal.last()

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment of a process under test: the first four are for cloudfn, the others for wx-server-sdk.

        The SDK calls only from what looks like a cloud function; secrets and tickets may be any words.
        """
        function = dict.fromkeys(
            ("TENCENTCLOUD_SECRETID", "TENCENTCLOUD_SECRETKEY", "TENCENTCLOUD_SESSIONTOKEN"), "any"
        )
        return {
            "CLOUDFN_BACKEND": "wechat",
            "CLOUDFN_API_BASE": self.url,
            "WX_APPID": self.appid,
            "WX_APPSECRET": self._secret,
            "TCB_CONTEXT_CNFG": json.dumps({"URL": f"{self.url}/admin"}),
            **function,
            "TENCENTCLOUD_RUNENV": "SCF",
            "TENCENTCLOUD_REGION": "ap-shanghai",
            "TCB_ENV": "env-1",
            "SCF_NAMESPACE": "env-1",
            "WX_CONTEXT_KEYS": "WX_API_TOKEN",
            "WX_API_TOKEN": "any",
        }

    @contextlib.contextmanager
    def environment(self) -> Iterator[None]:
        """Set the `variables` in this process's environment inside a block."""
        before = {name: os.environ.get(name) for name in self.variables}
        os.environ.update(self.variables)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value

    def fail(self, *faults: Fault, seed: int | None = None) -> None:
        """Answer with these faults from now on, or with none. Raise CloudError -401003 for anything but a `Fault`."""
        self._state.faults.put(_checked(faults), seed)

    def expire_tokens(self) -> None:
        """Expire every token: a strict server answers 42001 to it from now on."""
        self._state.tokens.expire()

    def reset(self) -> None:
        """Return to the state after the start."""
        self._state.reset()


def _checked(faults: Sequence[Fault]) -> tuple[Fault, ...]:
    """Return the faults; another value would fail in the server, far from the line that is wrong."""
    cure = 'give Fault("img.aiCrop", 45009), to Server a list of them'
    if not isinstance(faults, (list, tuple)):
        raise refusal(-401003, f"faults: got a {type(faults).__name__}", cure)
    for fault in faults:
        if not isinstance(fault, Fault):
            raise refusal(-401003, f"a fault: got a {type(fault).__name__}", cure)
    return tuple(faults)


def _check_numbers(**numbers: float | None) -> None:
    """Raise CloudError -601002 for what is no number from 0 on; `seed` and `quota` may be None, but no fraction."""
    for name, value in numbers.items():
        if value is None and name in ("seed", "quota"):
            continue
        kinds = (int, float) if name == "latency" else (int,)
        if type(value) not in kinds or not 0 <= (value or 0) < math.inf:
            expected = "a number" if name == "latency" else "a whole number"
            raise setting_error(name, repr(value)[:60], f"{expected} from 0 on")


if "pytest" in sys.modules:  # nobody else pays for importing it
    import pytest

    @pytest.fixture
    def cloudfn_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
        """Run a server, which `cloudfn` and wx-server-sdk call during the test."""
        with Server() as server:
            for name, value in server.variables.items():
                monkeypatch.setenv(name, value)
            yield server
