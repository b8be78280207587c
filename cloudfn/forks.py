"""State that the child of a fork must not inherit: connections, locks held by other threads, work under way.

gunicorn's `--preload`, multiprocessing and some platforms fork a process that is in use. In the child only the thread
that forked lives on, and the parent goes on using its sockets.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Forkable(Protocol):
    """An object with state that belongs to one process."""

    def after_fork(self) -> None:
        """Make that state anew. Called in the child, while it has one thread; must take no lock."""


_loading = threading.RLock()
_objects: weakref.WeakSet[Forkable] = weakref.WeakSet()


def watch(forkable: Forkable) -> None:
    """Call the object's `after_fork` in every child, as long as it lives."""
    _objects.add(forkable)


@contextmanager
def held_off() -> Iterator[None]:
    """Let no other thread fork while a block loads modules.

    Python's lock on a module that is being loaded is not released in a child, which would wait for it for ever.
    """
    with _loading:
        yield


def _in_child() -> None:
    _loading.release()
    for forkable in list(_objects):
        forkable.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(before=_loading.acquire, after_in_parent=_loading.release, after_in_child=_in_child)
