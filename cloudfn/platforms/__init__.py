"""Platforms: an event in, the values of `base` out, and an answer back in the platform's own form. No IO, no settings.

A platform is one file with its forms (read side and write side) and one row for each in FORMS; its `HOST`, if it is one
that a function can be packaged for, is a row in HOSTS.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloudfn.platforms import aws, cloudbase, cloudevents, direct, fc, google, huawei, scf, wsgi
from cloudfn.platforms.base import Form, Host

# The first that matches counts. A direct event may carry a `version`, `path` or `body` of its own, so every row asks
# for keys that only occur together.
FORMS: tuple[Form, ...] = (
    wsgi.Wsgi(),
    google.FlaskRequest(),
    direct.Records(),
    aws.Alb(),
    aws.HttpApi(),
    fc.HttpTrigger(),
    aws.RestApi(),
    scf.Gateway(),
    cloudbase.HttpAccess(),
    huawei.Gateway(),
    fc.Gateway(),
    scf.FunctionUrl(),
    scf.Timer(),
    cloudevents.Structured(),
    direct.Direct(),
)

HOSTS: Mapping[str, Host] = {
    host.name: host for host in (scf.HOST, cloudbase.HOST, wsgi.HOST, aws.HOST, fc.HOST, google.HOST)
}

_CLOCKS = (aws.seconds_left, scf.seconds_left, fc.seconds_left, huawei.seconds_left)


def recognise(event: Any, context: Any = None) -> tuple[Form, Any]:
    """The form of an event, and the event itself, its JSON decoded where the platform hands over bytes."""
    event = fc.decoded(event)
    return next(form for form in FORMS if form.matches(event, context)), event


def seconds_left(form: Form, context: Any) -> float | None:
    """How long the platform still waits for the function, as far as its context and the trigger tell."""
    told = [left for clock in _CLOCKS if (left := clock(context)) is not None]
    return min([*told, *([form.seconds] if form.seconds else [])], default=None)
