"""Loops over octets and columns that are compiled to machine code; only the decoder loads them."""
