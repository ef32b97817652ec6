"""Starts the process in which sPyNNaker lives, and asks it to map and run; see `spinnaker_worker`."""

from __future__ import annotations

import configparser
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rnla_neuro.errors import BackendError
from rnla_neuro_backends.pynn_adapter import spinnaker_worker

CONFIG = "spynnaker.cfg"
#: What stands in for a machine: a board of 48 chips, of which sPyNNaker knows the layout.
VIRTUAL = "[Machine]\nversion = 5\nvirtual_board = True\n"
_SHOWN = 12  # lines of the log in an error


@dataclass
class Machine:
    """Which machine sPyNNaker would take.

    Attributes:
        files: Configuration files of the user, in the order in which sPyNNaker reads them.
        is_virtual: Whether it only maps: no configuration, or one that says ``virtual_board = True``.
    """

    files: list[Path] = field(default_factory=list)
    is_virtual: bool = True


def find_machine(folder: Path | None = None) -> Machine:
    """Look where sPyNNaker looks for its configuration: system, home and working directory.

    Args:
        folder: The working directory; None: the present one.
    """
    home = Path.home()
    settings = Path(os.environ.get("XDG_CONFIG_HOME", home / ".config"))
    system = [Path(p) for p in os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(os.pathsep)]
    places = [*(p / f".{CONFIG}" for p in (*system, settings, home)), (folder or Path.cwd()) / CONFIG]
    files = [p for p in places if p.is_file()]
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    try:
        parser.read(files, encoding="utf-8")
        is_virtual = parser.getboolean("Machine", "virtual_board", fallback=False)
    except (configparser.Error, ValueError, UnicodeDecodeError) as error:
        raise BackendError(f"sPyNNaker's configuration {', '.join(map(str, files))} cannot be read: {error}") from None
    return Machine(files, is_virtual or not files)


class SpinnakerProcess:
    """A process with sPyNNaker in a working directory of its own, which is removed at the end.

    Attributes:
        machine: The machine it takes.
    """

    def __init__(self) -> None:
        self.machine = find_machine()
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Let it set up, run, read and end.

        Raises:
            BackendError: It failed; the message has what sPyNNaker said.
        """
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            spinnaker_worker.send(process.stdin, request)
            reply = spinnaker_worker.receive(process.stdout)
        except OSError:
            reply = None
        if reply is None:
            said = self._log()
            self.close()
            raise BackendError(f"sPyNNaker's process ended before it answered; the end of its log:\n{said}")
        if "error" in reply:
            raise BackendError(f"sPyNNaker: {reply['error']}\nthe end of its log:\n{self._log()}")
        return reply

    def _start(self) -> subprocess.Popen[bytes]:
        folder = Path(tempfile.mkdtemp(prefix="rnla-spinnaker-"))
        environment = dict(os.environ)
        if not self.machine.files:
            (folder / f".{CONFIG}").write_text(VIRTUAL)
            environment |= {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config")}
        here = Path.cwd() / CONFIG
        if here in self.machine.files:
            shutil.copy(here, folder / CONFIG)
        command = [sys.executable, "-P", str(Path(spinnaker_worker.__file__))]
        self._folder = folder
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder, env=environment, start_new_session=True
        )
        self._end = weakref.finalize(self, _end, self._process, folder)  # also for who forgets to close
        return self._process

    def _log(self) -> str:
        path = self._folder / "log.txt" if self._folder else None
        if path is None or not path.is_file():
            return "(no log)"
        return "\n".join(path.read_text(errors="replace").splitlines()[-_SHOWN:])

    def close(self) -> None:
        """End the process and remove its folder."""
        if self._process is not None:
            self._end()
            self._process = self._folder = None


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    shutil.rmtree(folder, ignore_errors=True)
