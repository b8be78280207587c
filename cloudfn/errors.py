"""`CloudError`, the one kind of exception, and the one place where an error's texts are made of its facts."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple

from cloudfn.codes import CODES


class Limit(NamedTuple):
    """A limit that something went over: `name` is the setting or flag that raises it, "" where nothing does."""

    most: float
    unit: str
    name: str = ""


@dataclass(frozen=True)
class Facts:
    """The facts that an error's texts are made of; code reads these and never the texts.

    `problem` says in our own words what is wrong, `cure` what to do about it. `parameter` is the one that is wrong
    (`img.value`), with a description of what `came`, which shows nothing private, and what was `expected`. `limit` is
    the limit that was passed. `in_words` tells whether errMsg contains the cure already.
    """

    problem: str = ""
    cure: str = ""
    parameter: str = ""
    came: str = ""
    expected: str = ""
    limit: Limit | None = None
    in_words: bool = False


class CloudError(Exception):
    """A cloud call that failed, whatever the reason.

    `errCode` is an int, `errMsg` the text that wx-server-sdk would give; `str()` is the SDK's `message`. `api` is the
    API's name ("" where none was called yet), `hint` the cure, `retryable` whether the same call may succeed later,
    `facts` the facts behind the texts. A traceback shows the cure too.
    """

    def __init__(
        self,
        errCode: int,
        errMsg: str,
        *,
        api: str = "",
        hint: str | None = None,
        retryable: bool | None = None,
        facts: Facts | None = None,
    ) -> None:
        row = CODES.get(errCode)
        self.errCode = errCode
        # Texts quote what came, and half a surrogate pair in it could not be sent to anybody.
        self.errMsg = str(errMsg).encode("utf-8", "backslashreplace").decode()
        self.api = api
        self.hint = hint if hint is not None else row.cure if row else ""
        self.retryable = retryable if retryable is not None else bool(row and row.retryable)
        self.facts = facts or Facts(cure=self.hint)
        super().__init__(errCode, errMsg)
        if self.hint and not self.facts.in_words:
            # Shown below the message in every traceback from Python 3.11 on; pytest and rich read it on 3.10 too.
            self.__notes__ = [f"cure: {self.hint}"]

    def __str__(self) -> str:
        row = CODES.get(self.errCode)
        return f"errCode: {self.errCode} {row.text if row else ''} | errMsg: {self.errMsg}"

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments get lost by Exception's own pickling, and errors cross process borders.
        return type(self), (self.errCode, self.errMsg), self.__dict__

    @property
    def err_code(self) -> int:
        """Return `errCode`, under its Python name."""
        return self.errCode

    @property
    def err_msg(self) -> str:
        """Return `errMsg`, under its Python name."""
        return self.errMsg

    @property
    def http_status(self) -> int:
        """Return the HTTP status for an answer that reports this error: 413 where something is too large."""
        if self.facts.limit:
            return 413
        row = CODES.get(self.errCode)
        return row.status if row else 502

    def to_dict(self) -> dict[str, int | str]:
        """Return the error as a cloud function does: exactly errCode and errMsg, as JSON.stringify gives in Node."""
        return {"errCode": self.errCode, "errMsg": self.errMsg}


if sys.version_info < (3, 11) and sys.excepthook is sys.__excepthook__:

    def _show_cure(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        """Print the notes of an error that ends the program, as Python 3.11 does by itself."""
        sys.__excepthook__(kind, error, traceback)
        if isinstance(error, CloudError):
            print(*getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)  # noqa: T201 - beside the traceback

    sys.excepthook = _show_cure


# --- The one place where an error's texts are made of its facts ------------------------------------------------------


def refusal(
    code: int,
    problem: str,
    cure: str,
    *,
    api: str = "",
    retryable: bool | None = None,
    limit: Limit | None = None,
) -> CloudError:
    """Make an error in our own words: errMsg holds the problem and the cure."""
    prefix = f"{_spoken(api)}:fail " if api else ""
    facts = Facts(problem, cure, limit=limit, in_words=True)
    return CloudError(code, f"{prefix}{problem}; {cure}", api=api, hint=cure, retryable=retryable, facts=facts)


def setup_error(problem: str, cure: str) -> CloudError:
    """Make the error -601002: a setting, an extra or a file of the set-up is wrong."""
    return refusal(-601002, problem, cure)


def setting_error(name: str, came: str, expected: str) -> CloudError:
    """Make the error -601002 of a setting with a bad value."""
    problem, cure = f"{name}: got {came}", f"expected {expected}"
    facts = Facts(problem, cure, name, came, expected, in_words=True)
    return CloudError(-601002, f"{problem}, {cure}", hint=cure, facts=facts)


def installing(extra: str) -> str:
    """Return how to install an extra."""
    return f'pip install "cloudfn-aicrop[{extra}]" (from a checkout: pip install -e ".[{extra}]")'


def missing_extra(user: str, packages: str, extra: str) -> CloudError:
    """Make the error -601002 of a part (`user`) that needs `packages`, which are not installed."""
    cure = installing(extra)
    return CloudError(
        -601002,
        f"{user} needs {packages}: {cure}",
        hint=cure,
        facts=Facts(f"{user} needs {packages}", cure, in_words=True),
    )


def not_loaded(user: str, error: ImportError) -> CloudError:
    """Make the error -601002 of a part (`user`) whose packages are there and cannot be loaded."""
    return setup_error(f"{user} cannot be loaded ({_why(error)})", "give it more memory, or install its packages again")


def shortage(error: Exception, api: str = "") -> CloudError:
    """Make the error -504002 of a process that has no memory, descriptors or threads left, as `error` says."""
    problem = f"this process has not enough memory, descriptors or threads left ({_why(error)})"
    return refusal(-504002, problem, "raise its limits, or let it do less at the same time", api=api, retryable=True)


def _why(error: Exception) -> str:
    """Return an exception's words in one line; numpy's have twenty, and the cause in the last one."""
    return " ".join(str(error).strip().splitlines()[-1:]) or type(error).__name__


def parameter_error(
    api: str, parameter: str, came: str, expected: str, *, cure: str = "", wrong_type: bool = False
) -> CloudError:
    """Make the error of a parameter: -401003 for a wrong type, else -401002. `cure` says more than `expected` does."""
    hint = f"expected {expected}" + (f"; {cure}" if cure else "")
    problem = f"{parameter}: got {came}"
    return CloudError(
        -401003 if wrong_type else -401002,
        f"{_spoken(api)}:fail parameter error: {problem}, {hint}",
        api=api,
        hint=hint,
        facts=Facts(problem, hint, parameter, came, expected, in_words=True),
    )


def failure(
    api: str,
    code: int,
    words: str,
    *,
    problem: str = "",
    cure: str | None = None,
    retryable: bool | None = None,
    limit: Limit | None = None,
) -> CloudError:
    """Make the error of a call that ran and failed, in WeChat's or the SDK's words: `openapi.img.aiCrop:fail <words>`.

    The words stay as they are; `problem`, in our own words, and the cure make the hint. Without a `cure` that of the
    code table counts.
    """
    return _foreign_words(api, code, f"{_spoken(api)}:fail {words}", problem, cure, retryable, limit)


def too_late(api: str, seconds: float) -> CloudError:
    """Make the error -604102 of a call that had so many seconds."""
    return failure(api, -604102, f"no answer within {seconds:.3g} seconds")


def gateway_failure(api: str, code: int, *, problem: str = "", cure: str | None = None) -> CloudError:
    """Make the error of a call refused before the API ran, in the SDK's form: no `openapi.` prefix, no words."""
    return _foreign_words(api, code, f"system error: error code: {code}", problem, cure)


def picture_error(
    code: int, words: str, problem: str, cure: str, *, retryable: bool | None = None, limit: Limit | None = None
) -> CloudError:
    """Make the error of a picture, in WeChat's words and before any API is named: 101000 or 101002."""
    return _foreign_words("", code, words, problem, cure, retryable, limit)


def named(error: CloudError, api: str) -> CloudError:
    """Return an error that arose before its API was named as that API's: `openapi.img.aiCrop:fail <errMsg>`."""
    return CloudError(
        error.errCode,
        f"openapi.{api}:fail {error.errMsg}",
        api=api,
        hint=error.hint,
        retryable=error.retryable,
        facts=error.facts,
    )


def _spoken(api: str) -> str:
    """Return a call's name in the SDK's texts: WeChat's APIs have a prefix, its own (uploadFile) have none."""
    return f"openapi.{api}" if "." in api else api


def _foreign_words(
    api: str,
    code: int,
    errmsg: str,
    problem: str,
    cure: str | None,
    retryable: bool | None = None,
    limit: Limit | None = None,
) -> CloudError:
    if cure is None:
        cure = CODES[code].cure if code in CODES else ""
    hint = f"{problem}; {cure}" if problem else cure
    return CloudError(code, errmsg, api=api, hint=hint, retryable=retryable, facts=Facts(problem, cure, limit=limit))
