"""Fails unless each named backend ran in the tests: ``require_backends.py REPORT NAME [NAME ...]``.

REPORT is what ``pytest --backend-report`` wrote: names of backends, and in how many tests each one ran.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def missing(report: Path, required: list[str]) -> list[str]:
    """Return the required names that ran in no test; all of them if there is no report."""
    ran = json.loads(report.read_text()) if report.is_file() else {}
    return [name for name in required if ran.get(name, 0) < 1]


def main(arguments: list[str]) -> int:
    """Check the report that the arguments name; return the exit code."""
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    report, required = Path(arguments[0]), arguments[1:]
    absent = missing(report, required)
    for name in absent:
        print(f"backend {name!r} must run in the tests, and did not (see the skips above)", file=sys.stderr)
    if not absent:
        print(f"backends that ran: {', '.join(required)}")
    return 1 if absent else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
