"""Builds the wheel, installs it in an empty environment and uses it there as a newcomer would.

It fails if the wheel lacks a data file that the repository has (or has one too many), if tests went in, or
if one of the commands does not work without the repository beside it. Run by ``make wheel-check``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
DATA_FOLDERS = {
    # folder in the repository: (folder in the wheel, pattern of what goes in)
    "models": ("rnla_neuro/models", "**/*.toml"),
    "hardware_configs": ("rnla_neuro/hardware_configs", "**/*.toml"),
    "rnla_neuro/analysis/report/templates": ("rnla_neuro/analysis/report/templates", "**/*"),
    "rnla_neuro/hardware/ppu/templates": ("rnla_neuro/hardware/ppu/templates", "**/*"),
    "rnla_neuro/hardware/ppu/stand_in": ("rnla_neuro/hardware/ppu/stand_in", "**/*"),
    "rnla_neuro/reproduce": ("rnla_neuro/reproduce", "*.toml"),
    "backends/rnla_neuro_backends/templates": ("rnla_neuro_backends/templates", "**/*"),
    **{
        f"backends/{package}/templates": (f"{package}/templates", "**/*")
        for package in ("rnla_neuro_backends/brian2_program", "rnla_neuro_backends/dense")
    },
}
MARKERS = {"rnla_neuro/py.typed", "rnla_neuro_backends/py.typed"}
NOT_SOURCE = shutil.ignore_patterns(
    ".git", ".venv", "build", "dist", "runs", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis"
)


class WheelError(Exception):
    """The wheel is not what it should be."""


def main() -> int:
    """Build, compare, install and use the wheel; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="rnla-wheel-") as name:
        work = Path(name)
        try:
            wheel = build(work)
            compare_files(wheel)
            use(install(wheel, work / "env"), work / "elsewhere")
        except WheelError as error:
            print(f"wheel check: {error}", file=sys.stderr)
            return 1
    print("wheel check: passed")
    return 0


def build(work: Path) -> Path:
    """Build the wheel from a copy, because setuptools would reuse what an older build left behind."""
    source, out = work / "source", work / "dist"
    shutil.copytree(REPOSITORY, source, ignore=NOT_SOURCE)
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)])
    (wheel,) = out.glob("*.whl")
    return wheel


def compare_files(wheel: Path) -> None:
    """Compare the wheel's files with the repository's, and list its data files.

    Raises:
        WheelError: if a file is missing, or one is there that should not be.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    packed = {name for name in names if ".dist-info/" not in name}
    code = {name for name in packed if name.endswith(".py")}
    data = packed - code
    print(f"{wheel.name}: {len(code)} modules, {len(data)} data files")
    for name in sorted(data):
        print(f"  {name}")
    wanted = repository_data() | repository_code()
    complaints = [f"missing in the wheel: {name}" for name in sorted(wanted - packed)]
    complaints += [f"does not belong into the wheel: {name}" for name in sorted(packed - wanted)]
    if not any(name.startswith("rnla_neuro/models/") for name in data):
        complaints.append("no model file at all in the wheel")
    if complaints:
        raise WheelError("\n  ".join(["its files differ from the repository's:", *complaints]))


def repository_data() -> set[str]:
    """Return the names that the data files of the repository have in a wheel."""
    names = set(MARKERS)
    for folder, (target, pattern) in DATA_FOLDERS.items():
        root = REPOSITORY / folder
        names |= {f"{target}/{path.relative_to(root).as_posix()}" for path in data_files(root, pattern)}
    return names


def data_files(root: Path, pattern: str) -> list[Path]:
    """Return the files below ``root`` that match, without what Python leaves behind."""
    return [path for path in root.glob(pattern) if path.is_file() and "__pycache__" not in path.parts]


def repository_code() -> set[str]:
    """Return the names that the modules of the repository have in a wheel."""
    homes = (REPOSITORY, REPOSITORY / "backends")
    return {
        path.relative_to(home).as_posix()
        for home, package in zip(homes, ("rnla_neuro", "rnla_neuro_backends"), strict=True)
        for path in (home / package).rglob("*.py")
        if "templates" not in path.parts
    }


def install(wheel: Path, environment: Path) -> Path:
    """Install the wheel and what it needs in an empty environment; return the folder of its programs."""
    print("installing it in an empty environment")
    venv.create(environment, with_pip=True)
    programs = environment / "bin"
    pip = [str(programs / "python"), "-m", "pip", "--disable-pip-version-check"]
    run([*pip, "install", "--quiet", "--no-compile", "-c", str(REPOSITORY / "constraints.txt"), str(wheel)])
    run([*pip, "check"])
    return programs


def use(programs: Path, elsewhere: Path) -> None:
    """Do what a newcomer does, in a folder outside the repository.

    Raises:
        WheelError: if a command fails, or does not say or write what it should.
    """
    elsewhere.mkdir()
    rnla, python = str(programs / "rnla"), str(programs / "python")
    version = run([python, "-c", "import rnla_neuro; print(rnla_neuro.__version__)"], elsewhere).strip()
    if version not in run([rnla, "--version"], elsewhere):
        raise WheelError(f"rnla --version does not say {version}")
    models = run([rnla, "list", "models"], elsewhere)
    for model in sorted(REPOSITORY.glob("models/*.toml")):
        if model.stem not in models:
            raise WheelError(f"rnla list models does not name {model.stem}:\n{models}")
    run([python, "-c", "import gymnasium, rnla_neuro; gymnasium.make('rnla/Digits-v0')"], elsewhere)
    out = elsewhere / "run"
    command = [rnla, "run", "xor", "--seeds", "1", "--iterations", "200", "--out", str(out), "--json"]
    summary = json.loads(run(command, elsewhere))
    if not summary or not (out / "summary.json").is_file():
        raise WheelError(f"the run left no summary in {out}")


def run(command: list[str], folder: Path | None = None) -> str:
    """Run a command and return its standard output.

    Raises:
        WheelError: if its exit code is not 0.
    """
    # PYTHONPATH could make the repository visible, and the check worthless
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise WheelError(
            f"exit code {result.returncode} from: {' '.join(command)}\n{result.stdout}{result.stderr}"
        )
    if folder is not None:
        print(f"  works: {Path(command[0]).name} {' '.join(command[1:])}")
    return result.stdout


if __name__ == "__main__":
    sys.exit(main())
