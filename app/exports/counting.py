"""Cells that are not as the source has them, counted while they are written."""

from collections.abc import Iterable, Set

from app.model import Cell, Cut, Undecodable


class Counter:
    def __init__(self) -> None:
        self.cut = 0  # cells that hold only the start of a longer one
        self.undecodable = 0  # cells whose text is not UTF-8

    def count(self, column: Iterable[Cell], kinds: Set[type]) -> None:
        """Adds what a column of a chunk holds; `kinds` are the types of its cells."""
        if Cut in kinds:
            self.cut += sum(type(cell) is Cut for cell in column)
        if Undecodable in kinds:
            self.undecodable += sum(type(cell) is Undecodable for cell in column)
