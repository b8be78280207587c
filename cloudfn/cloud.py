"""The face of wx-server-sdk: `init`, `openapi`, `get_wx_context`, on a default instance or on one of your own."""

from __future__ import annotations

import contextlib
import enum
import logging
import math
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from cloudfn import forks, invocation, permissions, settings
from cloudfn.backends import choose, log_hint, perform, without_engine
from cloudfn.call import apis, params
from cloudfn.call.absent import ABSENT
from cloudfn.call.naming import near
from cloudfn.call.values import FILE_ID, Backend, Call, Deadline
from cloudfn.errors import CloudError, gateway_failure, refusal, shortage
from cloudfn.net import deadline as _loaded  # noqa: F401 - urllib3 at the start, not within the first call's time
from cloudfn.settings import Settings

if TYPE_CHECKING:
    from inspect import Signature

    from cloudfn.asynchronous import Aio
    from cloudfn.backends.files import Files
    from cloudfn.call.faces import Img

_log = logging.getLogger("cloudfn")


class _Env(enum.Enum):
    """`DYNAMIC_CURRENT_ENV`: the environment that the function runs in, looked up when a call is made."""

    DYNAMIC_CURRENT_ENV = "DYNAMIC_CURRENT_ENV"

    def __repr__(self) -> str:
        return self.name


DYNAMIC_CURRENT_ENV = _Env.DYNAMIC_CURRENT_ENV
"""The environment that the function runs in; it is looked up when a call is made."""

# Keywords of wx-server-sdk's init that mean nothing outside its own cloud; accepted so that code carries over.
_SDK_KEYWORDS = ("env", "traceUser")

_SUSPECT_SECONDS = 300  # nobody waits so long for a crop: the number is one of milliseconds

_SHORTAGES = (MemoryError, OSError)  # every other OSError is an error of the call's own by the time it gets here

_NOT_INITIALISED = (
    "Cloud API isn't enabled, please call init first\n"
    "请先调用 init 完成初始化后再调用其他云 API。init 方法可传入一个对象用于设置默认配置，详见文档。"
)


class _Unawaited(dict[str, Any]):
    """A result of a call made inside an event loop: whoever awaits it is told what to write instead."""

    def __await__(self) -> NoReturn:
        raise TypeError(
            "a cloud call returns its result at once: write it without await, or "
            "await cloud.aio.openapi, cloud.aio.uploadFile and the like "
            "(in an `async def` function that cloud.function wraps, or that `cloudfn invoke` runs, await works as is)"
        )


class Cloud:
    """An independent instance, ready for use: `Cloud(backend="local").openapi.img.aiCrop(...)`.

    It takes one mapping or keywords: `env`, and every setting in lower case without its prefix (`timeout=5`,
    `access_token=...`, `config=...`). Other settings are read from the environment and `.env` when a call is made.
    """

    def __init__(self, options: Mapping[str, Any] | None = None, /, **keywords: Any) -> None:
        """Raises `CloudError`: -401002 for an unknown keyword, -601002 for a bad value."""
        merged = settings.sealed(options, keywords)
        del keywords  # so that no traceback of what follows shows a secret
        self._arguments: settings.Arguments | None = _checked(options, merged)
        self._env: object = merged.get("env")
        self._folder = settings.calling_folder()
        self._backend: tuple[Settings, Backend] | None = None
        self._files: tuple[tuple[Settings, str], Files] | None = None
        self.after_fork()
        forks.watch(self)

    def after_fork(self) -> None:
        """Keep the backend in the child; it leaves the parent's connections to the parent."""
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        if name in ABSENT:
            return absent(name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    @property
    def openapi(self) -> OpenApi:
        """Return WeChat's APIs as attributes: `openapi.img.aiCrop({...})`."""
        return OpenApi(self)

    @property
    def aio(self) -> Aio:
        """Return the same calls to await: `await cloud.aio.openapi.img.aiCrop({...})`."""
        try:
            from cloudfn import storage
            from cloudfn.asynchronous import Aio
        except _SHORTAGES as error:
            raise shortage(error) from error
        return Aio(self.openapi, {name: partial(self._keep_now, name) for name in storage.FUNCTIONS})

    def get_wx_context(self) -> dict[str, str | int]:
        """Return who called the function, as wx-server-sdk's getWXContext does."""
        return get_wx_context()

    getWXContext = get_wx_context  # noqa: N815 - the name in the SDK

    def getTempFileURL(self, options: Mapping[str, Any] | None = None, /, **keywords: Any) -> Any:
        """Link to at most 50 files: `getTempFileURL({"fileList": [fileID or {"fileID": ..., "maxAge": seconds}]})`.

        The result's `fileList` has a mapping for each file: fileID, status (0, or a code), errMsg, tempFileURL, and
        maxAge where the call sets it. A link lives a day at most. This and the three functions below take one
        mapping or keywords, need no permission in config.json, and answer from WeChat's cloud or from CLOUDFN_STORAGE,
        depending on the backend.

        Raises `CloudError`: -1 for wrong parameters and before init, in the SDK's words; -601002 without an
        environment (`env` of `init`, TCB_ENV) or folder; then WeChat's codes and those of the cloud (-503xxx).
        """
        return self._keep("getTempFileURL", options, keywords)

    def downloadFile(self, options: Mapping[str, Any] | None = None, /, **keywords: Any) -> Any:
        """Read a file: `downloadFile({"fileID": ...})` returns `fileContent` (bytes) and `statusCode` 200.

        Raises as `getTempFileURL`; -503003 where there is no such file.
        """
        return self._keep("downloadFile", options, keywords)

    def uploadFile(self, options: Mapping[str, Any] | None = None, /, **keywords: Any) -> Any:
        """Store a file: `uploadFile({"cloudPath": "cut/a.jpg", "fileContent": bytes or a file object})`.

        It returns `fileID`, and `statusCode` -1 as wx-server-sdk 4.0.2 does. A file at that path is replaced.
        Raises as `getTempFileURL`; -503001 where the cloud does not take the file.
        """
        return self._keep("uploadFile", options, keywords)

    def deleteFile(self, options: Mapping[str, Any] | None = None, /, **keywords: Any) -> Any:
        """Delete at most 50 files: `deleteFile({"fileList": [fileID]})` returns `fileList` of fileID, status, errMsg.

        Raises as `getTempFileURL`; a missing file is a status (-503003), not an exception.
        """
        return self._keep("deleteFile", options, keywords)

    def cut(
        self,
        picture: object,
        result: Mapping[str, Any],
        *,
        size: tuple[int | None, int | None] | None = None,
        format: str | None = None,  # noqa: A002 - the word that Pillow and users have for it
        quality: int | None = None,
        max_megapixels: float | None = None,
        max_jpeg_megapixels: float | None = None,
    ) -> list[bytes]:
        """Cut a picture into one for each box of `result`, in order; return each as an encoded file's bytes.

        `picture` is the one that `aiCrop` got: its parameters, an `img`, a URL, a fileID, a `pathlib.Path` or bytes; a
        string is never a path. `result` is what `aiCrop` returned, whoever answered: corners in pixels of the picture
        as displayed, right and bottom inclusive.

        The Exif orientation is applied, format and colour profile are kept, all other metadata is dropped; pixels are
        exact where the format is lossless. `size` is the (width, height) in pixels that each is scaled to; where one of
        them is None, it follows from the other. `format` is "jpeg", "png" or "webp", `quality` 1 to 100. The limits, in
        millions of pixels, are those of the settings unless they are set here.

        Raises ValueError and TypeError for wrong arguments, before any network; OSError where a path cannot be read;
        CloudError 101000 for a URL, 101002 for a picture that cannot be read, -503003 for a missing file, -601002 where
        the engine is not installed, -1 where a URL or a fileID comes before `init`.
        """
        try:
            from cloudfn import boxes, crop

            crop.check_installed()
        except ImportError:
            raise without_engine() from None
        except _SHORTAGES as error:
            raise shortage(error, "cut") from error
        boxes.boxes_of(result)  # a wrong one is refused before any network
        if isinstance(picture, Mapping):
            picture = picture.get("imgUrl") or picture.get("img_url") or picture.get("img") or picture
        if isinstance(picture, Mapping) and "value" in picture:
            picture = picture["value"]
        if isinstance(picture, Path):
            picture = picture.read_bytes()
        if isinstance(picture, str) and picture.startswith(FILE_ID):
            picture = self._keep_now("downloadFile", {"fileID": picture}, {})["fileContent"]
        elif isinstance(picture, str) and picture.lower().startswith(("http://", "https://")):
            from cloudfn.backends.local import fetched

            in_force = settings.in_force(self._initialised("cut"))
            call = _of_this_invocation(Call("cut", {}), in_force)
            picture = fetched(picture, in_force, seconds=call.deadline.left)
        try:
            chosen = settings.in_force(self._arguments or ())
            return boxes.cut(
                picture,
                result,
                size=size,
                format=format,
                quality=quality,
                max_megapixels=chosen.max_megapixels if max_megapixels is None else max_megapixels,
                max_jpeg_megapixels=chosen.max_jpeg_megapixels if max_jpeg_megapixels is None else max_jpeg_megapixels,
            )
        except _SHORTAGES as error:
            raise shortage(error, "cut") from error

    def warm_up(self, *, network: bool = False) -> None:
        """Load once, while a platform initialises, what the first call would load; by default without any network.

        With `network` it also fetches a token and opens the connection. A wrong set-up is not an error here: the
        first call reports it.
        """
        with contextlib.suppress(CloudError):
            chosen = settings.in_force(self._arguments or ())
            backend = self._backend_for(chosen)
            params.warm_up()
            backend.warm_up(network=network)
            permissions.check(
                next(iter(apis.APIS)), chosen.config, self._folder
            )  # whichever API it is, config.json is read

    def close(self) -> None:
        """Close the connections; the next call opens new ones, and a call under way ends normally."""
        with self._lock:
            retired, self._backend = self._backend, None
            files, self._files = self._files, None
        for kept in (retired, files):
            if kept:
                kept[1].close()

    def call(self, name: str, read: Callable[..., Call], *, convert_case: bool = True) -> dict[str, Any]:
        """Make the cloud call `name` and return its result; the checks come in the SDK's order.

        `read` is one of `params`' readers with what the caller gave: called with the API, and with `begin`.

        Raises `CloudError`: -1 before init, -604100 for an unknown API, -604101 without permission, -401002 and
        -401003 for wrong parameters, then whatever the backend answers.
        """
        with _reported(name):
            arguments = self._initialised(name)
            api = apis.APIS.get(name)
            if api is None:
                match = near(name, apis.APIS)
                cure = f'did you mean "{match}"?' if match else f"the APIs are {', '.join(apis.APIS)}"
                raise gateway_failure(name, -604100, problem=f'there is no API "{name[:80]}"', cure=cure)
            in_force = settings.in_force(arguments)
            permissions.check(name, in_force.config, self._folder)
            call = _of_this_invocation(read(api, begin=partial(self._begin, name, in_force)), in_force)
            backend = self._backend_for(in_force)
            if call.names_file:
                from cloudfn import storage

                backend = storage.Resolved(backend, self._files_for(in_force))
            result = perform(call, backend, convert_case=convert_case)
            return _Unawaited(result) if _in_event_loop() else result

    def _keep(self, api: str, options: Mapping[str, Any] | None, keywords: Mapping[str, Any]) -> Any:
        return _awaited(partial(self._keep_now, api, options, keywords))

    def _keep_now(self, api: str, options: Mapping[str, Any] | None, keywords: Mapping[str, Any]) -> dict[str, Any]:
        with _reported(api):
            from cloudfn import storage

            arguments = self._initialised(api)
            parameters = storage.FUNCTIONS[api].read(keywords if options is None and keywords else options)
            in_force = settings.in_force(arguments)
            call = _of_this_invocation(Call(api, {}), in_force)
            result = storage.perform(call, self._files_for(in_force), parameters)
            return _Unawaited(result) if _in_event_loop() else result

    def _initialised(self, name: str) -> settings.Arguments:
        if self._arguments is None:
            cure = "call cloud.init() before the first cloud call"
            raise CloudError(-1, _NOT_INITIALISED, api=name, hint=cure, retryable=False)
        return self._arguments

    def _files_for(self, in_force: Settings) -> Files:
        from cloudfn import storage
        from cloudfn.backends.files import files_for

        wanted, retired = (in_force, storage.environment(self._env)), None
        with self._lock:
            if self._files is None or self._files[0] != wanted:
                retired, self._files = self._files, (wanted, files_for(*wanted))
            files = self._files[1]
        if retired:
            retired[1].close()
        return files

    def _begin(self, name: str, in_force: Settings) -> None:
        if not invocation.current().token:  # with that one the call may need no other
            with contextlib.suppress(CloudError):  # a wrong set-up is told after wrong parameters
                self._backend_for(in_force).begin(name)

    def _backend_for(self, in_force: Settings) -> Backend:
        retired = None
        with self._lock:
            if self._backend is None or self._backend[0] != in_force:
                with forks.held_off():
                    retired, self._backend = self._backend, (in_force, choose(in_force))
            backend = self._backend[1]
        if retired:
            retired[1].close()
        return backend


class _Default(Cloud):
    """The instance behind the package's own functions: not ready before `init`, as in the SDK."""

    def __init__(self) -> None:
        super().__init__()
        self._arguments = None

    def init(self, options: Mapping[str, Any] | None = None, /, **keywords: Any) -> None:
        """Make the package's own functions ready. It takes what `Cloud` takes; a second call is ignored, as in the SDK.

        Raises `CloudError`: -401002 for an unknown keyword, -601002 for a bad value.
        """
        merged = settings.sealed(options, keywords)
        del keywords
        if self._arguments is None:
            self._arguments = _checked(options, merged)
            self._env = merged.get("env")
            self._folder = settings.calling_folder()


def absent(name: str) -> Callable[..., Any]:
    """Make a stand-in for an SDK function that this package lacks: it raises `CloudError` with what to use instead."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise refusal(-604100, f"cloud.{name} is not part of cloudfn", ABSENT[name], api=name, retryable=False)

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = f"Not part of cloudfn: {ABSENT[name]}."
    return refuse


def _checked(options: object, keywords: Mapping[str, Any]) -> settings.Arguments:
    """Return the settings among init's arguments; a wrong one is an error of init, not of the first call."""
    if options is not None and not isinstance(options, Mapping):
        raise CloudError(-401003, f"init: got a {type(options).__name__}, expected one mapping or keywords")
    arguments = settings.check({name: value for name, value in keywords.items() if name not in _SDK_KEYWORDS})
    seconds = keywords.get("timeout")
    if isinstance(seconds, (int, float)) and seconds >= _SUSPECT_SECONDS:
        _log.warning("init: timeout=%g s: seconds here, milliseconds in Node", seconds)
    return arguments


def _awaited(call: Callable[[], dict[str, Any]]) -> Any:
    """Return the result of a call, as a coroutine inside an `async def` function that awaits its calls."""
    if invocation.awaits():
        from cloudfn import asynchronous

        return asynchronous.run(call)
    return call()


_RAISES = (
    "Raises CloudError: -1 before init, -604101 where config.json does not grant the call, -401002 and -401003 for\n"
    "wrong parameters, -604102 when the time is over, -601003 where WeChat is not reached, else WeChat's own codes,\n"
    "which `cloudfn explain CODE` explains. Source: WeChat's API documentation and wx-server-sdk 4.0.2."
)


@lru_cache
def _described(api: apis.Api) -> str:
    """Return the documentation of a call, made from its schema."""
    schema = api.schema()
    lines = [
        f"Call {schema['title']} and return its result, a dict with errCode 0; raise CloudError where it fails.",
        "",
    ]
    lines += [f"    {name}: {schema['properties'][name].get('description', '')}" for name in api.fields]
    lines += ["", f"It takes {schema['description']}, or the same as keywords."]
    lines += [schema.get("$comment", "The result is WeChat's, with names in camelCase, errMsg and errCode 0.")]
    return "\n".join([*lines, "", _RAISES])


def _in_event_loop() -> bool:
    """Return whether this thread runs an event loop, without loading asyncio."""
    asyncio = sys.modules.get("asyncio")
    try:
        return asyncio is not None and asyncio.get_running_loop() is not None
    except RuntimeError:
        return False


@contextlib.contextmanager
def _reported(api: str) -> Iterator[None]:
    """Log the cure of a block's error; what the process is short of becomes a `CloudError` of this API."""
    try:
        yield
    except CloudError as error:
        log_hint(error)
        raise
    except _SHORTAGES as error:
        raise shortage(error, api) from error


def _of_this_invocation(call: Call, in_force: Settings) -> Call:
    """Return the call with its deadline, as the platform's time allows, and the token of the request being answered."""
    known = invocation.current()
    left = known.left() if known.left else math.inf
    if left <= 0:
        cure = "raise the function's own time limit, or do less before the cloud call"
        raise refusal(-604102, "the platform has no time left for this call", cure, api=call.api)
    return replace(call, deadline=Deadline(min(in_force.timeout, left)), token=known.token)


class OpenApi:
    """`openapi`, and each of its name spaces: attributes are name spaces or APIs, calling an API makes the call."""

    if TYPE_CHECKING:
        img: Img

    def __init__(self, cloud: Cloud, *, path: tuple[str, ...] = (), convert_case: bool = True) -> None:
        self._cloud = cloud
        self._path = path
        self._convert_case = convert_case
        api = apis.APIS.get(".".join(path))
        if api:
            with contextlib.suppress(*_SHORTAGES):  # the call itself tells of them
                self.__doc__ = _described(api)  # help() shows an object's own text

    def __repr__(self) -> str:
        return ".".join(("openapi", *self._path))

    @property
    def __signature__(self) -> Signature:
        """Return the call's parameters, for interactive help and `inspect`."""
        from inspect import Parameter, Signature

        api = apis.APIS.get(".".join(self._path))
        if api is None:
            raise AttributeError("__signature__", name="__signature__", obj=self)
        return Signature([Parameter(name, Parameter.KEYWORD_ONLY, default=None) for name in api.fields])

    @property
    def is_root(self) -> bool:
        """Return whether this is `openapi` itself, which takes options, and not a name space or an API."""
        return not self._path

    def __dir__(self) -> list[str]:
        depth = len(self._path)
        names = [name.split(".") for name in apis.APIS]
        return sorted({name[depth] for name in names if len(name) > depth and tuple(name[:depth]) == self._path})

    def __getattr__(self, name: str) -> OpenApi:
        if name.startswith("_"):
            raise AttributeError(name, name=name, obj=self)
        return OpenApi(self._cloud, path=(*self._path, name), convert_case=self._convert_case)

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Call the API with one mapping or keywords; of `openapi` itself, return an `openapi` with these options.

        Options are `convertCase` (only the literal False switches it off), and `appid` and `version`, which say
        nothing over HTTPS: there the token tells the account.
        """
        if len(args) > 1 or (args and keywords):
            hint = "give one mapping, or keywords"
            raise CloudError(-401003, f"{self!r}:fail {hint}", api=".".join(self._path), hint=hint)
        if not self._path:
            return self._with_options(args[0] if args else keywords)
        parameters = args[0] if args and args[0] is not None else keywords
        read = partial(params.read, given=parameters, convert_case=self._convert_case)
        return _awaited(partial(self._cloud.call, ".".join(self._path), read, convert_case=self._convert_case))

    def _with_options(self, options: object) -> OpenApi:
        if not isinstance(options, Mapping) or not options:
            raise CloudError(-401003, "an options object is expected", hint='such as openapi({"convertCase": False})')
        if options.get("appid"):
            _log.warning("openapi({appid}) has no effect over HTTPS: the access token tells the account")
        return OpenApi(self._cloud, convert_case=options.get("convertCase") is not False)


_default = _Default()
openapi = _default.openapi
getTempFileURL = _default.getTempFileURL
downloadFile = _default.downloadFile
uploadFile = _default.uploadFile
deleteFile = _default.deleteFile
cut = _default.cut


def createNewInstance(options: Mapping[str, Any] | None = None, /, **keywords: Any) -> Cloud:
    """Return an independent instance, as `Cloud(...)` makes it."""
    return Cloud(options, **keywords)


init = _default.init
warm_up = _default.warm_up


def __getattr__(name: str) -> Any:
    """Make `aio`, which imports asyncio, when it is first used."""
    if name == "aio":
        return _default.aio
    if name in ABSENT:
        return absent(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)


_INTEGER = re.compile(r"-?[0-9]+", re.ASCII)
_HIDDEN = ("API_TOKEN", "TRIGGER_API_TOKEN_V0")


def get_wx_context() -> dict[str, str | int]:
    """Return who called the function: OPENID, APPID, UNIONID, ENV, SOURCE and whatever else WX_CONTEXT_KEYS lists.

    It needs no `init`. Empty when WX_CONTEXT_KEYS is unset or empty. The rules are wx-server-sdk 4.0.2's: the prefix
    WX_ is cut off, whole numbers become numbers, tokens are withheld, ENV (TCB_ENV or SCF_NAMESPACE) is set last.
    On CloudRun it is what the headers of the request tell that `cloud.function` or the ready-made handler answers.
    """
    caller = invocation.current().caller
    if caller is not None:
        return dict(caller)
    environment = settings.environment()
    context: dict[str, str | int] = {}
    if not environment.get("WX_CONTEXT_KEYS"):
        return context
    for key in environment["WX_CONTEXT_KEYS"].split(","):
        name = key[3:] if key.startswith("WX_") and len(key) > 3 else key
        value = environment.get(key)
        if value is not None and name not in _HIDDEN:
            context[name] = int(value) if _INTEGER.fullmatch(value) and len(value) < 4000 else value
    context.pop("ENV", None)
    env = environment.get("TCB_ENV") or environment.get("SCF_NAMESPACE")
    if env is not None:
        context["ENV"] = env
    if environment.get("TCB_SOURCE"):
        context["SOURCE"] = environment["TCB_SOURCE"]
    return context


getWXContext = get_wx_context
