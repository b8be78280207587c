"""Writes the tables in README.md that are made from the code: `python -m tests.support.readme`."""

from __future__ import annotations

from pathlib import Path

from cloudfn.codes import CODES
from cloudfn.platforms import HOSTS
from cloudfn.settings import table

README = Path(__file__).parents[2] / "README.md"


def codes() -> str:
    """The code table."""
    rows = [
        f"| {row.code} | {row.name} | {row.text} | {row.meaning} | {row.cure} | {'yes' if row.retryable else ''} |"
        for row in CODES.values()
    ]
    return "\n".join(
        ["| code | name | the SDK's text | meaning | cure | repeat? |", "|---|---|---|---|---|---|", *rows]
    )


def settings() -> str:
    """The table of settings."""
    rows = []
    for setting in table():
        default = setting.default if setting.default not in ("", ()) else ""
        shown = f"{default:g}" if isinstance(default, float) else str(default)
        rows.append(f"| `{setting.metadata['name']}` | `{setting.name}` | {setting.metadata['meaning']} | {shown} |")
    return "\n".join(["| variable | keyword | meaning | default |", "|---|---|---|---|", *rows])


def platforms() -> str:
    """The table of platforms: what is entered there, and the limits that `invoke` and `package` hold."""

    def mebibytes(*sizes: int | None) -> str:
        return " / ".join("?" if size is None else f"{size / 1024 / 1024:g} MiB" for size in sizes)

    rows = [
        f"| {host.title} | `{host.name}` | `{Path(host.entry).stem}.{host.handler}` | {host.python} | "
        f"{mebibytes(host.request_bytes, host.response_bytes)} | {host.seconds:g} s / {host.max_seconds:g} s | "
        f"{mebibytes(host.zip_bytes, host.unzipped_bytes)} |"
        for host in HOSTS.values()
    ]
    head = "| platform | `--platform` | handler | Python | event / answer | time: default / most | zipped / unzipped |"
    return "\n".join([head, "|---|---|---|---|---|---|---|", *rows])


TABLES = {"codes": codes, "settings": settings, "platforms": platforms}


def render(text: str) -> str:
    """`text` with every table between its two markers made anew."""
    for name, made in TABLES.items():
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if not (start and end):
            raise ValueError(f"README.md has no place for the table {name}")
        text = f"{before}{start}{made()}\n{end}{after}"
    return text


if __name__ == "__main__":
    README.write_text(render(README.read_text(encoding="utf-8")), encoding="utf-8")
