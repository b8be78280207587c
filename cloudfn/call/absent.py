"""The functions of wx-server-sdk that cloudfn lacks, and what to use instead."""

from __future__ import annotations

from collections.abc import Mapping

_DATABASE = "use a database of your platform, or WeChat's HTTPS API /tcb/databasequery with an access token"
_ACCESS_TOKEN = "use WeChat's HTTPS API for it, with an access token"

ABSENT: Mapping[str, str] = {
    "ai": "use the HTTP API of the model itself",
    "callContainer": "call the container's own address, for example with requests",
    "callFunction": "call the other function's Python code, or WeChat's HTTPS API /tcb/invokecloudfunction",
    "callOpenAPI": "use cloud.openapi",
    "CloudID": "open the data in the mini program, or with WeChat's HTTPS API: only its own gateway opens a cloudID",
    "cloudPay": "use WeChat Pay's HTTPS API",
    "database": _DATABASE,
    "getCloudCallSign": _ACCESS_TOKEN,
    "getOpenData": _ACCESS_TOKEN,
    "getVoIPSign": _ACCESS_TOKEN,
    "logger": "use Python's logging, whose records the platform keeps",
    "models": _DATABASE,
    "registerService": "call your own code: there are no services to register",
    "signature": "use hmac of the standard library",
    "updateConfig": "make an instance with other settings, cloud.Cloud(...)",
}
