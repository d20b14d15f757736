"""The ``nat_events`` table: address translations and port blocks, which carry no usage."""

from core.schema.kinds import Kind
from core.schema.table import Column, Index, Stage, Table

NAT_EVENTS = Table(
    name="nat_events",
    doc="One row for each translation or port block that a router reported. No usage.",
    order_by=("nat_src_addr", "nat_src_port", "event_at"),
    partition_by="toDate(received_at)",
    time="received_at",
    indexes=(
        Index("by_batch", "batch_id", "minmax"),
        Index("by_src", "src_addr", "bloom_filter(0.025)"),
    ),
    columns=(
        Column("received_at", Kind.TIME_MS, "Arrival of the datagram.", Stage.DATAGRAM),
        Column("event_at", Kind.TIME_MS, "When it happened, else the arrival."),
        Column("exporter_addr", Kind.IP, "Who sent the datagram.", Stage.DATAGRAM),
        Column("exporter_id", Kind.U32, "Registered exporter, 0 if unknown.", Stage.ATTRIBUTE),
        Column("operator_id", Kind.U32, "Operator that owns the exporter.", Stage.ATTRIBUTE),
        Column("observation_domain", Kind.U32, "Domain or source id.", Stage.DATAGRAM),
        Column("flow_version", Kind.U8, "9, or 10 for IPFIX.", Stage.DATAGRAM),
        Column("nat_event", Kind.U8, "IANA natEvent number.", elements=(230,)),
        Column("firewall_event", Kind.U8, "IANA firewallEvent number.", elements=(233,)),
        Column("protocol", Kind.U8, "IP protocol number.", elements=(4,)),
        Column("src_addr", Kind.IP, "Source before translation.", elements=(8, 27)),
        Column("dst_addr", Kind.IP, "Destination before translation.", elements=(12, 28)),
        Column("src_port", Kind.U16, "Source port before translation.", elements=(7,)),
        Column("dst_port", Kind.U16, "Destination port before translation.", elements=(11,)),
        Column("nat_src_addr", Kind.IP, "Source after translation.", elements=(225, 281)),
        Column("nat_dst_addr", Kind.IP, "Destination after translation.", elements=(226, 282)),
        Column("nat_src_port", Kind.U16, "Source port after translation.", elements=(227,)),
        Column("nat_dst_port", Kind.U16, "Destination port after translation.", elements=(228,)),
        Column("port_block_start", Kind.U16, "First port of a block.", elements=(361,)),
        Column("port_block_end", Kind.U16, "Last port of a block.", elements=(362,)),
        Column("port_block_step", Kind.U16, "Distance of its ports.", elements=(363,)),
        Column("port_block_size", Kind.U16, "Number of its ports.", elements=(364,)),
        Column("in_if", Kind.U32, "Interface it came in by.", elements=(10,)),
        Column("out_if", Kind.U32, "Interface it left by.", elements=(14,)),
        Column("in_vrf", Kind.U32, "VRF it came in by.", elements=(234,)),
        Column("out_vrf", Kind.U32, "VRF it left by.", elements=(235,)),
        Column("batch_id", Kind.U64, "Batch that brought the row.", Stage.LOAD),
        Column("journal_segment", Kind.U64, "Segment of the datagram.", Stage.DATAGRAM),
        Column("journal_offset", Kind.U64, "Position of the datagram in it.", Stage.DATAGRAM),
    ),
)
