"""The table of every code that a cloud call can end with: `cloudfn explain`, errors and documentation are made from it.

The texts are those that wx-server-sdk 4.0.2 prints in an error's message; a code that it does not know has none.
Rule of the codes: -4xxxxx comes from the SDK itself, -5xxxxx from Tencent Cloud, -6xxxxx and positive ones from WeChat.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Code(NamedTuple):
    """One row of the table.

    `text` is the SDK's own wording; `retryable` says whether the same call may succeed when it is repeated later
    without any change; `status` is the HTTP status that fits, 502 where the fault is WeChat's or the network's.
    """

    code: int
    name: str
    text: str
    meaning: str
    cure: str
    retryable: bool = False
    status: int = 502


_WAIT = "wait a little and repeat the call"
_NOT_THIS_API = "img.aiCrop does not use this service: look at the other cloud calls of the function"
_TICKET = "WeChat limits this account or token for security reasons: log in to the WeChat console and follow its notice"

_ROWS = (
    # The SDK's own side.
    Code(-1, "SYSTEM_ERROR", "unknown error", "WeChat is busy, or `init` was not called (the errMsg tells which)",
         "WeChat busy: " + _WAIT + "; otherwise call cloud.init() before the first cloud call", True),
    Code(-401001, "SDK_NO_PERMISSION", "", "no permission to use this API of the SDK",
         "check that the cloud environment is open to this mini program", status=403),
    Code(-401002, "INVALID_PARAMETER", "", "a parameter is missing, unknown or has a wrong value",
         "the errMsg names the parameter, what came and what is expected", status=400),
    Code(-401003, "INVALID_PARAMETER_TYPE", "", "a parameter has a wrong type",
         "the errMsg names the parameter, what came and what is expected", status=400),
    Code(-404001, "EMPTY_CALL_RESULT", "empty call result", "the call came back without a result", _WAIT, True),
    Code(-404002, "EMPTY_EVENT_ID", "empty event id", "a long-running call came back without event id", _WAIT, True),
    Code(-404003, "EMPTY_POLL_URL", "empty poll url", "a long-running call came back without a polling address", _WAIT,
         True),
    Code(-404004, "EMPTY_POLL_RESULT", "empty poll result json", "polling for the result gave nothing", _WAIT, True),
    Code(-404005, "TOO_MANY_POLLS", "exceed max poll retry", "the result did not come within the polling limit",
         "make the work of one call smaller, then repeat it", True),
    Code(-404006, "EMPTY_POLL_BASE_RESP", "empty poll result base resp", "the polled answer lacks its header", _WAIT,
         True),
    Code(-404007, "POLL_FAILED", "error while polling for the result, poll result base resp ret %s",
         "the polled answer is a failure", "look up the code that stands in the text"),
    Code(-404008, "POLL_STATUS", "error while polling for the result, polling server return a status code of %s",
         "the polling server answered with an HTTP error", _WAIT, True),
    Code(-404009, "POLL_ERROR", "error while polling for the result: %s", "polling failed",
         "the text names the cause", True),
    # Tencent Cloud.
    Code(-501001, "RESOURCE_SYSTEM_ERROR", "resource system error",
         "the cloud environment failed; wx-server-sdk also uses it for every network failure", _WAIT, True),
    Code(-501002, "RESOURCE_TIMEOUT", "resource server timeout", "the cloud environment did not answer in time", _WAIT,
         True, status=504),
    Code(-501003, "REQUEST_LIMIT", "exceed request limit", "the environment's quota of requests is used up",
         "raise the environment's plan, or wait for the next period"),
    Code(-501004, "CONCURRENCY_LIMIT", "exceed concurrent request limit", "too many requests at the same time",
         "call less often at the same time, then repeat the call", True),
    Code(-501005, "INVALID_ENV", "invalid env", "the cloud environment does not exist or is not yours",
         "check the env that is given to cloud.init"),
    Code(-501006, "INVALID_COMMON_PARAMETERS", "invalid common parameters", "the request's common fields are wrong",
         "check env and credentials, and the clock of this machine"),
    Code(-501007, "INVALID_PARAMETERS", "invalid parameters", "the cloud environment refused the parameters",
         "compare the call's parameters with the API's documentation"),
    Code(-501008, "INVALID_REQUEST_SOURCE", "invalid request source", "the request came from a place that may not call",
         "call from a cloud function or from the mini program that owns the environment"),
    Code(-501009, "RESOURCE_NOT_INITIALIZED", "resource not initialized", "the environment is still being set up",
         "finish setting up the cloud environment in its console"),
    Code(-502001, "DATABASE_FAILED", "database request fail", "a database request failed", _NOT_THIS_API),
    Code(-502002, "DATABASE_INVALID_COMMAND", "database invalid command", "a database command is wrong", _NOT_THIS_API),
    Code(-502003, "DATABASE_PERMISSION_DENIED", "database permission denied", "the database refused access",
         _NOT_THIS_API),
    Code(-502004, "DATABASE_COLLECTION_LIMIT", "database exceed collection limit", "too many collections",
         _NOT_THIS_API),
    Code(-502005, "DATABASE_NO_COLLECTION", "database collection not exists", "the collection does not exist",
         _NOT_THIS_API),
    Code(-503001, "STORAGE_FAILED", "storage request fail", "a cloud storage request failed",
         "check the fileID, then repeat the request"),
    Code(-503002, "STORAGE_PERMISSION_DENIED", "storage permission denied", "cloud storage refused access",
         "check the storage's access rule, or read the file inside the function"),
    Code(-503003, "STORAGE_NO_FILE", "storage file not exists", "the file is not in cloud storage",
         "check the fileID"),
    Code(-503004, "STORAGE_INVALID_SIGN", "storage invalid sign parameter", "the storage request's signature is wrong",
         "fetch a new temporary URL"),
    Code(-504001, "FUNCTION_REQUEST_FAILED", "functions request fail", "the cloud function could not be started",
         "check that it is deployed, and its memory and time limits", True),
    Code(-504002, "FUNCTION_FAILED", "functions execute fail", "the cloud function raised an exception",
         "look at the function's log; catch CloudError and return err.to_dict()", status=500),
    Code(-504003, "FUNCTION_TIMEOUT", "", "the cloud function ran longer than its time limit (3 seconds by default)",
         "raise the function's time limit, and set CLOUDFN_TIMEOUT below it", True, status=504),
    # WeChat's gateway.
    Code(-601001, "WECHAT_SYSTEM_ERROR", "system error", "the answer is not WeChat's JSON",
         "look at the HTTP status and the text in errMsg: a proxy or a wrong CLOUDFN_API_BASE is the usual cause; "
         "otherwise " + _WAIT, True),
    Code(-601002, "SYSTEM_ARGS_ERROR", "system args error", "the set-up is wrong: a setting, or an extra is missing",
         "the errMsg names the setting or the package, and what to do", status=500),
    Code(-601003, "NETWORK_ERROR", "system network error", "no connection: DNS, refused, reset or TLS",
         "check the network, the proxy and CLOUDFN_API_BASE, then repeat the call", True),
    Code(-601004, "API_PERMISSION_DENIED", "api permission denied", "this account may not use the API",
         "check in the WeChat console that the API is granted to this account", status=403),
    Code(-601005, "INVALID_CLOUD_ID", "invalid cloudID", "the cloudID is wrong", _NOT_THIS_API),
    Code(-601006, "CLOUD_ID_EXPIRED", "cloudID expired", "the cloudID is too old", _NOT_THIS_API),
    Code(-601007, "CLOUD_ID_OF_OTHER_USER", "cloudID and calling user does not match",
         "the cloudID belongs to another user", _NOT_THIS_API),
    Code(-601008, "SERVER_TIMEOUT", "server-side request timedout", "WeChat's server did not answer in time", _WAIT,
         True, status=504),
    Code(-601009, "NO_MOBILE_PHONE", "missing mobile phone", "the user has no phone number on record", _NOT_THIS_API),
    Code(-601010, "NO_WRITE_PERMISSION", "no write permission", "the environment is read only for this caller",
         "grant the caller write access to the shared environment"),
    Code(-601011, "NO_PRIVILEGE", "no privilege permission", "the caller lacks a privilege",
         "grant the caller the privilege in the shared environment"),
    Code(-601012, "UNAUTHORIZED_ENV", "unauthorized env", "the environment is not shared with this account",
         "share the environment with this account in its console"),
    Code(-601013, "NO_MULTIEND_PERMISSION", "no multiend permission",
         "the environment is not open to this kind of client", "open the environment to it in its console"),
    Code(-601015, "AUTH_EMPTY_CODE", "access denied (cloudfunction cloudbase_auth returns empty errCode)",
         "the shared environment's cloudbase_auth function returned no errCode",
         "let cloudbase_auth return errCode 0 for callers that are allowed"),
    Code(-601016, "NO_ENV_AUTH", "missing env auth info", "the shared environment's authorisation is missing",
         "give resourceAppid and resourceEnv when the instance is made"),
    Code(-601017, "AUTH_REFUSED", "access denied (cloudbase_auth returns non-zero errCode)",
         "the shared environment's cloudbase_auth function refused the caller",
         "let cloudbase_auth return errCode 0 for callers that are allowed"),
    Code(-602001, "QUERY_RESULT_TOO_LARGE", "database query result size exceed limit (1MB)",
         "a database query gave more than 1 MB", _NOT_THIS_API),
    Code(-602018, "UNAUTHORIZED_API", "unauthorized API", "this account may not use the API",
         "check in the WeChat console that the API is granted to this account", status=403),
    Code(-604001, "RESULT_TOO_LARGE", "cloudfunction result size exceed limit (1MB)",
         "the cloud function returned more than 1 MB", "return coordinates or a file's address, not the picture",
         status=413),
    Code(-604100, "API_NOT_FOUND", "API not found", "there is no cloud call of this name",
         "check the spelling, upper and lower case included: cloud.openapi.img.aiCrop", status=404),
    Code(-604101, "NO_PERMISSION", "function has no permission to call this API",
         "config.json does not grant the API to this function",
         'put {"permissions": {"openapi": ["img.aiCrop"]}} into config.json beside the function, deploy it again; '
         "WeChat keeps the old permission for up to 10 minutes", status=403),
    Code(-604102, "OPEN_API_TIMEOUT", "call open API timeout", "no answer within the time limit",
         "repeat the call; raise CLOUDFN_TIMEOUT, and the function's own time limit above it", True, status=504),
    Code(-604103, "OPEN_API_SYSTEM_ERROR", "call open API system error", "WeChat's gateway failed", _WAIT, True),
    Code(-604104, "ILLEGAL_SOURCE", "illegal source of invocation",
         "the function was not started by a mini program or a timer, so the cloud call is not authenticated",
         "start the function from the mini program, or call WeChat with an access token of your own", status=403),
    # WeChat's tokens and accounts.
    Code(40001, "INVALID_CREDENTIAL", "",
         "the access token is wrong or was replaced by a newer one, or the app secret is wrong",
         "fetch a new token with stable_token, and let only one system use /cgi-bin/token for an appid"),
    Code(40002, "INVALID_GRANT_TYPE", "", "grant_type is not client_credential", "send grant_type=client_credential"),
    Code(40003, "INVALID_OPENID", "", "the openid is wrong", _NOT_THIS_API),
    Code(40004, "INVALID_MEDIA_TYPE", "", "the kind of media is wrong", "send a JPEG or PNG with its own content type",
         status=400),
    Code(40005, "INVALID_FILE_TYPE", "", "the kind of file is wrong", "send a JPEG or PNG with its own content type",
         status=400),
    Code(40006, "INVALID_MEDIA_SIZE", "", "the file is too large", "send a smaller picture", status=413),
    Code(40007, "INVALID_MEDIA_ID", "", "the media_id is wrong", _NOT_THIS_API),
    Code(40008, "INVALID_MESSAGE_TYPE", "", "the kind of message is wrong", _NOT_THIS_API),
    Code(40009, "INVALID_IMAGE_SIZE", "", "the picture is too large", "send a smaller picture", status=413),
    Code(40013, "INVALID_APPID", "", "the appid is wrong", "check WX_APPID: it begins with wx and is case-sensitive"),
    Code(40014, "INVALID_ACCESS_TOKEN", "", "the access token is malformed",
         "check WX_ACCESS_TOKEN: the whole token, nothing before or after it"),
    Code(40113, "UNSUPPORTED_FILE_TYPE", "", "the file name's extension is not one of a picture",
         "name the file .jpg, .png, .gif or .bmp", status=400),
    Code(40125, "INVALID_APPSECRET", "", "the app secret is wrong",
         "check WX_APPSECRET; after a reset in the WeChat console the old secret is void"),
    Code(40164, "IP_NOT_WHITELISTED", "", "this server's address is not on the account's IP whitelist",
         "add the address that errMsg names to the IP whitelist in the WeChat console; it takes 5 to 10 minutes"),
    Code(40243, "APPSECRET_FROZEN", "", "the app secret is frozen", "unfreeze it in the WeChat console"),
    Code(41001, "ACCESS_TOKEN_MISSING", "", "no access token was sent, because no credentials are set",
         "set WX_APPID and WX_APPSECRET, or WX_ACCESS_TOKEN; CLOUDFN_BACKEND=local needs none of them", status=500),
    Code(41002, "APPID_MISSING", "", "the appid is missing", "set WX_APPID"),
    Code(41004, "APPSECRET_MISSING", "", "the app secret is missing", "set WX_APPSECRET"),
    Code(41005, "MEDIA_DATA_MISSING", "", "WeChat saw neither a picture nor its URL",
         "send the picture as multipart field `img` with a file name, or img_url in the query; in a function pass "
         "bytes or base64, not the object that an ArrayBuffer turns into", status=400),
    Code(42001, "ACCESS_TOKEN_EXPIRED", "", "the access token is too old", "fetch a new token"),
    Code(43002, "POST_REQUIRED", "", "the API wants POST", "send POST"),
    Code(43003, "HTTPS_REQUIRED", "", "the API wants HTTPS", "use https:// in CLOUDFN_API_BASE"),
    Code(44001, "EMPTY_MEDIA", "", "the picture has no bytes", "check where the picture is read from", status=400),
    Code(45001, "MEDIA_TOO_LARGE", "", "the file is over the size limit", "send a smaller picture", status=413),
    Code(45002, "CONTENT_TOO_LONG", "", "the content is over the size limit", "send a smaller picture", status=413),
    Code(45009, "DAILY_QUOTA", "", "the account's calls of this API are used up for today",
         "wait until tomorrow, ask /cgi-bin/openapi/quota/get for the real limit, or use CLOUDFN_BACKEND=local",
         status=429),
    Code(45011, "MINUTE_QUOTA", "", "too many calls within this minute", "repeat the call in the next minute", True,
         status=429),
    Code(47001, "DATA_FORMAT_ERROR", "", "the request's data cannot be read", "check the request's format", status=400),
    Code(48001, "API_UNAUTHORIZED", "", "the account may not use this API",
         "check in the WeChat console that the API is granted; service accounts must be verified", status=403),
    Code(50002, "USER_LIMITED", "", "the account is restricted", "look at the notices in the WeChat console",
         status=403),
    Code(61004, "CLIENT_IP_NOT_REGISTERED", "", "the third-party platform does not know this server's address",
         "add the address to the third-party platform's IP list"),
    Code(61007, "COMPONENT_UNAUTHORIZED", "", "the account did not grant the API to the third-party platform",
         "let the account grant permission set 117 to the platform", status=403),
    Code(85089, "NO_CLOUD_CALL_CONFIG", "", "the function has no cloud-call configuration",
         "deploy config.json together with the function", status=403),
    Code(85107, "PATH_NOT_WHITELISTED", "", "CloudRun's open-interface service does not allow this path",
         "add /cv/img/aicrop to the paths in the CloudRun console", status=403),
    Code(89503, "TOKEN_NEEDS_CONFIRMATION", "", "fetching the token from this address must be confirmed", _TICKET),
    # The picture.
    Code(101000, "INVALID_IMAGE_URL", "", "the picture's URL cannot be fetched",
         "use a public https URL on the standard port that needs no login and is percent-encoded once, or send the "
         "picture's bytes as img", status=400),
    Code(101001, "CERTIFICATE_NOT_FOUND", "", "the picture shows no card or licence (OCR only)",
         "send a sharp picture of the whole card", status=400),
    Code(101002, "INVALID_IMAGE_DATA", "", "the bytes are not a picture that can be read, or it is too large",
         "send a whole JPEG or PNG of less than 2 MB", status=400),
    Code(101003, "MARKET_QUOTA", "", "the paid package of this API is used up",
         "buy more calls in WeChat's service market", status=429),
)  # fmt: skip

CODES: Mapping[int, Code] = {row.code: row for row in _ROWS}
