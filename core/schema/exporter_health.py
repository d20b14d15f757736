"""The ``exporter_health`` table: the loss ledger, by stream and minute."""

from core.schema.kinds import Kind
from core.schema.table import Column, Table

_GAP = "Missing between two received datagrams, in gap_unit; falls when a late one fills it."
_GAP_UNCERTAIN = (
    "Like gap, behind data sets that wait for their template: part is what they hold, part may "
    "be missing. Becomes gap, or nothing, when the last of that minute is decoded."
)
_GAP_KNOWN = (
    "Datagrams of the gap that our journal, allow-list or size limit is known to have cost."
)

EXPORTER_HEALTH = Table(
    name="exporter_health",
    doc="What arrived from each stream in each minute, and what is missing. Rows add up: one "
    "minute may have several, later ones correcting earlier ones.",
    order_by=("exporter_addr", "flow_version", "observation_domain", "minute_at"),
    partition_by="toYYYYMM(minute_at)",
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
        Column("datagrams", Kind.I64, "Datagrams decoded, and duplicates."),
        Column("datagram_octets", Kind.I64, "Their UDP payload.", unit="octets"),
        Column("flows", Kind.I64, "Flow records decoded."),
        Column("flow_octets", Kind.I64, "Sum of their octets, as exported.", unit="octets"),
        Column("nat_events", Kind.I64, "NAT event records decoded."),
        Column("options", Kind.I64, "Options records decoded."),
        Column("other_records", Kind.I64, "Records that are none of these."),
        Column("templates", Kind.I64, "Templates received."),
        Column("gap", Kind.I64, _GAP),
        Column("gap_uncertain", Kind.I64, _GAP_UNCERTAIN),
        Column("gap_datagrams_known", Kind.I64, _GAP_KNOWN, unit="datagrams"),
        Column("duplicates", Kind.I64, "Exact duplicates, dropped."),
        Column("reordered", Kind.I64, "Datagrams that came after a later one."),
        Column("restarts", Kind.I64, "Restarts of the exporter's sequence or uptime."),
        Column("strays", Kind.I64, "Datagrams whose sequence fits neither stream nor restart."),
        Column("dropped_kernel", Kind.I64, "Dropped by the kernel for want of buffer."),
        Column("dropped_journal", Kind.I64, "Dropped because the journal could not write."),
        Column("refused", Kind.I64, "From addresses that are not allowed."),
        Column("truncated", Kind.I64, "Cut because they were larger than the receiver takes."),
        Column("errors", Kind.I64, "Receiver's own records that could not be read."),
        Column("error_short_datagram", Kind.I64, "Datagrams that end within their header."),
        Column("error_unknown_version", Kind.I64, "Datagrams of no version we know."),
        Column(
            "error_length_mismatch",
            Kind.I64,
            "Datagrams whose header gives another length or count.",
        ),
        Column("error_bad_set_length", Kind.I64, "Sets below 4 octets or past the end."),
        Column("error_bad_set_id", Kind.I64, "Sets with an id that the RFC reserves."),
        Column("error_bad_template", Kind.I64, "Templates that contradict themselves."),
        Column("error_bad_record", Kind.I64, "Sets that end within a record."),
        Column("error_too_many_streams", Kind.I64, "Datagrams of more streams than are kept."),
        Column("error_too_many_templates", Kind.I64, "Templates beyond the limit of a stream."),
        Column("error_too_many_waiting", Kind.I64, "Sets beyond the limit of those that may wait."),
        Column(
            "error_unknown_enterprise",
            Kind.I64,
            "Fields of unknown enterprises in new templates, skipped.",
        ),
        Column("error_value_too_wide", Kind.I64, "Values that do not fit their column."),
        Column(
            "error_duration_cut", Kind.I64, "Records with an impossible duration, taken as none."
        ),
        Column("waiting_sets", Kind.I64, "Data sets put to wait for their template."),
        Column("released_sets", Kind.I64, "Waiting sets decoded later."),
        Column("expired_sets", Kind.I64, "Waiting sets given up."),
        Column("clock_fallbacks", Kind.I64, "Records whose stamps were replaced by the arrival."),
        Column("lost_flows", Kind.I64, "Estimated flows in the gap."),
        Column("lost_flows_low", Kind.I64, "Lower bound of the estimate."),
        Column("lost_flows_high", Kind.I64, "Upper bound of the estimate."),
        Column("lost_octets", Kind.I64, "Estimated octets in the gap.", unit="octets"),
        Column("lost_octets_low", Kind.I64, "Lower bound of the estimate.", unit="octets"),
        Column("lost_octets_high", Kind.I64, "Upper bound of the estimate.", unit="octets"),
    ),
)
