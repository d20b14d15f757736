"""The ``usage_5m`` table: what money reads, by service."""

from core.schema.kinds import Kind
from core.schema.table import Column, Merge, Role, Stage, Table

USAGE_5M = Table(
    name="usage_5m",
    doc="What each service moved in 5 minutes. Rows are signed and add up: a correction takes "
    "the old amount away and adds the new one.",
    order_by=(
        *("service_id", "bin_at", "direction", "traffic_class", "exporter_addr"),
        *("operator_id", "correction_id", "node_id"),
    ),
    partition_by="toYYYYMM(bin_at)",
    time="bin_at",
    merge=Merge.SUM,
    columns=(
        Column("service_id", Kind.U32, "Whose it was.", Stage.ATTRIBUTE),
        Column("bin_at", Kind.TIME_S, "Start of the 5 minutes.", Stage.ATTRIBUTE),
        Column("direction", Kind.U8, "download or upload.", Stage.ATTRIBUTE),
        Column("traffic_class", Kind.U8, "Class by the rule table.", Stage.ATTRIBUTE),
        Column("exporter_addr", Kind.IP, "Who reported it.", Stage.DATAGRAM),
        Column("operator_id", Kind.U32, "Operator that owns the service.", Stage.ATTRIBUTE),
        Column("correction_id", Kind.U64, "Correction that wrote it, 0 for none.", Stage.LOAD),
        Column("node_id", Kind.U16, "Node whose journal it came from.", Stage.LOAD),
        Column("octets", Kind.I64, "Sampling applied.", unit="octets", role=Role.ADD),
        Column("packets", Kind.I64, "Sampling applied.", unit="packets", role=Role.ADD),
        Column("flows", Kind.I64, "Flow records that began in this bin.", role=Role.ADD),
        Column(
            "octets_upper",
            Kind.I64,
            "What unproven wraps may have lost at most; never billed.",
            unit="octets",
            role=Role.ADD,
        ),
        Column(
            "batch_id", Kind.U64, "Newest batch that brought a part.", Stage.LOAD, role=Role.MAX
        ),
    ),
)
