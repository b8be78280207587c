"""The one table of platforms: how a process knows one, where its code lies, what it takes. Imports nothing.

Sizes are bytes, times seconds; None: the vendor states no limit. Sources: AWS "Lambda quotas", API Gateway and
Elastic Load Balancing guides; cloud.tencent.com/document/product/583/11637; docs.cloudbase.net,
EXCEED_MAX_PAYLOAD_SIZE; WeChat's pages "know" and "wxinfo" of CloudRun; alibabacloud.com/help/doc-detail/2527064;
support.huaweicloud.com functiongraph_01_0150; docs.cloud.google.com/functions/quotas; Azure's "functions-scale".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

_KIB = 1024
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Host:
    """One platform.

    `marks` are environment variables that it sets by itself, any of which identifies it (None stands for any value);
    `code_folders` those that name the folder of the deployed code. `delivers` is what a function is called with: the
    event's JSON decoded, its bytes, a WSGI environment, a flask.Request or Azure's HttpRequest. `entry` and `handler`
    are the file and the name in it that a bundle offers, "" where `cloudfn package` makes none; `container` tells that
    the bundle is an image's source. `python` and `glibc` (2.x) are those of the runtime.

    `seconds` is the function's time limit unless it is set otherwise, `max_seconds` the longest. `text_bytes` is the
    limit of a request whose body is text, where that is smaller than `request_bytes`. `environment` is what
    `cloudfn invoke --platform` sets.
    """

    name: str
    title: str
    marks: Mapping[str, str | None]
    delivers: Literal["json", "bytes", "wsgi", "flask", "azure"]
    seconds: float
    max_seconds: float
    request_bytes: int | None
    response_bytes: int | None
    text_bytes: int | None = None
    code_folders: tuple[str, ...] = ()
    entry: str = ""
    handler: str = ""
    python: str = ""
    glibc: int = 17
    zip_bytes: int | None = None
    unzipped_bytes: int | None = None
    container: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


_ROWS = (
    Host(
        name="scf",
        title="Tencent SCF",
        # It is WX_LOCAL_SCF where WeChat's tools debug locally, which is no platform.
        marks={"TENCENTCLOUD_RUNENV": "SCF", "SCF_FUNCTIONNAME": None},
        code_folders=("USER_CODE_ROOT",),
        delivers="json",
        entry="index.py",
        handler="main_handler",
        python="3.10",
        seconds=3,
        max_seconds=900,
        request_bytes=6 * _MIB,
        response_bytes=6 * _MIB,
        zip_bytes=50 * _MIB,  # through the console and the API; more goes through object storage
        unzipped_bytes=500 * _MIB,
        environment={"TENCENTCLOUD_RUNENV": "SCF", "SCF_FUNCTIONNAME": "function"},
    ),
    Host(
        name="cloudbase",
        title="Tencent CloudBase",
        marks={"TCB_ENV": None},
        delivers="json",
        entry="index.py",
        handler="main",
        python="3.10",
        seconds=3,
        max_seconds=300,
        # A body that is text may have 100 KB only; which of the two an event counts as is not documented.
        request_bytes=6 * _MIB,
        response_bytes=_MIB,  # -604001: "cloudfunction result size exceed limit (1MB)"
        zip_bytes=50 * _MIB,
        unzipped_bytes=500 * _MIB,
        environment={"TENCENTCLOUD_RUNENV": "SCF", "SCF_FUNCTIONNAME": "function", "TCB_ENV": "local"},
    ),
    Host(
        name="cloudrun",
        title="WeChat CloudRun",
        marks={"CBR_ENV_ID": None},
        delivers="wsgi",
        entry="index.py",
        handler="app",
        container=True,
        python="3.12",  # of the Dockerfile's image, Debian 12 with glibc 2.36
        glibc=36,
        seconds=60,  # the limits of a mini program's callContainer
        max_seconds=60,
        text_bytes=100 * _KIB,
        request_bytes=20 * _MIB,
        response_bytes=1000 * _KIB,
        environment={"CBR_ENV_ID": "local"},
    ),
    Host(
        name="lambda",
        title="AWS Lambda",
        marks={"AWS_LAMBDA_FUNCTION_NAME": None},
        code_folders=("LAMBDA_TASK_ROOT",),
        delivers="json",
        entry="lambda_function.py",
        handler="lambda_handler",
        python="3.12",  # on Amazon Linux 2023, glibc 2.34
        glibc=34,
        seconds=3,
        max_seconds=900,
        request_bytes=6_291_456,
        response_bytes=6_291_456,
        zip_bytes=50 * _MIB,
        unzipped_bytes=250 * _MIB,
        environment={"AWS_LAMBDA_FUNCTION_NAME": "function"},
    ),
    Host(
        name="fc",
        title="Alibaba FC",
        marks={"FC_FUNCTION_NAME": None},
        code_folders=("FC_FUNC_CODE_PATH",),
        delivers="bytes",
        entry="index.py",
        handler="handler",
        python="3.10",
        seconds=3,
        max_seconds=86_400,
        request_bytes=32 * _MIB,
        response_bytes=32 * _MIB,
        zip_bytes=100 * _MIB,
        unzipped_bytes=500 * _MIB,
        environment={"FC_FUNCTION_NAME": "function"},
    ),
    Host(
        name="huawei",
        title="Huawei FunctionGraph",
        marks={"RUNTIME_FUNC_NAME": None},
        code_folders=("RUNTIME_CODE_ROOT",),
        delivers="json",
        entry="index.py",
        handler="handler",
        python="3.10",
        seconds=3,
        max_seconds=900,
        request_bytes=6 * _MIB,
        response_bytes=6 * _MIB,
        zip_bytes=40 * _MIB,  # through the console; more goes through OBS
        unzipped_bytes=1536 * _MIB,
        environment={"RUNTIME_FUNC_NAME": "function"},
    ),
    Host(
        name="google",
        title="Google Cloud Run functions",
        marks={"K_SERVICE": None},  # Cloud Run and Knative
        delivers="flask",
        entry="main.py",
        handler="main",
        python="3.12",  # on Ubuntu 22.04, glibc 2.35
        glibc=35,
        seconds=60,
        max_seconds=3600,
        request_bytes=32 * _MIB,
        response_bytes=32 * _MIB,
        environment={"K_SERVICE": "function"},
    ),
    Host(
        name="azure",
        title="Azure Functions",
        marks={"FUNCTIONS_WORKER_RUNTIME": None},
        code_folders=("AzureWebJobsScriptRoot",),
        delivers="azure",
        seconds=230,  # of an HTTP trigger, whatever the function's own limit
        max_seconds=230,
        request_bytes=100 * _MIB,
        response_bytes=None,
        environment={"FUNCTIONS_WORKER_RUNTIME": "python"},
    ),
)

HOSTS: Mapping[str, Host] = {row.name: row for row in _ROWS}


def current(environment: Mapping[str, str]) -> Host | None:
    """Return the platform whose mark stands in an environment, None elsewhere.

    CloudBase functions run on SCF and have both marks; TCB_ENV alone may be a developer's own.
    """
    marked = next((host for host in _ROWS if host.name != "cloudbase" and _marked(host, environment)), None)
    return HOSTS["cloudbase"] if marked is HOSTS["scf"] and _marked(HOSTS["cloudbase"], environment) else marked


def _marked(host: Host, environment: Mapping[str, str]) -> bool:
    return any(
        environment.get(name) == value if value is not None else bool(environment.get(name))
        for name, value in host.marks.items()
    )
