"""The ``exporter_health`` table: the loss ledger, by stream and minute."""

from core.schema.kinds import Kind
from core.schema.table import Column, Merge, Role, Stage, Table

_GAP = "Missing between two received datagrams, in gap_unit; falls when a late one fills it."
_GAP_UNCERTAIN = (
    "Like gap, behind data sets that wait for their template: part is what they hold, part may "
    "be missing. Becomes gap, or nothing, when the last of that minute is decoded."
)
_GAP_KNOWN = (
    "Datagrams of the gap that our journal, allow-list or size limit is known to have cost."
)


def _count(name: str, doc: str, *, unit: str = "") -> Column:
    return Column(name, Kind.I64, doc, unit=unit, role=Role.ADD)


EXPORTER_HEALTH = Table(
    name="exporter_health",
    doc="What arrived from each stream in each minute, and what is missing. Rows add up: one "
    "minute may have several, later ones correcting earlier ones.",
    order_by=(
        *("exporter_addr", "flow_version", "observation_domain", "minute_at"),
        *("gap_unit", "node_id"),
    ),
    partition_by="toYYYYMM(minute_at)",
    time="minute_at",
    merge=Merge.SUM,
    columns=(
        Column("minute_at", Kind.TIME_MS, "Start of the minute of arrival."),
        Column(
            "exporter_addr",
            Kind.IP,
            "Who sent it; null for what the receiver cannot tell by exporter.",
        ),
        Column("observation_domain", Kind.U32, "Domain or source id."),
        Column(
            "flow_version", Kind.U8, "1, 5, 9, or 10 for IPFIX; 0 for the receiver's own counts."
        ),
        Column("gap_unit", Kind.U8, "0 none, 1 flows (v5), 2 datagrams (v9), 3 records (IPFIX)."),
        Column("node_id", Kind.U16, "Node whose journal it came from.", Stage.LOAD),
        _count("datagrams", "Datagrams decoded, and duplicates."),
        _count("datagram_octets", "Their UDP payload.", unit="octets"),
        _count("flows", "Flow records decoded."),
        _count("flow_octets", "Sum of their octets, as exported.", unit="octets"),
        _count("nat_events", "NAT event records decoded."),
        _count("options", "Options records decoded."),
        _count("other_records", "Records that are none of these."),
        _count("templates", "Templates received."),
        _count("gap", _GAP),
        _count("gap_uncertain", _GAP_UNCERTAIN),
        _count("gap_datagrams_known", _GAP_KNOWN, unit="datagrams"),
        _count("duplicates", "Exact duplicates, dropped."),
        _count("reordered", "Datagrams that came after a later one."),
        _count("restarts", "Restarts of the exporter's sequence or uptime."),
        _count("strays", "Datagrams whose sequence fits neither stream nor restart."),
        _count("dropped_kernel", "Dropped by the kernel for want of buffer."),
        _count("dropped_journal", "Dropped because the journal could not write."),
        _count("refused", "From addresses that are not allowed."),
        _count("truncated", "Cut because they were larger than the receiver takes."),
        _count("errors", "Receiver's own records that could not be read."),
        _count("error_short_datagram", "Datagrams that end within their header."),
        _count("error_unknown_version", "Datagrams of no version we know."),
        _count(
            "error_length_mismatch",
            "Datagrams whose header gives another length or count.",
        ),
        _count("error_bad_set_length", "Sets below 4 octets or past the end."),
        _count("error_bad_set_id", "Sets with an id that the RFC reserves."),
        _count("error_bad_template", "Templates that contradict themselves."),
        _count("error_bad_record", "Sets that end within a record."),
        _count("error_too_many_streams", "Datagrams of more streams than are kept."),
        _count("error_too_many_templates", "Templates beyond the limit of a stream."),
        _count("error_too_many_waiting", "Sets beyond the limit of those that may wait."),
        _count(
            "error_unknown_enterprise",
            "Fields of unknown enterprises in new templates, skipped.",
        ),
        _count("error_value_too_wide", "Values that do not fit their column."),
        _count("error_duration_cut", "Records with an impossible duration, taken as none."),
        _count("waiting_sets", "Data sets put to wait for their template."),
        _count("released_sets", "Waiting sets decoded later."),
        _count("expired_sets", "Waiting sets given up."),
        _count("clock_fallbacks", "Records whose stamps were replaced by the arrival."),
        _count("lost_flows", "Estimated flows in the gap."),
        _count("lost_flows_low", "Lower bound of the estimate."),
        _count("lost_flows_high", "Upper bound of the estimate."),
        _count("lost_octets", "Estimated octets in the gap.", unit="octets"),
        _count("lost_octets_low", "Lower bound of the estimate.", unit="octets"),
        _count("lost_octets_high", "Upper bound of the estimate.", unit="octets"),
        Column(
            "batch_id", Kind.U64, "Newest batch that brought a part.", Stage.LOAD, role=Role.MAX
        ),
    ),
)
