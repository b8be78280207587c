"""`cloudfn serve`: WeChat's endpoints on this machine."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from cloudfn import settings
from cloudfn.cli.pictures import number
from cloudfn.cli.report import wrong_use
from cloudfn.errors import setup_error
from cloudfn.server import faults
from cloudfn.server.loopback import is_local
from cloudfn.server.options import MAX_BYTES, Options


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("serve", help="serve WeChat's endpoints, and the real wx-server-sdk, on this machine")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    parser.add_argument("--port", type=number(0, 65535), default=8000, help="default: 8000; 0 takes a free one")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument(
        "--workers", type=number(1, 1024), help="processes; default: one a core, a single one with --open"
    )
    parser.add_argument("--config", metavar="FILE", help="the config.json that says what the real SDK may call")
    parser.add_argument("--max-bytes", type=number(1, 1 << 30), default=MAX_BYTES, help=f"default: {MAX_BYTES}")
    parser.add_argument("--queue", type=number(1, 1 << 20), default=128, help="calls that a worker keeps; default: 128")
    parser.add_argument(
        "--body-seconds",
        type=number(1, 3600),
        default=30,
        help="time for a body, and to take some of an answer; default: 30",
    )
    parser.add_argument("--strict", action="store_true", help="take only tokens issued here for WX_APPID, WX_APPSECRET")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        type=_parsed(faults.parse),
        metavar="ENDPOINT:CODE[@PROBABILITY][+LATENCY]",
        help="fail on purpose, such as img.aiCrop:45009@0.1; may be repeated",
    )
    parser.add_argument(
        "--latency", type=_parsed(faults.duration), default=0.0, help="wait before answers, as in 200ms"
    )
    parser.add_argument("--seed", type=number(0, 1 << 62), help="makes faults the same ones each time")
    parser.add_argument("--quota", type=number(0, 1 << 62), help="crops a day, then 45009; default: any number")
    parser.add_argument(
        "--per-address", type=number(1, 1 << 20), default=256, help="connections of one address a worker; default: 256"
    )
    parser.add_argument(
        "--admin",
        action=argparse.BooleanOptionalAction,
        help="answer /_cloudfn/ to this machine; default: where --host is loopback",
    )
    parser.add_argument("--admin-token", metavar="TOKEN", help="what changes by /_cloudfn/ need; default: a random one")
    parser.add_argument("--storage", metavar="DIR", help="the folder of the cloud storage; default: there is none")
    parser.add_argument("--log-json", action="store_true", help="the log as one JSON object a line")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM. The address, and the line for the real SDK, go to stdout; the log to stderr."""
    from cloudfn.server.run import check_extra, serve

    check_extra()
    current = settings.load({"backend": "local"})
    if arguments.strict and not (current.appid and current.appsecret):
        cure = "set WX_APPID and WX_APPSECRET, any words will do for a test"
        raise setup_error("--strict needs the appid and secret that tokens are issued for", cure)
    if arguments.config and not Path(arguments.config).is_file():
        wrong_use("serve", f"--config {arguments.config}: expected a file that exists")
    if arguments.admin_token is not None and not _is_token(arguments.admin_token):
        wrong_use("serve", "--admin-token: expected letters, digits and signs of ASCII, without spaces")
    admin = arguments.admin
    if admin is None:
        admin = bool(arguments.admin_token) or is_local(arguments.host)
    if arguments.storage:
        _make_folder(arguments)
    options = Options(
        settings=current,
        strict=arguments.strict,
        config=arguments.config or "",
        storage=arguments.storage or "",
        max_bytes=arguments.max_bytes,
        faults=tuple(arguments.fault),
        latency=arguments.latency,
        seed=arguments.seed,
        quota=arguments.quota,
        # Each worker knows only its own requests, tokens and faults, which the page shows.
        workers=arguments.workers or (1 if arguments.open else os.cpu_count() or 1),
        queue=arguments.queue,
        body_seconds=arguments.body_seconds,
        per_address=arguments.per_address,
        admin_token=(arguments.admin_token or secrets.token_urlsafe(16)) if admin else "",
        log_json=arguments.log_json,
    )
    if options.needs_one_worker and options.workers > 1:
        flags = ", ".join(options.needs_one_worker)
        wrong_use("serve", f"{flags}: workers share no state, so one worker must hold it; add --workers 1")
    if not options.config:
        print(
            "cloudfn: the real SDK may call every known API; --config FILE holds it to a config.json", file=sys.stderr
        )
    serve(options, arguments.host, arguments.port, partial(_announce, arguments.open, options.admin_token))
    return 0


def _is_token(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def _make_folder(arguments: argparse.Namespace) -> None:
    try:
        Path(arguments.storage).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        wrong_use("serve", f"--storage {arguments.storage}: {error.strerror}")


def _announce(browse: bool, admin_token: str, address: str) -> None:
    print(address)
    print(f"TCB_CONTEXT_CNFG='{json.dumps({'URL': f'{address}/admin'}, separators=(',', ':'))}'")
    if admin_token:
        print(f"CLOUDFN_ADMIN_TOKEN='{admin_token}'")
    sys.stdout.flush()
    if browse:
        import webbrowser

        # 0.0.0.0 and :: are no addresses to go to.
        page = address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:") + "/"
        # The fragment is never sent; the page removes it from the address at once.
        if not webbrowser.open(f"{page}#admin={admin_token}" if admin_token else page):
            print(f"cloudfn: no browser was found: open {page} in one", file=sys.stderr)


def _parsed(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    def parsed(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None

    return parsed
