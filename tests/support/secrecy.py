"""No secret in anything that is shown or kept of an error."""

from __future__ import annotations

import traceback
from collections.abc import Iterable


def assert_no_secret(secrets: Iterable[str], error: BaseException | None, *texts: str) -> None:
    """Look for the secrets in `texts`, and in all that can be printed of an error and of what led to it."""
    shown = list(texts)
    while error:
        shown += ["".join(traceback.format_exception(error)), repr(error), str(error), repr(vars(error))]
        # The errors of requests hold the whole request.
        assert not hasattr(error, "request"), error
        error = error.__cause__ or error.__context__
    for secret in secrets:
        assert not [text for text in shown if secret in text], secret
