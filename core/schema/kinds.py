"""The physical kinds a column can have, each with its type in every store."""

from enum import Enum, unique


@unique
class Kind(Enum):
    """One kind of value: numpy type in memory, ClickHouse type, polars type name, what it is.

    In memory an address is 16 bytes in network order (IPv4 mapped, ``::ffff:a.b.c.d``), a MAC a
    number below 2**48, a time a count of milliseconds (or seconds) since 1970-01-01 UTC.
    """

    U8 = ("u1", "UInt8", "UInt8", "number")
    U16 = ("u2", "UInt16", "UInt16", "number")
    U32 = ("u4", "UInt32", "UInt32", "number")
    U64 = ("u8", "UInt64", "UInt64", "number")
    I64 = ("i8", "Int64", "Int64", "signed number")
    TIME_S = ("<u4", "DateTime('UTC')", "Datetime", "time, UTC")
    TIME_MS = ("<i8", "DateTime64(3, 'UTC')", "Datetime", "time, UTC")
    IP = ("V16", "IPv6", "Binary", "address")
    MAC = ("<u8", "UInt64 ", "UInt64", "MAC address")

    def __init__(self, numpy_code: str, clickhouse: str, polars: str, label: str) -> None:
        self.numpy_code = numpy_code
        self.clickhouse = clickhouse.strip()
        self.polars = polars
        self.label = label
