"""This process's end of the conversation with a compiled program: its process, its socket, its failures.

The protocol is described in ``templates/rnla_exchange.hpp``. The program is a child in a session of its own,
so that Ctrl-C reaches only us; the socket lies in a private folder and is removed as soon as the program has
connected. The program ends when its socket closes or its parent is gone, so that it cannot outlive us even
if we are killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from rnla_neuro.errors import BackendError
from rnla_neuro_backends.brian2_program.messages import (
    ADVANCE,
    END,
    EXCHANGE,
    HEADER,
    HELLO,
    MAGIC,
    PROTOCOL,
    QUIT,
    Arrays,
    Messages,
)

_MAX_PATH = 100  # bytes; a Unix socket's path may have 104 (macOS) or 108 (Linux), with the final zero
_POLL = 0.5  # seconds after which a wait looks whether it should go on
START_TIMEOUT, GRACE = 60.0, 10.0


class ProgramLink:
    """A running program, and the exchange of arrays with it.

    Args:
        command: The executable and its arguments; ``{run}`` in them is the run's own folder.
        cwd: Where it runs.
        key: What the program must introduce itself with.
        arrays: Element type of every array, in the order in which the program numbers them.
        logs: Folder that keeps the program's output if it fails.
        timeout: Seconds without an answer after which a program that still runs is given up.
        environment: Variables for the program, beside this process's own.

    Raises:
        BackendError: The program cannot be started, or does not connect.
    """

    def __init__(
        self,
        command: Sequence[str],
        cwd: Path,
        key: str,
        arrays: Mapping[str, np.dtype[Any]],
        logs: Path,
        timeout: float = 600.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._key, self._logs, self.timeout = key, logs, timeout
        self._messages = Messages(arrays)
        self._failure: str | None = None
        self._owner = os.getpid()
        self.folder = _private_folder()
        self._log = self.folder / "log"
        self._held: dict[str, Any] = {}  # what must be given back: the finalizer sees it, but not this object
        self._finalizer = weakref.finalize(self, _release, self._held, self.folder, self._owner)
        try:
            self._start([part.format(run=self.folder) for part in command], cwd, environment or {})
        except OSError as error:
            self._finalizer()
            raise BackendError(
                f"the compiled program {command[0]} cannot be started: {error.strerror or error}"
            ) from error
        except BaseException:
            self._finalizer()
            raise

    @property
    def pid(self) -> int:
        """Process number of the program."""
        return int(self._held["process"].pid)

    # ---- start ----------------------------------------------------------------------------------------
    def _start(self, command: list[str], cwd: Path, environment: Mapping[str, str]) -> None:
        path = self.folder / "socket"
        with socket.socket(socket.AF_UNIX) as listener, self._log.open("wb") as log:
            listener.bind(str(path))
            listener.listen(1)
            self._held["process"] = subprocess.Popen(
                command,
                cwd=cwd,
                env={**os.environ, **environment, "RNLA_SOCKET": str(path)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._accept(listener)
        path.unlink(missing_ok=True)
        self._hello()

    def _accept(self, listener: socket.socket) -> None:
        listener.settimeout(0.1)
        deadline = time.monotonic() + START_TIMEOUT
        while "socket" not in self._held:
            try:
                self._held["socket"], _ = listener.accept()
            except TimeoutError:
                if self._held["process"].poll() is not None:
                    self._fail("ended before it connected")
                if time.monotonic() > deadline:
                    self._fail(f"did not connect within {START_TIMEOUT:g} s")
        connection = self._held["socket"]
        connection.setblocking(True)
        limit = struct.pack("@ll", int(_POLL), int(_POLL % 1 * 1e6))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            connection.setsockopt(socket.SOL_SOCKET, option, limit)

    def _hello(self) -> None:
        header = bytearray(HEADER.size)
        self._receive(header)
        magic, command, _, size = HEADER.unpack(header)
        if magic != MAGIC or command != HELLO or not 8 <= size < 4096:
            self._fail("does not speak rnla's protocol")
        body = bytearray(size)
        self._receive(body)
        protocol, key = int.from_bytes(body[:8], "little"), body[8:].decode(errors="replace")
        if protocol != PROTOCOL or key != self._key:
            self._fail(f"is not the one that was asked for (protocol {protocol}, key {key!r})")

    # ---- exchange -------------------------------------------------------------------------------------
    def advance(self, given: Arrays, wanted: Mapping[str, int]) -> dict[str, npt.NDArray[Any]]:
        """Give inputs, run a block, and return the first elements of arrays.

        Args:
            given: Flat, contiguous arrays by name; a part of an array is its beginning.
            wanted: Number of elements by the array's name.

        Raises:
            BackendError: The program ended, or does not answer; every later call says the same.
            KeyboardInterrupt: Ctrl-C, or whatever else a signal raises: after the answer has come.
        """
        return self._exchange(ADVANCE, given, wanted, self.timeout)

    def exchange(self, given: Arrays, wanted: Mapping[str, int]) -> dict[str, npt.NDArray[Any]]:
        """Write and read arrays without running a block; see `advance`."""
        return self._exchange(EXCHANGE, given, wanted, self.timeout)

    def _exchange(
        self, command: int, given: Arrays, wanted: Mapping[str, int], timeout: float
    ) -> dict[str, npt.NDArray[Any]]:
        self._check_usable()
        layout = self._messages.layout(wanted)
        answer = bytearray(layout.size)
        self._converse(self._messages.write(command, given, layout), answer, timeout)
        found = self._messages.read(command, answer, layout)
        if found is None:
            self._fail("gave an answer to another question")
        return found

    def _converse(self, message: bytes, answer: bytearray, timeout: float) -> None:
        """Send and receive. A signal that raises does so after the answer, unless that takes too long.

        Whoever handles it may then still read the state, which is that of the end of the block.
        """
        connection = self._held["socket"]
        sent = got = 0
        raised: BaseException | None = None
        try:
            sent = connection.send(message)
            if sent == len(message):
                got = connection.recv_into(answer)
                if got == len(answer):
                    return
        except BlockingIOError:
            pass
        except OSError:  # it is gone; what it has said before tells why
            self._fail("ended")
        except BaseException as stop:  # noqa: BLE001 - raised below
            raised = stop
        todo = [
            _Rest(memoryview(message)[sent:], self._send_some),
            _Rest(memoryview(answer)[got:], self._receive_some),
        ]
        self._finish(todo, timeout, raised)

    def _finish(self, todo: list[_Rest], timeout: float, raised: BaseException | None) -> None:
        """Send and receive what is left, then raise what was raised meanwhile."""
        deadline = time.monotonic() + (timeout if raised is None else GRACE)
        while todo:
            try:
                if todo[0].step():
                    todo.pop(0)
                elif time.monotonic() > deadline:
                    if raised is None:
                        self._fail(f"runs, but has not answered for {timeout:g} s")
                    break
            except BackendError:
                raise
            except BaseException as stop:  # noqa: BLE001 - raised below
                if raised is not None:  # asked for twice: at once
                    break
                raised, deadline = stop, time.monotonic() + GRACE
        if todo:
            self._give_up("was interrupted while it computed a block")
        if raised is not None:
            raise raised

    def _receive(self, into: bytearray) -> None:
        rest, deadline = _Rest(memoryview(into), self._receive_some), time.monotonic() + START_TIMEOUT
        while not rest.step():
            if time.monotonic() > deadline:
                self._fail(f"did not introduce itself within {START_TIMEOUT:g} s")

    def _send_some(self, view: memoryview) -> int:
        try:
            return int(self._held["socket"].send(view))
        except BlockingIOError:
            return 0
        except OSError:  # it is gone; what it has said before tells why
            self._fail("ended")

    def _receive_some(self, view: memoryview) -> int:
        try:
            got = int(self._held["socket"].recv_into(view))
        except BlockingIOError:
            return 0
        except OSError:
            got = -1
        if got <= 0:
            self._fail("ended")
        return got

    # ---- end ------------------------------------------------------------------------------------------
    def close(self, keep_results: bool = False) -> None:
        """End the program and remove what it left behind; more than once does no harm.

        Args:
            keep_results: Let Brian2 write its result files before.

        Raises:
            BackendError: The program could not write its results.
        """
        if not self._finalizer.alive:
            return
        try:
            if self._failure is None and os.getpid() == self._owner:
                self._exchange(END if keep_results else QUIT, {}, {}, GRACE)
                if keep_results:
                    self._wait_for_results()
        except BackendError:
            if keep_results:
                raise
        finally:
            self._finalizer()
            self._failure = self._failure or "the compiled program was closed"

    def _wait_for_results(self) -> None:
        try:
            code = self._held["process"].wait(self.timeout)
        except subprocess.TimeoutExpired:
            self._fail(f"did not write its results within {self.timeout:g} s")
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        if code != 0 or "Error writing" in text:
            self._fail("could not write its results")

    def _check_usable(self) -> None:
        if self._failure is not None:
            raise BackendError(self._failure)
        if os.getpid() != self._owner:
            raise BackendError("the compiled program belongs to the process that started it, not to a fork of it")

    def _fail(self, what: str) -> NoReturn:
        """Give the program up, and say what happened to it."""
        raise BackendError(self._give_up(what))

    def _give_up(self, what: str) -> str:
        """End the program; return a message, which every later call repeats."""
        process: subprocess.Popen[bytes] = self._held["process"]
        if "socket" in self._held:
            self._held["socket"].close()
        ended = _ended(process, 2.0)
        if not ended:
            process.kill()
            process.wait()
        said = ""
        with suppress(OSError):
            said = self._log.read_text(errors="replace").strip()
        status = f" ({_status(process.returncode)})" if ended else ", and was killed"
        after = f" after {self._messages.sequence} messages" if self._messages.sequence else ""
        message = f"the compiled program {what}{after}{status}"
        if said:
            message += f"; its last words: {said[-500:]!r}{self._keep_log(said)}"
        self._failure = message
        self._finalizer()
        return message

    def _keep_log(self, text: str) -> str:
        path = self._logs / f"{self._key[:16]}-{os.getpid()}-{self.pid}.log"
        try:
            self._logs.mkdir(parents=True, exist_ok=True)
            old = sorted(self._logs.glob("*.log"), key=lambda log: log.stat().st_mtime)
            for log in old[:-20]:
                log.unlink(missing_ok=True)
            path.write_text(text + "\n")
        except OSError as error:
            return f" (its log could not be kept in {self._logs}: {error.strerror})"
        return f" (log: {path})"


class _Rest:
    """What is left of a message to send or to receive, so that a wait can be taken up again."""

    def __init__(self, view: memoryview, move: Any) -> None:
        self._view, self._move = view, move

    def step(self) -> bool:
        """Move some; return whether all is done. A signal may raise before any byte has moved."""
        if self._view:
            self._view = self._view[self._move(self._view) :]
        return not self._view


def _private_folder() -> Path:
    """Make a folder that only we can enter, with a path short enough for a socket."""
    tried = []
    for parent in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):
        if len(os.fsencode(parent)) + len("/rnla-12345678/socket") > _MAX_PATH:
            tried.append(f"{parent}: too long for the path of a socket")
            continue
        try:
            return Path(tempfile.mkdtemp(prefix="rnla-", dir=parent))
        except OSError as error:
            tried.append(f"{parent}: {error.strerror}")
    raise BackendError(
        f"no folder for the program's socket ({'; '.join(tried)}): set TMPDIR to a short path that can be written"
    )


def _ended(process: subprocess.Popen[bytes], timeout: float) -> bool:
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        return False
    return True


def _status(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by signal {-code}, {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _release(held: dict[str, Any], folder: Path, owner: int) -> None:
    """Close the socket, which ends the program; wait for it, and remove the run's folder."""
    if "socket" in held:
        held["socket"].close()
    if os.getpid() != owner:
        return  # a fork of the process whose program it is
    process: subprocess.Popen[bytes] | None = held.get("process")
    if process is not None and not _ended(process, 2.0):
        process.kill()
        process.wait()
    shutil.rmtree(folder, ignore_errors=True)
