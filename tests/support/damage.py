"""Hypothesis strategies that damage octets."""

from hypothesis import strategies as st


@st.composite
def mutations(draw: st.DrawFn, content: bytes) -> bytes:
    """Damage octets: change, cut, insert, repeat, or replace a 16-bit length or id."""
    octets = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(octets) - 1)))
        how = draw(st.sampled_from(("flip", "set", "cut", "drop", "insert", "short")))
        if how == "flip" and octets:
            octets[place] ^= 1 << draw(st.integers(0, 7))
        elif how == "set" and octets:
            octets[place] = draw(st.integers(0, 255))
        elif how == "cut":
            del octets[place:]
        elif how == "drop":
            del octets[place : place + draw(st.integers(1, 8))]
        elif how == "insert":
            octets[place:place] = draw(st.binary(min_size=1, max_size=8))
        else:
            short = draw(st.sampled_from((0, 1, 2, 3, 4, 5, 255, 256, 1_000, 32_768, 65_535)))
            octets[place : place + 2] = short.to_bytes(2, "big")
    return bytes(octets)


@st.composite
def overwritten(draw: st.DrawFn, content: bytes) -> bytes:
    """Change octets without changing how many there are."""
    octets = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        octets[draw(st.integers(0, len(octets) - 1))] = draw(st.integers(0, 255))
    return bytes(octets)
