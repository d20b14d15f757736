"""The journal: raw datagrams in append-only segments of checksummed blocks.

It is the buffer between receiver and decoder, the recovery log, the evidence, and the way to
decode again. ``writer`` appends, ``reader`` reads, ``checkpoint`` says what a reader still needs.
"""
