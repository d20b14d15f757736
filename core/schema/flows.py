"""The ``flows`` table: one row for each flow record, as exported."""

from core.schema.kinds import Kind
from core.schema.table import COUNT, RISING, RUN, TIME, Column, Index, Stage, Table

FLOWS = Table(
    name="flows",
    doc="One row for each flow record that a router exported. A fact: never rewritten.",
    order_by=("local_addr", "direction", "received_at"),
    partition_by="toDate(received_at)",
    time="received_at",
    indexes=(
        Index("by_batch", "batch_id", "minmax"),
        Index("by_src", "src_addr", "bloom_filter(0.025)"),
        Index("by_dst", "dst_addr", "bloom_filter(0.025)"),
        Index("by_nat_src", "(nat_src_addr, nat_src_port)", "bloom_filter(0.025)"),
        Index("by_nat_dst", "(nat_dst_addr, nat_dst_port)", "bloom_filter(0.025)"),
    ),
    columns=(
        Column("received_at", Kind.TIME_MS, "Arrival of the datagram.", Stage.DATAGRAM, codec=TIME),
        Column("started_at", Kind.TIME_MS, "First packet of the flow.", codec=TIME),
        Column("ended_at", Kind.TIME_MS, "Last packet of the flow.", codec=TIME),
        Column("exporter_addr", Kind.IP, "Who sent the datagram.", Stage.DATAGRAM),
        Column("exporter_id", Kind.U32, "Registered exporter, 0 if unknown.", Stage.ATTRIBUTE),
        Column("operator_id", Kind.U32, "Operator that owns the exporter.", Stage.ATTRIBUTE),
        Column(
            "observation_domain",
            Kind.U32,
            "Domain or source id in the header (v5: engine type and id).",
            Stage.DATAGRAM,
        ),
        Column("flow_version", Kind.U8, "1, 5, 9, or 10 for IPFIX.", Stage.DATAGRAM),
        Column(
            "sampling_rate", Kind.U32, "One packet in this many was looked at; 1 when unsampled."
        ),
        Column("src_addr", Kind.IP, "Source; null when the record has none.", elements=(8, 27)),
        Column(
            "dst_addr", Kind.IP, "Destination; null when the record has none.", elements=(12, 28)
        ),
        Column("next_hop_addr", Kind.IP, "Next hop of the route.", elements=(15, 62, 18, 63)),
        Column("src_port", Kind.U16, "Source port.", elements=(7, 180, 182)),
        Column("dst_port", Kind.U16, "Destination port.", elements=(11, 181, 183)),
        Column("protocol", Kind.U8, "IP protocol number.", elements=(4,)),
        Column("tcp_flags", Kind.U16, "TCP flags seen, or-ed.", elements=(6,)),
        Column("tos", Kind.U8, "Type of service, first packet.", elements=(5,)),
        Column("icmp_type", Kind.U8, "ICMP type.", elements=(176, 178)),
        Column("icmp_code", Kind.U8, "ICMP code.", elements=(177, 179)),
        Column("in_if", Kind.U32, "Interface the flow came in by.", elements=(10, 252)),
        Column("out_if", Kind.U32, "Interface the flow left by.", elements=(14, 253)),
        Column("src_as", Kind.U32, "Autonomous system of the source.", elements=(16,)),
        Column("dst_as", Kind.U32, "Autonomous system of the destination.", elements=(17,)),
        Column("src_mask", Kind.U8, "Prefix length of the source's route.", elements=(9, 29)),
        Column("dst_mask", Kind.U8, "Prefix length of the destination's route.", elements=(13, 30)),
        Column("vlan_id", Kind.U16, "VLAN.", elements=(58, 243)),
        Column("src_mac", Kind.MAC, "Source MAC.", elements=(56,)),
        Column("dst_mac", Kind.MAC, "Destination MAC.", elements=(80,)),
        Column("nat_src_addr", Kind.IP, "Source after translation.", elements=(225, 281)),
        Column("nat_dst_addr", Kind.IP, "Destination after translation.", elements=(226, 282)),
        Column("nat_src_port", Kind.U16, "Source port after translation.", elements=(227,)),
        Column("nat_dst_port", Kind.U16, "Destination port after translation.", elements=(228,)),
        Column("flow_direction", Kind.U8, "As exported: 0 ingress, 1 egress.", elements=(61,)),
        Column(
            "octets",
            Kind.U64,
            "After repair of a proven counter wrap, before sampling.",
            elements=(1, 85, 231, 23),
            unit="octets",
            codec=COUNT,
        ),
        Column(
            "packets",
            Kind.U64,
            "As exported, before sampling.",
            elements=(2, 86, 298, 24),
            unit="packets",
            codec=COUNT,
        ),
        Column(
            "octets_repaired", Kind.U64, "Part of octets that a proven wrap added.", unit="octets"
        ),
        Column(
            "octets_upper",
            Kind.U64,
            "What unproven wraps may have lost at most; never billed.",
            unit="octets",
        ),
        Column("direction", Kind.U8, "download, upload, internal, transit.", Stage.ATTRIBUTE),
        Column("local_addr", Kind.IP, "The end that is ours.", Stage.ATTRIBUTE, codec=RUN),
        Column("src_service_id", Kind.U32, "Service of the source.", Stage.ATTRIBUTE),
        Column("dst_service_id", Kind.U32, "Service of the destination.", Stage.ATTRIBUTE),
        Column("traffic_class", Kind.U8, "Class by the rule table.", Stage.ATTRIBUTE),
        Column("remote_country", Kind.U16, "Country of the remote end.", Stage.ATTRIBUTE),
        Column("remote_as", Kind.U32, "Autonomous system of the remote end.", Stage.ATTRIBUTE),
        Column("batch_id", Kind.U64, "Batch that brought the row.", Stage.LOAD),
        Column("journal_segment", Kind.U64, "Segment of the datagram.", Stage.DATAGRAM),
        Column(
            "journal_offset",
            Kind.U64,
            "Position of the datagram in it.",
            Stage.DATAGRAM,
            codec=RISING,
        ),
    ),
)
