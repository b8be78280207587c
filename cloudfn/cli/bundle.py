"""A function as a zip file that a platform takes as it is, or as the source of a container image.

At the top lie the platform's entry file, config.json, cloudfn's own files, copied from the package that runs now, and
what it depends on, fetched by pip for the platform's Python, libc and processor; the folder of a user's own function
is `function/`. The same inputs give the same bytes: names are sorted, times and permissions fixed, and nothing goes in
that tells of the machine.
"""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cloudfn import permissions, settings
from cloudfn.errors import setup_error
from cloudfn.hosts import Host
from cloudfn.secret import Secret

# What a bundle needs besides cloudfn: the distribution's own dependencies (a test compares), and one that pip leaves
# out when it runs on a newer Python than the bundle's, because it evaluates markers for its own.
CORE = (
    "certifi>=2024.7.4",
    "requests>=2.32.3",
    "urllib3>=2.6",
    "python-dotenv>=1.0",
    "jsonschema>=4.20",
    "typing-extensions>=4.4",
)
EXTRAS: Mapping[str, tuple[str, ...]] = {"wechat": (), "local": ("numpy>=1.24", "Pillow>=11")}
_SERVER = ("waitress>=3.0",)  # for CloudRun, which runs a container: pure Python, no dependencies

ARCHITECTURES: Mapping[str, str] = {"x86_64": "x86_64", "arm64": "aarch64"}
_OLDEST_GLIBC = {"x86_64": 5, "aarch64": 17}
_ALIASES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}

# Of cloudfn itself: what only a developer's machine needs.
_NOT_DEPLOYED = ("cli", "server", "batch", "__main__.py", "testing.py")
# Of what pip installs: scripts, and records of this very installation.
_PIP_NOISE = re.compile(r"(bin/.*|[^/]+\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json))")
# Of a function's folder: what tools leave behind, earlier bundles among it; and every name that begins with a dot.
_LEFT_OUT = ("__pycache__", "*.pyc", "*.zip", "node_modules", "venv")
_SECRETS = (
    *(".env", ".env.*", "*.env", ".netrc", ".npmrc", ".pypirc", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*"),
    *("*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "credentials", "credentials.*", "secrets.*"),
    "cloudbase_access_token",
)
_NO_SECRETS = (".env.example", ".env.sample", "*.py")
_SHORTEST_SECRET = 8

_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can hold
_MODE = 0o100644 << 16  # Lambda must be able to read what another user wrote


@dataclass(frozen=True)
class Plan:
    """What to make: `function` is a file and the name in it, None for the ready-made handler."""

    host: Host
    backend: str = "wechat"
    function: tuple[Path, str] | None = None
    python: str = ""
    arch: str = "x86_64"
    exclude: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """The Python that the bundle is for."""
        return self.python or self.host.python


@dataclass(frozen=True)
class Made:
    """What was made; sizes in bytes."""

    names: tuple[str, ...]
    packages: tuple[str, ...]
    zipped: int
    unzipped: int


def build(plan: Plan, out: Path) -> Made:
    """Write the bundle to `out`; nothing is left there when it fails.

    Raises `CloudError`: -604101 without a config.json that grants img.aiCrop, -601002 for a secret among the
    function's files, for what pip cannot fetch, and for a bundle over the platform's limits.
    """
    out = out.absolute()
    files = _own(plan, out)
    with tempfile.TemporaryDirectory(prefix="cloudfn-") as folder:
        target = Path(folder) / "vendored"
        _fetch(plan, target)
        vendored = dict(_vendored(target))
        for name in vendored.keys() & files.keys():
            raise setup_error(f"{name} is in the way of a package's file", "rename it")
        files |= vendored
        part = Path(folder) / "function.zip"
        unzipped = _write(part, files)
        made = Made(tuple(sorted(files)), tuple(_versions(vendored)), part.stat().st_size, unzipped)
        _check_size(plan.host, made)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(part.read_bytes())
    return made


def _own(plan: Plan, out: Path) -> dict[str, Path | bytes]:
    """Everything that pip does not fetch: name in the bundle -> a file or its content."""
    files: dict[str, Path | bytes] = {plan.host.entry: _entry(plan).encode()}
    if plan.host.container:
        files["Dockerfile"] = _DOCKERFILE.format(python=plan.version).encode()
    if plan.function:
        settings.use_code_folder(plan.function[0].absolute().parent)
        files |= {f"function/{name}": path for name, path in _of_the_function(plan, out)}
    files["config.json"] = permissions.check("img.aiCrop", settings.load().config)
    _check_contents(files)
    home = Path(__file__).parents[1]
    for name, path in _walk(home):
        if name.partition("/")[0] not in _NOT_DEPLOYED and not _matches(name, _LEFT_OUT):
            files[f"cloudfn/{name}"] = path
    return files


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file below a folder, by its name in it with slashes, in a fixed order."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path


def _of_the_function(plan: Plan, out: Path) -> Iterator[tuple[str, Path]]:
    """The function's folder, without what tools leave behind; raises for a secret, and for a link that leads out."""
    assert plan.function
    folder = plan.function[0].resolve().parent
    virtual = [config.parent for config in folder.glob("*/pyvenv.cfg")]
    for name, path in _walk(folder):
        if _matches(name, plan.exclude) or path == out or any(parent in virtual for parent in path.parents):
            continue
        hidden = any(step.startswith(".") for step in name.split("/")[:-1])
        if not hidden and _matches(path.name, _SECRETS) and not _matches(path.name, _NO_SECRETS):
            raise setup_error(
                f"{name} is in the function's folder, and no secret may be in a bundle",
                f"move it away, or leave it out with --exclude {name}; what it sets belongs into the function's "
                "environment variables",
            )
        if hidden or path.name.startswith(".") or _matches(name, _LEFT_OUT) or name == "config.json":
            continue
        if not path.resolve().is_relative_to(folder):
            raise setup_error(
                f"{name} is a link that leads out of the function's folder", "copy the file, or --exclude it"
            )
        yield name, path


def _matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether the name, or any step of it, is one of the patterns."""
    return any(fnmatch.fnmatchcase(step, pattern) for pattern in patterns for step in (name, *name.split("/")))


def _check_contents(files: Mapping[str, Path | bytes]) -> None:
    """No secret that is set on this machine stands in a file."""
    for setting, value, _source in settings.surroundings():
        if isinstance(value, Secret) and len(value) >= _SHORTEST_SECRET:
            for name, content in files.items():
                if value.reveal().encode() in (content if isinstance(content, bytes) else content.read_bytes()):
                    raise setup_error(
                        f"{name} holds the value of {setting.metadata['name']}",
                        "take it out; set it in the function's environment variables",
                    )


def _entry(plan: Plan) -> str:
    lines = [f'"""What {plan.host.title} calls. Made by `cloudfn package`."""', ""]
    lines += ["import os", ""] if plan.backend == "local" or plan.host.container else []
    lines += ["from pathlib import Path", ""]
    if plan.backend == "local":
        lines += ['os.environ.setdefault("CLOUDFN_BACKEND", "local")', ""]
    lines += ["from cloudfn import handler, settings", "", "HERE = Path(__file__).resolve().parent"]
    if plan.function:
        file, name = plan.function
        lines += [f'{plan.host.handler} = handler.function(handler.load(HERE / "function" / {file.name!r}, {name!r}))']
    else:
        lines += [f"{plan.host.handler} = handler.main"]
    lines += ["settings.use_code_folder(HERE)"]
    if plan.host.container:
        lines += ["", *_SERVE]
    return "\n".join(lines) + "\n"


_SERVE = (
    'if __name__ == "__main__":',
    "    from cloudfn import container",
    "",
    '    container.serve(app, port=int(os.environ.get("PORT", "80")))',
)

_DOCKERFILE = """\
FROM python:{python}-slim
WORKDIR /app
COPY . .
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# CloudRun sends requests to PORT, by default 80.
EXPOSE 80
CMD ["python", "index.py"]
"""


def _fetch(plan: Plan, target: Path) -> None:
    """Let pip unpack the wheels for the bundle's Python, libc and processor, whatever this machine is."""
    arch = ARCHITECTURES[plan.arch]
    tags = []
    for minor in range(plan.host.glibc, _OLDEST_GLIBC[arch] - 1, -1):
        tags += [f"manylinux_2_{minor}_{arch}"] + ([f"{_ALIASES[minor]}_{arch}"] if minor in _ALIASES else [])
    abi = f"cp{plan.version.replace('.', '')}"
    server = _SERVER if plan.host.container else ()
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"),
        *("--no-compile", "--no-warn-conflicts", "--target", str(target), "--only-binary", ":all:"),
        *("--implementation", "cp", "--python-version", plan.version),
        *(option for name in (abi, "abi3", "none") for option in ("--abi", name)),
        *(option for tag in tags for option in ("--platform", tag)),
        *(*CORE, *EXTRAS[plan.backend], *server),
    ]
    done = subprocess.run(  # noqa: S603 - the arguments are tables of this file and choices of the command line
        command, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        why = said[-1].removeprefix("ERROR: ")[:300] if said else f"exit code {done.returncode}"
        cure = "check the network and pip's own settings, or choose another --python or --arch"
        if "No module named pip" in done.stderr:
            cure = "run: python -m ensurepip"
        raise setup_error(f"pip cannot fetch the packages: {why}", cure)


def _vendored(target: Path) -> Iterator[tuple[str, Path]]:
    for name, path in _walk(target):
        if not _PIP_NOISE.fullmatch(name) and not _matches(name, ("__pycache__", "*.pyc")):
            yield name, path


def _versions(names: Iterable[str]) -> Iterator[str]:
    for name in sorted(names):
        match = re.fullmatch(r"([^/]+)-([^/-]+)\.dist-info/METADATA", name)
        if match:
            yield f"{match[1].replace('_', '-')} {match[2]}"


def _write(path: Path, files: Mapping[str, Path | bytes]) -> int:
    """Write the zip file; gives the bytes that it holds when unpacked."""
    total = 0
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(files):
            source = files[name]
            content = source if isinstance(source, bytes) else source.read_bytes()
            info = zipfile.ZipInfo(name, _TIME)
            info.external_attr = _MODE
            info.create_system = 3  # Unix, on Windows too: the permissions above are its own
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
            total += len(content)
    return total


def _check_size(host: Host, made: Made) -> None:
    for what, size, limit in (
        ("zipped", made.zipped, host.zip_bytes),
        ("unzipped", made.unzipped, host.unzipped_bytes),
    ):
        if limit is not None and size > limit:
            raise setup_error(
                f"the bundle has {size:,} bytes {what}, {host.title} takes {limit:,}",
                "leave out what the function does not need with --exclude, or choose --backend wechat",
            )
