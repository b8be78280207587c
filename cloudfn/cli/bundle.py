"""A function as a zip file that a platform takes as it is, or as the source of a container image.

At the top lie the platform's entry file, config.json, cloudfn's own files, copied from the package that runs now, and
what it depends on, fetched by pip for the platform's Python, libc and processor; the folder of a user's own function
is `function/`. Whatever the backend never imports stays out. Where this machine has the bundle's Python, compiled
code lies beside the source, so that a first start on a slow share of a processor has nothing to compile. The same
inputs give the same bytes: names are sorted, times and permissions fixed, and nothing goes in of this machine.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cloudfn import permissions, settings
from cloudfn.batch import store
from cloudfn.errors import setup_error
from cloudfn.hosts import Host
from cloudfn.secret import Secret

# The requirements of a bundle besides cloudfn: the distribution's own dependencies (a test compares), and one that pip
# leaves out when it runs on a newer Python than the bundle's, because it evaluates markers for its own.
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

# Files of cloudfn itself that only a developer's machine needs, and those that a backend never imports.
_NOT_DEPLOYED = ("cli", "server", "batch", "__main__.py", "testing.py")
_ENGINE = ("crop", "boxes.py", "backends/local.py", "backends/shrink.py")
_UNUSED: Mapping[str, tuple[str, ...]] = {"wechat": _ENGINE, "local": ()}
# Files that pip installs and a bundle does not need: scripts, and records of this very installation.
_PIP_NOISE = re.compile(r"(bin/.*|[^/]+\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json))")
# Files that nothing imports at run time: tests, types, sources of compiled modules. charset-normalizer has every
# compiled module in Python too, and only guesses the charset of an answer that names none.
_NEVER_IMPORTED = (
    *("tests", "benchmarks", "include", "*.pyi", "*.pxd", "*.pyx", "*.h", "*.c", "*.a", "*.lib"),
    "charset_normalizer/*.so",
)
# Files that tools leave behind in a function's folder; hidden files and earlier bundles stay out too.
_LEFT_OUT = ("__pycache__", "*.pyc", "*.zip", "*.tar", "*.tar.gz", "*.tgz", "*.whl", "node_modules", "venv")
# In lower case; names are compared without regard to it.
_SECRETS = (
    *(".env", ".env.*", "env.*", "*.env", ".netrc", ".npmrc", ".pypirc", "id_*", "*.tfstate", "*.tfstate.*"),
    *("*.pem", "*.key", "*.p12", "*.pfx", "*.ppk", "*.jks", "*.keystore", "*.kdbx", "kubeconfig", "credentials*"),
    *("*secret.*", "*secrets.*", "client_secret*", "client-secret*", "*access_token*", "service-account*.json"),
    "service_account*.json",
)
_NO_SECRETS = ("*.example", "*.sample", "*.py", "*.jpg", "*.jpeg", "*.png", "*.webp")
_SHORTEST_SECRET = 8

_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can hold
_MODE = 0o100644 << 16  # Lambda must be able to read what another user wrote


@dataclass(frozen=True)
class Plan:
    """The bundle to make: `function` is a file and the name in it, None for the ready-made handler."""

    host: Host
    backend: str = "wechat"
    function: tuple[Path, str] | None = None
    python: str = ""
    arch: str = "x86_64"
    exclude: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """Return the version of Python that the bundle is for."""
        return self.python or self.host.python


@dataclass(frozen=True)
class Made:
    """A finished bundle; sizes in bytes."""

    names: tuple[str, ...]
    packages: tuple[str, ...]
    zipped: int
    unzipped: int
    compiled: bool


def build(plan: Plan, out: Path) -> Made:
    """Write the bundle to `out`, whole or not at all.

    Raises `CloudError`: -604101 without a config.json that grants img.aiCrop, -601002 for a secret among the
    function's files, for what pip cannot fetch, for a bundle over the platform's limits, and for an `out` that cannot
    be written.
    """
    files = _own_files(plan, out.absolute())
    with tempfile.TemporaryDirectory(prefix="cloudfn-") as folder:
        target = Path(folder) / "vendored"
        _fetch(plan, target)
        vendored = dict(_vendored(target))
        for name in vendored.keys() & files.keys():
            raise setup_error(f"{name} is in the way of a package's file", "rename it")
        files |= vendored
        compiled = _compiled(files, plan.version, Path(folder) / "compiled")
        files |= compiled
        part = Path(folder) / "function.zip"
        unzipped = _write(part, files)
        made = Made(tuple(sorted(files)), tuple(_versions(vendored)), part.stat().st_size, unzipped, bool(compiled))
        _check_size(plan.host, made)
        try:
            store.write(str(out), part.read_bytes())
        except OSError as error:
            problem = f"{out}: cannot be written ({store.why(error)})"
            raise setup_error(problem, "name a file in a folder that can be written to") from None
    return made


def listing(plan: Plan, out: Path) -> list[str]:
    """Return the names of all files that go in; of packages the requirements, which come last. Raises as `build`."""
    return [*sorted(_own_files(plan, out.absolute())), *(f"pip: {requirement}" for requirement in _requirements(plan))]


def _own_files(plan: Plan, out: Path) -> dict[str, Path | bytes]:
    """Return everything that pip does not fetch: name in the bundle -> a file or its content."""
    files: dict[str, Path | bytes] = {plan.host.entry: _entry(plan).encode()}
    if plan.host.container:
        files["Dockerfile"] = _DOCKERFILE.format(python=plan.version).encode()
    if plan.function:
        settings.use_code_folder(plan.function[0].absolute().parent)
        files |= {f"function/{name}": path for name, path in _function_files(plan, out)}
    files["config.json"] = permissions.check("img.aiCrop", settings.load().config)
    _check_contents(files)
    home = Path(__file__).parents[1]
    unused = (*_NOT_DEPLOYED, *_UNUSED[plan.backend], *(() if plan.host.container else ("container.py",)))
    for name, path in _walk(home):
        if not any(name == one or name.startswith(f"{one}/") for one in unused) and not _matches(name, _LEFT_OUT):
            files[f"cloudfn/{name}"] = path
    return files


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield every file and link below a folder with its relative name, written with slashes, in a fixed order."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() or path.is_symlink():
            yield path.relative_to(folder).as_posix(), path


def _function_files(plan: Plan, out: Path) -> Iterator[tuple[str, Path]]:
    """Yield the function's files without what tools leave behind; raises for a secret and for an outside link."""
    assert plan.function
    folder = plan.function[0].resolve().parent
    virtual = [config.parent for config in folder.glob("*/pyvenv.cfg")]
    for name, path in _walk(folder):
        if _matches(name, plan.exclude) or path == out or any(parent in virtual for parent in path.parents):
            continue
        hidden = any(step.startswith(".") for step in name.split("/")[:-1])
        plain = path.name.lower()
        if not hidden and _matches(plain, _SECRETS) and not _matches(plain, _NO_SECRETS):
            raise setup_error(
                f"{name} is in the function's folder, and no secret may be in a bundle",
                f"move it away, or leave it out with --exclude {name}; what it sets belongs into the function's "
                "environment variables",
            )
        if hidden or path.name.startswith(".") or _matches(name.lower(), _LEFT_OUT) or name == "config.json":
            continue
        if not path.is_file():
            raise setup_error(
                f"{name} is a link to a folder, or to nothing", "copy what it is to lead to, or --exclude it"
            )
        if _is_bundle(path):
            continue
        if not path.resolve().is_relative_to(folder):
            raise setup_error(
                f"{name} is a link that leads out of the function's folder", "copy the file, or --exclude it"
            )
        yield name, path


def _is_bundle(path: Path) -> bool:
    """Return whether a file is an earlier bundle, whatever its name."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return "cloudfn/handler.py" in archive.namelist()


def _matches(name: str, patterns: Iterable[str]) -> bool:
    """Return whether the name, or any part of it, matches one of the patterns."""
    return any(fnmatch.fnmatchcase(step, pattern) for pattern in patterns for step in (name, *name.split("/")))


def _check_contents(files: Mapping[str, Path | bytes]) -> None:
    """Raise CloudError where a file contains a secret that is set on this machine."""
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
    lines += ["from cloudfn import handler, settings, warm_up", "", "HERE = Path(__file__).resolve().parent"]
    if plan.function:
        file, name = plan.function
        lines += [f'{plan.host.handler} = handler.function(handler.load(HERE / "function" / {file.name!r}, {name!r}))']
    else:
        lines += [f"{plan.host.handler} = handler.main"]
    lines += ["settings.use_code_folder(HERE)"]
    lines += ["warm_up()  # while the platform initialises, and not in the first call's time"]
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
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"),
        *("--no-compile", "--no-warn-conflicts", "--target", str(target), "--only-binary", ":all:"),
        *("--implementation", "cp", "--python-version", plan.version),
        *(option for name in (abi, "abi3", "none") for option in ("--abi", name)),
        *(option for tag in tags for option in ("--platform", tag)),
        *_requirements(plan),
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


def _requirements(plan: Plan) -> tuple[str, ...]:
    return (*CORE, *EXTRAS[plan.backend], *(_SERVER if plan.host.container else ()))


def _compiled(files: Mapping[str, Path | bytes], version: str, stage: Path) -> dict[str, Path | bytes]:
    """Return compiled code for every Python file, {} where this machine lacks the bundle's Python.

    Its hash of the source is not checked when it is loaded: nothing changes in a deployed folder. The code holds names
    in the bundle, never those of this machine.
    """
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    python = sys.executable if version == own else shutil.which(f"python{version}")
    if not python:
        return {}
    for name in sorted(name for name in files if name.endswith(".py")):
        source = files[name]
        path = stage / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source if isinstance(source, bytes) else source.read_bytes())
    # The same seed and the same order each time: both can show in compiled code.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(  # noqa: S603 - the program is this file's, the folder one that was just made
        [python, "-S", "-c", _COMPILE], cwd=stage, env=environment, capture_output=True, check=False
    )
    return {} if done.returncode else {name: path for name, path in _walk(stage) if name.endswith(".pyc")}


_COMPILE = """
import pathlib, py_compile
for path in sorted(pathlib.Path().rglob("*.py")):
    py_compile.compile(
        str(path), dfile=path.as_posix(), quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
"""


def _vendored(target: Path) -> Iterator[tuple[str, Path]]:
    for name, path in _walk(target):
        if not _PIP_NOISE.fullmatch(name) and not _matches(name, ("__pycache__", "*.pyc", *_NEVER_IMPORTED)):
            yield name, path


def _versions(names: Iterable[str]) -> Iterator[str]:
    for name in sorted(names):
        match = re.fullmatch(r"([^/]+)-([^/-]+)\.dist-info/METADATA", name)
        if match:
            yield f"{match[1].replace('_', '-')} {match[2]}"


def _write(path: Path, files: Mapping[str, Path | bytes]) -> int:
    """Write the zip file; return its size in bytes when unpacked."""
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
