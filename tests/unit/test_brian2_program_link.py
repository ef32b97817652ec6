"""The exchange with a program, against programs that misbehave; and what building leaves of Brian2's state."""

from __future__ import annotations

import os
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from rnla_neuro.errors import BackendError
from rnla_neuro_backends.brian2_program import link
from rnla_neuro_backends.brian2_program.link import ProgramLink

ARRAYS = {"x": np.dtype(np.float64), "k": np.dtype(np.int32)}

SPEAK = """
import os, socket, struct, sys, time
s = socket.socket(socket.AF_UNIX)
s.connect(os.environ["RNLA_SOCKET"])
def hello(key=b"key", protocol=2):
    s.sendall(struct.pack("=IIQQ", 0x414C4E52, 1, 0, 8 + len(key)) + struct.pack("=Q", protocol) + key)
def message():
    magic, command, sequence, size = struct.unpack("=IIQQ", s.recv(24, socket.MSG_WAITALL))
    return command, sequence, s.recv(size, socket.MSG_WAITALL)
def answer(command, sequence, body=b""):
    s.sendall(struct.pack("=IIQQ", 0x414C4E52, command, sequence, len(body)) + body)
"""


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Short, so that sockets fit; whatever is left in it is found."""
    folder = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    left = list(folder.iterdir())
    folder.rmdir() if not left else None
    assert not left


def program(text: str, tmp_path: Path, **options: float) -> ProgramLink:
    command = [sys.executable, "-c", SPEAK + textwrap.dedent(text)]
    return ProgramLink([c.replace("{", "{{").replace("}", "}}") for c in command], tmp_path, "key", ARRAYS,
                       tmp_path / "logs", **options)  # fmt: skip


def test_an_exchange(tmp_path: Path) -> None:
    """Arrays arrive whole and aligned, answers of any length are taken, and a run's folder is private."""
    talk = program(
        """
        hello()
        while True:
            command, sequence, body = message()
            if command == 5:
                answer(command, sequence)
                break
            assert struct.unpack_from("=II", body) == (1, 2)
            data = body[8 + 3 * 16:]
            assert struct.unpack("=3i4x2d", data) == (1, 2, 3, 0.5, -1.0), data
            out = struct.pack("=100000d", *range(100000))
            answer(command, sequence, out)
        """,
        tmp_path,
    )
    assert talk.folder.stat().st_mode & 0o777 == 0o700
    given = {"k": np.array([1, 2, 3]), "x": np.array([0.5, -1.0], np.float32)}  # converted to the program's types
    for _ in range(3):
        found = talk.advance(given, {"x": 100000})
        np.testing.assert_array_equal(found["x"], np.arange(100000))
    talk.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("print('no GPU here', file=sys.stderr); sys.exit(4)", r"exit code 4.*'no GPU here'.*log: "),
        ("hello(b'another')", "is not the one that was asked for.*key 'another'"),
        ("hello(protocol=99)", "is not the one that was asked for.*protocol 99"),
        ("s.sendall(b'GET / HTTP/1.1' * 10); time.sleep(9)", "does not speak rnla's protocol"),
        ("s.sendall(b'abc')", "ended"),
    ],
)
def test_a_program_that_does_not_start_well(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BackendError, match=message) as caught:
        program(text, tmp_path)
    if "log: " in message:
        log = Path(str(caught.value).split("log: ")[1].rstrip(")"))
        assert log.read_text() == "no GPU here\n"


def test_a_program_that_does_not_connect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "START_TIMEOUT", 0.5)
    with pytest.raises(BackendError, match=r"did not connect within 0.5 s, and was killed"):
        ProgramLink(["sleep", "60"], tmp_path, "key", ARRAYS, tmp_path)
    with pytest.raises(BackendError, match=r"ended before it connected \(exit code 1\)"):
        ProgramLink(["false"], tmp_path, "key", ARRAYS, tmp_path)


@pytest.mark.parametrize("what", ["missing", "not a program", "no permission"])
def test_a_program_that_cannot_be_started(tmp_path: Path, what: str) -> None:
    file = tmp_path / "main"
    if what != "missing":
        file.write_bytes(b"\0not a program")
        file.chmod(0o755 if what == "not a program" else 0o644)
    with pytest.raises(BackendError, match=f"program {file} cannot be started: .+"):
        ProgramLink([str(file)], tmp_path, "key", ARRAYS, tmp_path)


def exchange_twice(talk: ProgramLink) -> None:
    """What is sent to a socket that the peer is about to close may still succeed."""
    talk.exchange({"x": np.zeros(3)}, {"x": 2})
    time.sleep(0.2)
    talk.exchange({"x": np.zeros(3)}, {"x": 2})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("message(); os.abort()", "ended after 1 messages .killed by signal 6, SIGABRT"),
        ("message(); print('out of luck', flush=True); os._exit(3)", "exit code 3.*out of luck"),
        ("c, q, b = message(); answer(c, q + 1, bytes(16))", "gave an answer to another question"),
        ("c, q, b = message(); s.sendall(bytes(10)); s.close()", "ended after 1 messages"),
        ("s.close(); time.sleep(9)", "ended.*and was killed"),
    ],
)
def test_a_program_that_fails_in_an_exchange(tmp_path: Path, text: str, message: str) -> None:
    talk = program("hello()\n" + text, tmp_path)
    for _ in range(2):  # and again: the message is the same
        with pytest.raises(BackendError, match=message):
            exchange_twice(talk)
    talk.close()


def test_a_program_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    talk = program("hello(); c, q, b = message(); answer(c, q); time.sleep(60)", tmp_path)
    began = time.monotonic()
    talk.close()
    assert time.monotonic() - began < 10
    with pytest.raises(ProcessLookupError):
        os.kill(talk.pid, 0)


def test_a_log_that_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where a folder should be")
    with pytest.raises(BackendError, match="its log could not be kept in"):
        program("print('x'); sys.exit(1)", tmp_path)


def test_old_logs_are_removed(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    for k in range(30):
        (tmp_path / "logs" / f"{k}.log").write_text("old")
    with pytest.raises(BackendError):
        program("print('x'); sys.exit(1)", tmp_path)
    assert len(list((tmp_path / "logs").iterdir())) == 21


def test_a_long_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_temporary_folder: Path) -> None:
    long = own_temporary_folder / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    talk = program("hello(); c, q, b = message(); answer(c, q)", tmp_path)
    assert talk.folder.parent == Path("/tmp")
    talk.close()
    long.rmdir()


def test_no_folder_for_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(BackendError, match=r"no folder for the program's socket .*No space left on device.*TMPDIR"):
        program("hello()", tmp_path)
