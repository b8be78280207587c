"""A silencer for libtiff, which comes with Pillow and writes to stderr: up to a line for each row of a damaged fax."""

from __future__ import annotations

import contextlib
import ctypes
import threading

from PIL import _imaging

_complaints: set[int] = set()  # threads, by their number


def _note(*_: object) -> None:
    _complaints.add(threading.get_ident())


# TIFFErrorHandler: module, format, va_list. The name keeps it alive as long as libtiff may call it.
_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)(_note)


def _silence() -> None:
    # A Pillow that does not expose its libtiff, as on Windows, keeps libtiff's own handlers.
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(_imaging.__file__)
        noting = ctypes.cast(_HANDLER, ctypes.c_void_p)
        for kind, handler in (("ErrorHandlerExt", None), ("WarningHandler", None), ("ErrorHandler", noting)):
            setter = getattr(library, f"TIFFSet{kind}")
            setter.restype = ctypes.c_void_p
            setter.argtypes = [ctypes.c_void_p]
            setter(handler)


def complained() -> bool:
    """Return whether libtiff reported an error in a picture of this thread since the last call."""
    has_error = threading.get_ident() in _complaints
    _complaints.discard(threading.get_ident())
    return has_error


_silence()
