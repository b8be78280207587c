"""The documentation: its pages, the tables in them that are made from the code, and the blocks of code in it.

`python -m tests.support.docs` writes the tables anew. A table stands between `<!-- name -->` and `<!-- /name -->`.

A block of code says in a comment in front of it what it is, so that a test can hold it to that:

    <!-- file: index.py -->     the content of a file in the page's folder
    <!-- run -->                commands for bash, or a Python program, run in that folder; exit code 0
    <!-- run: 3 -->             the same, with this exit code
    <!-- output -->             what the block that ran before wrote to stdout
    <!-- shown: reason -->      not run, and why
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from cloudfn import cli
from cloudfn.call.apis import APIS
from cloudfn.codes import CODES
from cloudfn.hosts import HOSTS, Host
from cloudfn.secret import Secret
from cloudfn.settings import table

ROOT = Path(__file__).parents[2]
_CHINESE = Path(__file__).with_name("chinese.json")
_FENCE = re.compile(
    r"(?m)^(?:<!-- (?P<role>file|run|output|shown)(?:: (?P<about>.*?))? -->\n)?"
    r"```(?P<language>\w*)\n(?P<code>(?:.*\n)*?)```$"
)


def pages() -> list[Path]:
    """Every page, in English and in Chinese."""
    return sorted([*ROOT.glob("README*.md"), *(ROOT / "docs").rglob("*.md")])


def is_chinese(page: Path) -> bool:
    """Whether a page is one of those in Chinese."""
    return "zh" in page.relative_to(ROOT).parts or page.name == "README.zh-CN.md"


def counterpart(page: Path) -> Path:
    """The same page in the other language."""
    if page.name.startswith("README"):
        return page.with_name("README.md" if is_chinese(page) else "README.zh-CN.md")
    there, here = ("en", "zh") if is_chinese(page) else ("zh", "en")
    return ROOT / "docs" / there / page.relative_to(ROOT / "docs" / here)


class Block(NamedTuple):
    """A block of code: its role (see above), what the comment says besides, its language and its content."""

    role: str
    about: str
    language: str
    code: str


def blocks(text: str) -> Iterator[Block]:
    """The blocks of code of a page, in order; `role` is "" where no comment tells it."""
    for match in _FENCE.finditer(text):
        yield Block(match["role"] or "", match["about"] or "", match["language"], match["code"])


def translations() -> dict[str, dict[str, str]]:
    """Translations of the texts in the code's tables: table -> English -> Chinese."""
    said: dict[str, dict[str, str]] = json.loads(_CHINESE.read_bytes())
    return said


def texts() -> dict[str, list[str]]:
    """The texts in the code's tables that a Chinese reader needs in Chinese: table -> texts, each once."""
    return {
        "codes": list(dict.fromkeys(text for row in CODES.values() for text in (row.meaning, row.cure) if text)),
        "settings": list(dict.fromkeys(setting.metadata["meaning"] for setting in table())),
        "platforms": [host.title for host in HOSTS.values()],
        "commands": [meaning for _, meaning in _subcommands()],
    }


def _codes(chinese: bool) -> str:
    said = translations()["codes"] if chinese else {}
    rows = [
        f"| {row.code} | {row.name} | {row.text} | {said.get(row.meaning, row.meaning)} | "
        f"{said.get(row.cure, row.cure)} | {('可' if chinese else 'yes') if row.retryable else ''} |"
        for row in CODES.values()
    ]
    head = (
        "| 错误码 | 名称 | SDK 原文 | 含义 | 处理办法 | 可重试 |"
        if chinese
        else ("| code | name | the SDK's text | meaning | cure | repeat? |")
    )
    return "\n".join([head, "|---|---|---|---|---|---|", *rows])


def _settings(chinese: bool) -> str:
    said = translations()["settings"] if chinese else {}
    rows = []
    for setting in table():
        default = setting.default or ""
        if isinstance(default, Secret):  # the value may be one, the default is none
            default = default.reveal()
        shown = f"{default:g}" if isinstance(default, float) else str(default)
        meaning = setting.metadata["meaning"]
        rows.append(f"| `{setting.metadata['name']}` | `{setting.name}` | {said.get(meaning, meaning)} | {shown} |")
    head = "| 环境变量 | 关键字参数 | 含义 | 默认值 |" if chinese else "| variable | keyword | meaning | default |"
    return "\n".join([head, "|---|---|---|---|", *rows])


def _calls(chinese: bool) -> str:
    rows = []
    for api in APIS.values():
        by = "微信" if chinese else "WeChat"
        if api.extra:
            command = f'`pip install "cloudfn-aicrop[{api.extra}]"`'
            by += f"；{command} 后内置引擎和服务器也可以" if chinese else f"; the engine and the server with {command}"
        names = ", ".join(f"`{name}`" for name in api.fields)
        rows.append(f"| `{api.name}` | `{api.path}` | {names} | {by} |")
    head = "| 调用 | 地址 | 参数 | 由谁回答 |" if chinese else "| call | address | parameters | answered by |"
    return "\n".join([head, "|---|---|---|---|", *rows])


def _size(size: int | None) -> str:
    """A limit in the largest binary unit that divides it."""
    if size is None:
        return "?"
    for unit, name in ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")):
        if size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size:,} B"


def _handler(host: Host) -> str:
    """What is entered at the platform; no bundle is made for one without an entry."""
    return f"`{Path(host.entry).stem}.{host.handler}`" if host.entry else ""


def _title(host: Host, chinese: bool) -> str:
    return translations()["platforms"].get(host.title, host.title) if chinese else host.title


def _platforms(chinese: bool) -> str:
    rows = [
        f"| [{_title(host, chinese)}](platforms/{host.name}.md) | `{host.name}` | {_handler(host)} | {host.python} | "
        f"{_size(host.request_bytes)} / {_size(host.response_bytes)} | {host.seconds:g} s / {host.max_seconds:g} s | "
        f"{_size(host.zip_bytes)} / {_size(host.unzipped_bytes)} |"
        for host in HOSTS.values()
    ]
    head = "| platform | `--platform` | handler | Python | event / answer | time: default / most | zipped / unzipped |"
    if chinese:
        head = "| 平台 | `--platform` | 执行入口 | Python | 事件 / 返回 | 超时：默认 / 最长 | 压缩 / 解压 |"
    return "\n".join([head, "|---|---|---|---|---|---|---|", *rows])


def _facts(host: Host) -> Callable[[bool], str]:
    """Return what makes the table of one platform."""
    marks = [f"`{name}`" if value is None else f"`{name}={value}`" for name, value in host.marks.items()]
    facts = {
        ("`--platform`", "`--platform`"): f"`{host.name}`",
        ("handler", "执行入口"): _handler(host),
        ("Python of the bundle", "部署包的 Python"): host.python,
        ("time limit: default / most", "超时时间：默认 / 最长"): f"{host.seconds:g} s / {host.max_seconds:g} s",
        ("event / answer", "事件 / 返回"): f"{_size(host.request_bytes)} / {_size(host.response_bytes)}",
        ("a body of text", "文本请求体"): _size(host.text_bytes) if host.text_bytes else "",
        ("bundle: zipped / unzipped", "部署包：压缩 / 解压"): f"{_size(host.zip_bytes)} / {_size(host.unzipped_bytes)}"
        if host.entry
        else "",
        ("recognised by", "识别依据"): ", ".join(marks),
        ("folder of the code", "代码目录"): ", ".join(f"`{name}`" for name in host.code_folders),
    }

    def made(chinese: bool) -> str:
        rows = [f"| {names[chinese]} | {fact} |" for names, fact in facts.items() if fact]
        return "\n".join([f"| | {_title(host, chinese)} |", "|---|---|", *rows])

    return made


def _subcommands() -> list[tuple[argparse.ArgumentParser, str]]:
    """The subcommands' parsers, each with what it does."""
    added = argparse.ArgumentParser(prog="cloudfn").add_subparsers()
    for module in cli._COMMANDS:
        module.add(added)
    return [(added.choices[action.dest], str(action.help)) for action in added._choices_actions]


def _argument(action: argparse.Action) -> str:
    """One argument as a usage line shows it."""
    value = action.metavar or (r"\|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    name = next((option for option in action.option_strings if option.startswith("--")), "")
    shown = f"{name} {value}".strip() if action.nargs != 0 else name
    return f"`{shown}`" if action.required else f"`[{shown}]`"


def _commands(chinese: bool) -> str:
    said = translations()["commands"] if chinese else {}
    rows = []
    for parser, meaning in _subcommands():
        arguments = [action for action in parser._actions if "--help" not in action.option_strings]
        arguments.sort(key=lambda action: bool(action.option_strings))
        shown = " ".join(_argument(action) for action in arguments)
        rows.append(f"| `{parser.prog}` | {shown} | {said.get(meaning, meaning)} |")
    head = "| 命令 | 参数 | 作用 |" if chinese else "| command | arguments | what it does |"
    return "\n".join([head, "|---|---|---|", *rows])


TABLES: dict[str, Callable[[bool], str]] = {
    "codes": _codes,
    "calls": _calls,
    "settings": _settings,
    "platforms": _platforms,
    "commands": _commands,
    **{f"platform {host.name}": _facts(host) for host in HOSTS.values()},
}


def render(text: str, *, chinese: bool = False) -> str:
    """`text` with every table between its two markers made anew."""
    for name, made in TABLES.items():
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if start and end:
            text = f"{before}{start}{made(chinese)}\n{end}{after}"
    return text


if __name__ == "__main__":
    for page in pages():
        page.write_text(render(page.read_text(encoding="utf-8"), chinese=is_chinese(page)), encoding="utf-8")
