"""The number that every stored row carries: node, batch and piece."""

from typing import NamedTuple

NODE_MAX = (1 << 16) - 1
NUMBER_MAX = (1 << 40) - 1
PIECE_MAX = (1 << 8) - 1


class BatchId(NamedTuple):
    """One batch of one node; pieces above 0 are what a refused batch was cut into.

    As a number, later batches of a node are greater, and so are later pieces of a batch.
    """

    node: int
    number: int
    piece: int = 0

    def pack(self) -> int:
        """Return it as the column ``batch_id`` holds it."""
        if not (
            0 <= self.node <= NODE_MAX
            and 0 < self.number <= NUMBER_MAX
            and 0 <= self.piece <= PIECE_MAX
        ):
            raise ValueError(f"{self} does not fit a batch id")
        return self.node << 48 | self.number << 8 | self.piece

    @classmethod
    def unpack(cls, packed: int) -> "BatchId":
        """Read back what ``pack`` wrote."""
        return cls(packed >> 48, packed >> 8 & NUMBER_MAX, packed & PIECE_MAX)
