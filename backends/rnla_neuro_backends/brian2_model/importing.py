"""Imports Brian2 without its side effects on the process: import this module before any of Brian2.

At its first import Brian2 replaces `sys.excepthook` (with an "unexpected error, please report to Brian2"
message), redirects Python's warnings to its own log, and takes over Ctrl-C. A user who only loads a model file
asked for none of it; where Brian2 was imported before by the user, nothing is changed.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import warnings

_excepthook, _showwarning = sys.excepthook, warnings.showwarning
_interrupt = signal.getsignal(signal.SIGINT)

import brian2  # noqa: E402

sys.excepthook = _excepthook
if warnings.showwarning is not _showwarning:
    logging.captureWarnings(False)
if not callable(_interrupt):  # Ctrl-C is ignored, as in a shell's background job: Brian2 would still call it
    with contextlib.suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGINT, _interrupt)

VERSION: str = brian2.__version__
