"""What is known of one file of a batch."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BatchFile:
    """One file: rows of one table and partition. ``columns`` has those that are not all zero."""

    table: str
    partition: int
    rows: int
    octets: int  # Of the file.
    sum_octets: int  # Of the column of that name, 0 where there is none.
    checksum: str
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name in the batch's folder, until it must be another."""
        return f"{self.table}.{self.partition}.native"
