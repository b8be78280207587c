"""`cloudfn package`: a bundle that a platform takes as it is."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from cloudfn.cli.bundle import ARCHITECTURES, EXTRAS, Made, Plan, build, listing
from cloudfn.cli.report import wrong_use
from cloudfn.hosts import HOSTS

_PACKED = [host.name for host in HOSTS.values() if host.entry]


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("package", help="make a bundle that a platform takes as it is")
    parser.add_argument("--platform", required=True, choices=_PACKED, help="where the function will run")
    parser.add_argument("--backend", choices=list(EXTRAS), default="wechat", help="who answers; default: wechat")
    parser.add_argument("--function", metavar="FILE:NAME", help="your own function; default: the ready-made handler")
    parser.add_argument("--python", metavar="3.N", default="", help="the runtime's Python; default: the platform's")
    parser.add_argument("--arch", choices=list(ARCHITECTURES), default="x86_64", help="the runtime's processor")
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="PATTERN", help="a file of the function's folder to leave out"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.zip", help="the bundle")
    parser.add_argument("--list", action="store_true", help="make nothing, show what would go in")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the bundle, and print its size and the values to enter at the platform."""
    if arguments.python and not re.fullmatch(r"3\.1[0-9]", arguments.python):
        wrong_use("package", f"--python {arguments.python}: expected a version from 3.10 on, such as 3.12")
    if not arguments.list and (arguments.out is None or arguments.out.suffix.lower() != ".zip"):
        wrong_use("package", f"--out {arguments.out or ''}: expected the name of a zip file, such as function.zip")
    if not arguments.list and not arguments.out.absolute().parent.is_dir():
        wrong_use(
            "package", f"--out {arguments.out}: there is no folder {arguments.out.parent}: make it, or name another"
        )
    plan = Plan(
        host=HOSTS[arguments.platform],
        backend=arguments.backend,
        function=_function(arguments),
        python=arguments.python,
        arch=arguments.arch,
        exclude=tuple(arguments.exclude),
    )
    if arguments.list:
        print(*listing(plan, arguments.out or Path("function.zip")), sep="\n")
        return 0
    _tell(plan, build(plan, arguments.out), arguments.out)
    return 0


def _function(arguments: argparse.Namespace) -> tuple[Path, str] | None:
    if arguments.function is None:
        return None
    file, _, name = arguments.function.rpartition(":")
    if not file.endswith(".py") or not Path(file).is_file() or not name.isidentifier():
        wrong_use("package", f"--function {arguments.function}: expected FILE.py:NAME with a file that exists")
    return Path(file), name


def _tell(plan: Plan, made: Made, out: Path) -> None:
    host = plan.host
    print(f"{out}  for {host.title}, Python {plan.version}, {plan.arch}, backend {plan.backend}")
    for what, size, limit in (
        ("zipped", made.zipped, host.zip_bytes),
        ("unzipped", made.unzipped, host.unzipped_bytes),
    ):
        print(f"  {what:<9} {size:>12,} bytes" + (f" of {limit:,}" if limit else ""))
    print(f"  {'files':<9} {len(made.names):>12,}")
    print(f"  {'packages':<9} {', '.join(made.packages)}")
    compiled = f"for CPython {plan.version}" if made.compiled else f"no: python{plan.version} is not on this machine"
    print(f"  {'compiled':<9} {compiled}")
    if not host.container:
        print(f"  {'handler':<9} {Path(host.entry).stem}.{host.handler}")
    if plan.backend == "wechat":
        credentials = (
            "switch on the cloud call token there" if host.name == "cloudrun" else "set WX_APPID and WX_APPSECRET there"
        )
        print(f"To call WeChat, {credentials}.", file=sys.stderr)
