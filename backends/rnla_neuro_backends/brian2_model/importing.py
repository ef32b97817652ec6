"""Imports Brian2 without its side effects on the process: import this module before any of Brian2.

At its first import Brian2 replaces `sys.excepthook` (with an "unexpected error, please report to Brian2"
message) and redirects Python's warnings to its own log. A user who only loads a model file asked for
neither; where Brian2 was imported before by the user, nothing is changed.
"""

from __future__ import annotations

import logging
import sys
import warnings

_excepthook, _showwarning = sys.excepthook, warnings.showwarning

import brian2  # noqa: E402

sys.excepthook = _excepthook
if warnings.showwarning is not _showwarning:
    logging.captureWarnings(False)

VERSION: str = brian2.__version__
