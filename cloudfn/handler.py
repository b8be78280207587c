"""A ready-made cloud function: `cloudfn.handler.main` (or `main_handler`) is what a platform is pointed at."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

from cloudfn.cloud import Cloud
from cloudfn.errors import CloudError
from cloudfn.params import read_event


class Handler(Protocol):
    """What a platform calls: the event, and its own context object, which is not used."""

    def __call__(self, event: Any, context: Any = None) -> dict[str, Any]: ...


def make_main(*, raise_errors: bool = False, **settings: Any) -> Handler:
    """A handler that makes the cloud call img.aiCrop for an event, on an instance of its own.

    The event's imgUrl, img and ratios are taken. A key that looks like one of them misspelt is -401002 with the right
    name; any other key is ignored. It returns the result, or exactly errCode and errMsg; with `raise_errors` it raises
    `CloudError` instead. `settings` are those of `Cloud`; the others are read when an event comes.
    """
    cloud = Cloud(**settings)

    def main(event: Any, context: Any = None) -> dict[str, Any]:  # noqa: ARG001 - every platform hands one over
        try:
            return cloud.call("img.aiCrop", partial(read_event, event=event))
        except CloudError as error:
            if raise_errors:
                raise
            return error.to_dict()

    return main


main = make_main()
main_handler = main
