"""CityHash128 as of version 1.0.2, the checksum of ClickHouse's compressed blocks.

Newer versions of CityHash give other values; ClickHouse has stayed with this one.
"""

import struct

_M = (1 << 64) - 1
_K0, _K1 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273
_K2, _K3 = 0x9AE16A3B2F90404F, 0xC949D7C7509E6557
_MUL = 0x9DDFEA08EB382D69
_CHUNK = 128
_WORDS = struct.Struct("<8Q")
_FOUR = struct.Struct("<4Q")
_Pair = tuple[int, int]


def cityhash128(data: bytes) -> bytes:
    """Return the 16 octets as they stand before a block."""
    size = len(data)
    if size >= 16:
        low, high = _pair(data[16:], _word(data, 0) ^ _K3, _word(data, 8))
    elif size >= 8:
        low, high = _pair(b"", _word(data, 0) ^ (size * _K0 & _M), _word(data, size - 8) ^ _K1)
    else:
        low, high = _pair(data, _K0, _K1)
    return struct.pack("<QQ", low, high)


def _pair(data: bytes, low: int, high: int) -> _Pair:
    return _long(data, low, high) if len(data) >= _CHUNK else _short(data, low, high)


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def _rotate(value: int, by: int) -> int:
    return (value >> by | value << (64 - by)) & _M


def _mix(value: int) -> int:
    return value ^ value >> 47


def _join(low: int, high: int) -> int:
    one = _mix((low ^ high) * _MUL & _M)
    two = _mix((high ^ one) * _MUL & _M)
    return two * _MUL & _M


def _tiny(data: bytes) -> int:
    """Hash up to 16 octets."""
    size = len(data)
    if size > 8:
        first, last = _word(data, 0), _word(data, size - 8)
        return _join(first, _rotate(last + size & _M, size)) ^ last
    if size >= 4:
        first = int.from_bytes(data[:4], "little")
        return _join(size + (first << 3), int.from_bytes(data[-4:], "little"))
    if size:
        one = data[0] + (data[size >> 1] << 8)
        two = size + (data[-1] << 2)
        return _mix((one * _K2 ^ two * _K3) & _M) * _K2 & _M
    return _K2


def _short(data: bytes, low: int, high: int) -> _Pair:
    """Hash fewer than 128 octets."""
    size = len(data)
    a, b = low, high
    if size <= 16:
        a = _mix(a * _K1 & _M) * _K1 & _M
        c = b * _K1 + _tiny(data) & _M
        d = _mix(a + (_word(data, 0) if size >= 8 else c) & _M)
    else:
        c = _join(_word(data, size - 8) + _K1 & _M, a)
        d = _join(b + size & _M, c + _word(data, size - 16) & _M)
        a = a + d & _M
        for at in range(0, size - 16, 16):
            a = (a ^ _mix(_word(data, at) * _K1 & _M) * _K1) * _K1 & _M
            b ^= a
            c = (c ^ _mix(_word(data, at + 8) * _K1 & _M) * _K1) * _K1 & _M
            d ^= c
    a, b = _join(a, c), _join(d, b)
    return a ^ b, _join(b, a)


def _weak(words: tuple[int, int, int, int], a: int, b: int) -> _Pair:
    w, x, y, z = words
    a += w
    b = b + a + z & _M
    b = b >> 21 | b << 43
    c = a + x + y & _M
    return c + z & _M, b + (c >> 44 | c << 20) + a & _M


def _long(data: bytes, x: int, y: int) -> _Pair:
    """Hash 128 octets or more. Sums are cut to 64 bits only where it matters: that is faster."""
    size = len(data)
    z = size * _K1 & _M
    v0 = _rotate(y ^ _K1, 49) * _K1 + _word(data, 0) & _M
    v1 = _rotate(v0, 42) * _K1 + _word(data, 8) & _M
    w0 = _rotate(y + z & _M, 35) * _K1 + x & _M
    w1 = _rotate(x + _word(data, 88) & _M, 53) * _K1 & _M
    left = size % _CHUNK
    for s in _WORDS.iter_unpack(data[: size - left]):
        x = x + y + v0 + s[2] & _M
        x = (x >> 37 | x << 27) * _K1 & _M ^ w1
        y = y + v1 + s[6] & _M
        y = (y >> 42 | y << 22) * _K1 & _M ^ v0
        z ^= w0
        z = (z >> 33 | z << 31) & _M
        v0, v1 = _weak(s[:4], v1 * _K1, x + w0)
        w0, w1 = _weak(s[4:], z + w1, y)
        z, x = x, z
    y = y + _rotate(w0, 37) * _K0 + z & _M
    x = x + _rotate(v0 + z & _M, 49) * _K0 & _M
    for done in range(32, left + 32, 32):
        y = _rotate(y - x & _M, 42) * _K0 + v1 & _M
        tail = _FOUR.unpack_from(data, size - done)
        w0 = w0 + tail[2] & _M
        x = _rotate(x, 49) * _K0 + w0 & _M
        w0 = w0 + v0 & _M
        v0, v1 = _weak(tail, v0, v1)
    x, y = _join(x, v0), _join(y, w0)
    return _join(x + v1 & _M, w1) + y & _M, _join(x + w1 & _M, y + v1 & _M)
