"""The templates of this package as files, known without importing Brian2."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

TEMPLATES = Path(__file__).with_name("templates")


def hash_text(text: str) -> str:
    """Return a short hash."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@lru_cache
def template_stamp() -> str:
    """Return a hash of this package's templates: what they generate changes when they do."""
    return hash_text("\0".join(path.read_text() for path in sorted(TEMPLATES.iterdir()) if path.is_file()))
