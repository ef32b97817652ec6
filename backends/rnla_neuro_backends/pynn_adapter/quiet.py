"""Keeps what simulators print and warn while they load and build away from the user's terminal and from ``--json``."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Send what anybody writes to the descriptors of stdout and stderr, C++ included, nowhere; ignore warnings."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    try:
        kept = [os.dup(1), os.dup(2)]
    except OSError:  # no such descriptors: nothing to keep quiet
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        with (
            Path(os.devnull).open("w", encoding="utf-8") as sink,
            warnings.catch_warnings(),
            contextlib.redirect_stdout(sink),  # not stderr: loggers that are made meanwhile keep it
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for number, one in enumerate(kept, start=1):
            os.dup2(one, number)
            os.close(one)
        os.close(nowhere)
