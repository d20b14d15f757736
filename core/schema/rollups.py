"""The rollups: what each local address moved, by 5 minutes and by hour, sampling applied."""

from core.schema.kinds import Kind
from core.schema.table import COUNT, RUN, Column, Merge, Role, Stage, Table

_KEYS = (
    Column(
        "local_addr",
        Kind.IP,
        "The end that is ours; null for transit.",
        Stage.ATTRIBUTE,
        codec=RUN,
    ),
    Column(
        "bin_at",
        Kind.TIME_S,
        "Start of the bin in which the octets moved.",
        Stage.ATTRIBUTE,
        codec=RUN,
    ),
    Column("direction", Kind.U8, "download, upload, internal, transit.", Stage.ATTRIBUTE),
    Column("protocol", Kind.U8, "IP protocol number."),
    Column("traffic_class", Kind.U8, "Class by the rule table.", Stage.ATTRIBUTE),
    Column("remote_country", Kind.U16, "Country of the remote end.", Stage.ATTRIBUTE),
    Column("remote_as", Kind.U32, "Autonomous system of the remote end.", Stage.ATTRIBUTE),
    Column("exporter_addr", Kind.IP, "Who sent it.", Stage.DATAGRAM),
    Column("in_if", Kind.U32, "Interface it came in by."),
    Column("out_if", Kind.U32, "Interface it left by."),
    Column("exporter_id", Kind.U32, "Registered exporter, 0 if unknown.", Stage.ATTRIBUTE),
    Column("operator_id", Kind.U32, "Operator that owns the exporter.", Stage.ATTRIBUTE),
    Column("service_id", Kind.U32, "Service of the local end.", Stage.ATTRIBUTE),
    Column("node_id", Kind.U16, "Node whose journal it came from.", Stage.LOAD),
)
_SUMS = (
    Column("octets", Kind.U64, "Sampling applied.", unit="octets", codec=COUNT, role=Role.ADD),
    Column("packets", Kind.U64, "Sampling applied.", unit="packets", codec=COUNT, role=Role.ADD),
    Column("flows", Kind.U64, "Flow records that began in this bin.", codec=COUNT, role=Role.ADD),
    Column(
        "octets_upper",
        Kind.U64,
        "What unproven wraps may have lost at most; never billed.",
        unit="octets",
        role=Role.ADD,
    ),
    Column("batch_id", Kind.U64, "Newest batch that brought a part.", Stage.LOAD, role=Role.MAX),
)
_DOC = (
    "Octets and packets by local address and {every}, spread linearly over the time of each flow, "
    "sampling applied. Rows add up: always ask for sums."
)


def _rollup(name: str, every: str) -> Table:
    return Table(
        name=name,
        doc=_DOC.format(every=every),
        order_by=tuple(column.name for column in _KEYS),
        partition_by="toYYYYMM(bin_at)",
        time="bin_at",
        merge=Merge.SUM,
        columns=(*_KEYS, *_SUMS),
    )


ROLLUP_5M = _rollup("rollup_5m", "5 minutes")
ROLLUP_1H = _rollup("rollup_1h", "hour")
