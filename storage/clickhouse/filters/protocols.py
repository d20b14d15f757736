"""Names of IP protocols and letters of TCP's flags, as people write them."""

FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32, "X": 63}

# The first name of a number is the one that is printed.
PROTOCOLS: dict[str, int] = {
    "hopopt": 0,
    "icmp": 1,
    "igmp": 2,
    "ggp": 3,
    "ipip4": 4,
    "ipencap": 4,
    "st": 5,
    "tcp": 6,
    "cbt": 7,
    "egp": 8,
    "igp": 9,
    "pup": 12,
    "udp": 17,
    "rdp": 27,
    "dccp": 33,
    "ipv6": 41,
    "ipv6-route": 43,
    "ipv6-frag": 44,
    "rsvp": 46,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmp6": 58,
    "icmpv6": 58,
    "ipv6-icmp": 58,
    "ipv6-nonxt": 59,
    "ipv6-opts": 60,
    "eigrp": 88,
    "ospf": 89,
    "ax.25": 93,
    "ipip": 94,
    "etherip": 97,
    "encap": 98,
    "pim": 103,
    "ipcomp": 108,
    "vrrp": 112,
    "l2tp": 115,
    "isis": 124,
    "sctp": 132,
    "fc": 133,
    "udplite": 136,
    "mpls-in-ip": 137,
    "manet": 138,
    "hip": 139,
    "shim6": 140,
}
_NAMES = {number: name for name, number in reversed(PROTOCOLS.items())}


def protocol_name(number: int) -> str:
    """Return the name, or the number where there is none."""
    return _NAMES.get(number, str(number))


def flag_bits(letters: str) -> int:
    """Return the bits of letters such as ``SA``."""
    bits = 0
    for letter in letters:
        bits |= FLAGS[letter]
    return bits
