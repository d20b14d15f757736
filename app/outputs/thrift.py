"""Writing Thrift's compact protocol, in which Parquet keeps what it says about its data.

A value is its type number and its octets; a struct is made of (field id, value) in rising order.
"""

from collections.abc import Sequence

Value = tuple[int, bytes]

_TRUE, _FALSE, _I8, _I32, _I64, _BINARY, _LIST, _STRUCT = 1, 2, 3, 5, 6, 8, 9, 12
_SHORT_LIST = 15


def varint(number: int) -> bytes:
    """Write a number that is not negative, seven bits an octet, the lowest first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def zigzag(number: int) -> bytes:
    """Write a signed number of at most 64 bits."""
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


def i8(number: int) -> Value:
    """Return a number of 8 bits."""
    return _I8, number.to_bytes(1, "little", signed=True)


def i32(number: int) -> Value:
    """Return a number of 32 bits."""
    return _I32, zigzag(number)


def i64(number: int) -> Value:
    """Return a number of 64 bits."""
    return _I64, zigzag(number)


def boolean(*, is_true: bool) -> Value:
    """Return a truth value."""
    return (_TRUE if is_true else _FALSE), b""


def text(string: str) -> Value:
    """Return a text."""
    octets = string.encode()
    return _BINARY, varint(len(octets)) + octets


def struct(*fields: tuple[int, Value]) -> Value:
    """Return a struct of fields in rising order of their ids."""
    out = bytearray()
    last = 0
    for number, (kind, octets) in fields:
        step = number - last
        out += bytes([step << 4 | kind])
        out += octets
        last = number
    out.append(0)
    return _STRUCT, bytes(out)


def several(values: Sequence[Value]) -> Value:
    """Return a list of values of one type; an empty one counts as a list of structs."""
    kind = values[0][0] if values else _STRUCT
    count = len(values)
    if count < _SHORT_LIST:
        head = bytes([count << 4 | kind])
    else:
        head = bytes([_SHORT_LIST << 4 | kind]) + varint(count)
    return _LIST, head + b"".join(octets for _, octets in values)
