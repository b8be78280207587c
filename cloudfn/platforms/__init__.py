"""Platforms: an event in, the values of `base` out, and an answer back in the platform's own form. No IO, no settings.

A platform is one file with its forms, and one row for each in FORMS; all else that is known of it is in
`cloudfn.hosts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloudfn.platforms import aws, azure, cloudbase, cloudevents, events, fc, google, huawei, scf, wsgi
from cloudfn.platforms.base import EventForm, Gateway, HttpForm, as_one_value, get, has


class OtherGateway(Gateway):
    """A gateway without a row, whose event has the common keys."""

    name = "HTTP gateway"
    several = staticmethod(as_one_value)

    @classmethod
    def matches(cls, event: Any) -> bool:
        spoken = has(event, "httpMethod", "path", "headers")
        return spoken and ("isBase64Encoded" in event or isinstance(get(event, "requestContext"), Mapping))


class Direct(EventForm):
    """Any other event, the last row: it is the function's own, and whoever invoked it waits for the result."""

    name = "direct"
    caller = True

    @classmethod
    def matches(cls, event: Any) -> bool:  # noqa: ARG003 - everything
        return True


# The first that matches counts. A direct event may carry a `version`, `path` or `body` of its own, so every row asks
# for keys that only occur together.
FORMS: tuple[type[HttpForm | EventForm], ...] = (
    wsgi.Wsgi,
    google.FlaskRequest,
    azure.HttpRequest,
    cloudevents.SdkObject,
    events.Answered,
    aws.Alb,
    aws.HttpApi,
    fc.HttpTrigger,
    scf.ApiGateway,
    cloudbase.HttpAccess,
    aws.RestApi,
    aws.Lattice,
    huawei.Apig,
    scf.FunctionUrl,
    fc.ApiGateway,
    scf.Clb,
    OtherGateway,
    cloudevents.Batch,
    cloudevents.Structured,
    events.Unattended,
    Direct,
)


def recognise(event: Any, context: Any = None) -> HttpForm | EventForm:
    """Return the form of an event, whose JSON is decoded where the platform hands over bytes."""
    event = fc.decoded(event)
    return next(form for form in FORMS if form.matches(event))(event, context)
