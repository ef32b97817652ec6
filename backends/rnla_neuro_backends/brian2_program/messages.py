"""How messages to and from a compiled program are laid out; see ``templates/rnla_exchange.hpp``."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MAGIC, PROTOCOL = 0x414C4E52, 2
HELLO, ADVANCE, EXCHANGE, END, QUIT = 1, 2, 3, 4, 5
HEADER, _ITEM, _COUNTS = struct.Struct("=IIQQ"), struct.Struct("=IIQ"), struct.Struct("=II")
_KEPT = 64  # layouts of messages that are kept

Arrays = Mapping[str, npt.NDArray[Any]]


class Messages:
    """Lays out messages, and reads answers. What is the same in messages of the same lengths is made once.

    Args:
        arrays: Element type of every array, in the order in which the program numbers them.

    Attributes:
        sequence: Number of the last message.
    """

    def __init__(self, arrays: Mapping[str, np.dtype[Any]]) -> None:
        self._numbers = {name: (k, dtype) for k, (name, dtype) in enumerate(arrays.items())}
        self._layouts: dict[int, Layout] = {}
        self._heads: dict[tuple[object, ...], _Head] = {}
        self.sequence = 0

    def layout(self, wanted: Mapping[str, int]) -> Layout:
        """Return how an answer is laid out; the same mapping is asked for again and again."""
        kept = self._layouts.get(id(wanted))
        if kept is not None and kept.wanted is wanted:
            return kept
        items, places, at = [], [], HEADER.size
        for name, count in wanted.items():
            number, dtype = self._numbers[name]
            items.append(_ITEM.pack(number, 0, count))
            places.append((name, (dtype, count, at)))
            at += (count * dtype.itemsize + 7) // 8 * 8
        layout = Layout(wanted, b"".join(items), places, at)
        if len(self._layouts) >= _KEPT:
            self._layouts.clear()
        self._layouts[id(wanted)] = layout
        return layout

    def write(self, command: int, given: Arrays, layout: Layout) -> bytes:
        """Lay out a message; what is the same in messages of the same lengths is made once."""
        key = (command, id(layout), *given, *[values.size for values in given.values()])
        head = self._heads.get(key)
        if head is None:
            head = _Head.of(given, self._numbers, layout)
            if len(self._heads) >= _KEPT:
                self._heads.clear()
            self._heads[key] = head
        self.sequence += 1
        parts: list[Any] = [HEADER.pack(MAGIC, command, self.sequence, head.size), head.text]
        for values, dtype, padding in zip(given.values(), head.dtypes, head.padding, strict=True):
            parts.append(values if values.dtype is dtype else np.ascontiguousarray(values, dtype))
            if padding:
                parts.append(padding)
        return b"".join(parts)

    def read(self, command: int, answer: bytearray, layout: Layout) -> dict[str, npt.NDArray[Any]] | None:
        """Return the arrays of an answer to the last message; None: it is an answer to something else."""
        if HEADER.unpack_from(answer) != (MAGIC, command, self.sequence, layout.size - HEADER.size):
            return None
        return {name: np.frombuffer(answer, *where) for name, where in layout.places}


@dataclass(frozen=True)
class Layout:
    """Where the arrays of an answer lie: name, and element type, count and offset."""

    wanted: Mapping[str, int]
    items: bytes
    places: list[tuple[str, tuple[np.dtype[Any], int, int]]]
    size: int


@dataclass(frozen=True)
class _Head:
    """What comes before the elements of the arrays in a message, and what comes after each."""

    text: bytes
    dtypes: list[np.dtype[Any]]
    padding: list[bytes]
    size: int
    layout: Layout  # kept alive, since it is looked up by its identity

    @classmethod
    def of(cls, given: Arrays, numbers: Mapping[str, tuple[int, np.dtype[Any]]], layout: Layout) -> _Head:
        items, dtypes, padding = [], [], []
        size = _COUNTS.size + len(layout.items)
        for name, values in given.items():
            number, dtype = numbers[name]
            items.append(_ITEM.pack(number, 0, values.size))
            dtypes.append(dtype)
            padding.append(b"\0" * (-values.size * dtype.itemsize % 8))
            size += _ITEM.size + values.size * dtype.itemsize + len(padding[-1])
        text = _COUNTS.pack(len(layout.places), len(given)) + layout.items + b"".join(items)
        return cls(text, dtypes, padding, size, layout)
