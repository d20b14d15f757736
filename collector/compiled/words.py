"""The words in which a program tells the compiled loop what to do; saying them needs no compiler.

``collector.decoder.program`` writes programs, ``collector.compiled.records`` carries them out.
"""

# What a step does. Numbers whose width is a power of two, and not above the column's, are
# 16 * width on the wire + width of the column.
ANY_NUMBER, OTHER_NUMBER = 1, 2  # Of any width; and where the column is zero so far.
NARROW, MAPPED, WIDE, EITHER = 3, 4, 5, 6  # Addresses.
ICMP_PORT = 7  # Type and code out of the destination port, else zero, as the protocol says.
# Columns of a program's table: where a field lies, where it goes, and two more places.
OP, SOURCE, WIDTH, TARGET, TARGET_WIDTH, SECOND, THIRD = range(7)
STEP_SIZE = 7
# What else a call says: the first row to write, octets of a record, and where columns begin.
FIRST_ROW, SIZE, DATAGRAM_AT, OCTETS_AT, PACKETS_AT, STARTED_AT, ENDED_AT = range(7)
OCTETS_MAX = 1 << 44  # No flow carries more; a batch of them still adds up without overflow.
# What comes back: values too wide, the most packets of a row, stamps mended, durations cut.
TOO_WIDE, PACKETS_MAX, FALLBACKS, CUTS = range(4)
TOTALS = 4

# Clocks.
NO_STAMP, UPTIME, MILLISECONDS, SECONDS, NTP, DELTA = range(6)
# Places in the array of a time program: a clock, an offset and a width for each stamp.
START, END, EVENT = 0, 3, 6
DURATION, DURATION_WIDTH, DIVISOR, BOOT = 9, 10, 11, 12  # Offsets are -1 where there is none.
BOOT_WIDTH = 13
TIMES_SIZE = 14

PAST_MS = 24 * 3_600_000  # A stamp older than this is no record of a running network.
FUTURE_MS = 5 * 60_000
NTP_EPOCH_S = 2_208_988_800
DURATION_MAX_MS = 1 << 31  # MikroTik underflows to values above this.
