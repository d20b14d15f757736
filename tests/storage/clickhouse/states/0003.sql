CREATE DATABASE IF NOT EXISTS flowledger;

CREATE TABLE IF NOT EXISTS flowledger.schema_migrations
(
    number UInt32,
    name String,
    checksum String,
    applied_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree()
ORDER BY number
COMMENT 'Steps by which these tables came to be as they are.';

CREATE TABLE IF NOT EXISTS flowledger.flows
(
    received_at DateTime64(3, 'UTC') CODEC(T64, ZSTD(1)) COMMENT 'Arrival of the datagram.',
    started_at DateTime64(3, 'UTC') CODEC(T64, ZSTD(1)) COMMENT 'First packet of the flow.',
    ended_at DateTime64(3, 'UTC') CODEC(T64, ZSTD(1)) COMMENT 'Last packet of the flow.',
    exporter_addr IPv6 CODEC(ZSTD(1)) COMMENT 'Who sent the datagram.',
    exporter_id UInt32 CODEC(ZSTD(1)) COMMENT 'Registered exporter, 0 if unknown.',
    operator_id UInt32 CODEC(ZSTD(1)) COMMENT 'Operator that owns the exporter.',
    observation_domain UInt32 CODEC(ZSTD(1)) COMMENT 'Domain or source id in the header (v5: engine type and id).',
    flow_version UInt8 CODEC(ZSTD(1)) COMMENT '1, 5, 9, or 10 for IPFIX.',
    sampling_rate UInt32 CODEC(ZSTD(1)) COMMENT 'One packet in this many was looked at; 1 when unsampled.',
    src_addr IPv6 CODEC(ZSTD(1)) COMMENT 'Source; null when the record has none.',
    dst_addr IPv6 CODEC(ZSTD(1)) COMMENT 'Destination; null when the record has none.',
    next_hop_addr IPv6 CODEC(ZSTD(1)) COMMENT 'Next hop of the route.',
    src_port UInt16 CODEC(ZSTD(1)) COMMENT 'Source port.',
    dst_port UInt16 CODEC(ZSTD(1)) COMMENT 'Destination port.',
    protocol UInt8 CODEC(ZSTD(1)) COMMENT 'IP protocol number.',
    tcp_flags UInt16 CODEC(ZSTD(1)) COMMENT 'TCP flags seen, or-ed.',
    tos UInt8 CODEC(ZSTD(1)) COMMENT 'Type of service, first packet.',
    icmp_type UInt8 CODEC(ZSTD(1)) COMMENT 'ICMP type.',
    icmp_code UInt8 CODEC(ZSTD(1)) COMMENT 'ICMP code.',
    in_if UInt32 CODEC(ZSTD(1)) COMMENT 'Interface the flow came in by.',
    out_if UInt32 CODEC(ZSTD(1)) COMMENT 'Interface the flow left by.',
    src_as UInt32 CODEC(ZSTD(1)) COMMENT 'Autonomous system of the source.',
    dst_as UInt32 CODEC(ZSTD(1)) COMMENT 'Autonomous system of the destination.',
    src_mask UInt8 CODEC(ZSTD(1)) COMMENT 'Prefix length of the source\'s route.',
    dst_mask UInt8 CODEC(ZSTD(1)) COMMENT 'Prefix length of the destination\'s route.',
    vlan_id UInt16 CODEC(ZSTD(1)) COMMENT 'VLAN.',
    src_mac UInt64 CODEC(ZSTD(1)) COMMENT 'Source MAC.',
    dst_mac UInt64 CODEC(ZSTD(1)) COMMENT 'Destination MAC.',
    nat_src_addr IPv6 CODEC(ZSTD(1)) COMMENT 'Source after translation.',
    nat_dst_addr IPv6 CODEC(ZSTD(1)) COMMENT 'Destination after translation.',
    nat_src_port UInt16 CODEC(ZSTD(1)) COMMENT 'Source port after translation.',
    nat_dst_port UInt16 CODEC(ZSTD(1)) COMMENT 'Destination port after translation.',
    flow_direction UInt8 CODEC(ZSTD(1)) COMMENT 'As exported: 0 ingress, 1 egress.',
    octets UInt64 CODEC(T64, LZ4) COMMENT 'After repair of a proven counter wrap, before sampling.',
    packets UInt64 CODEC(T64, LZ4) COMMENT 'As exported, before sampling.',
    octets_repaired UInt64 CODEC(ZSTD(1)) COMMENT 'Part of octets that a proven wrap added.',
    octets_upper UInt64 CODEC(ZSTD(1)) COMMENT 'What unproven wraps may have lost at most; never billed.',
    direction UInt8 CODEC(ZSTD(1)) COMMENT 'download, upload, internal, transit.',
    local_addr IPv6 CODEC(LZ4) COMMENT 'The end that is ours.',
    src_service_id UInt32 CODEC(ZSTD(1)) COMMENT 'Service of the source.',
    dst_service_id UInt32 CODEC(ZSTD(1)) COMMENT 'Service of the destination.',
    traffic_class UInt8 CODEC(ZSTD(1)) COMMENT 'Class by the rule table.',
    remote_country UInt16 CODEC(ZSTD(1)) COMMENT 'Country of the remote end.',
    remote_as UInt32 CODEC(ZSTD(1)) COMMENT 'Autonomous system of the remote end.',
    batch_id UInt64 CODEC(ZSTD(1)) COMMENT 'Batch that brought the row.',
    journal_segment UInt64 CODEC(ZSTD(1)) COMMENT 'Segment of the datagram.',
    journal_offset UInt64 CODEC(Delta(8), ZSTD(1)) COMMENT 'Position of the datagram in it.',
    INDEX by_batch batch_id TYPE minmax GRANULARITY 1,
    INDEX by_src src_addr TYPE bloom_filter(0.025) GRANULARITY 1,
    INDEX by_dst dst_addr TYPE bloom_filter(0.025) GRANULARITY 1,
    INDEX by_nat_src (nat_src_addr, nat_src_port) TYPE bloom_filter(0.025) GRANULARITY 1,
    INDEX by_nat_dst (nat_dst_addr, nat_dst_port) TYPE bloom_filter(0.025) GRANULARITY 1
)
ENGINE = MergeTree()
PARTITION BY toDate(received_at)
ORDER BY (local_addr, direction, received_at)
TTL toDateTime(received_at, 'UTC') + toIntervalSecond(2592000)
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, min_bytes_for_wide_part = 268435456, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, merge_selector_base = 8
COMMENT 'One row for each flow record that a router exported. A fact: never rewritten.';

CREATE TABLE IF NOT EXISTS flowledger.nat_events
(
    received_at DateTime64(3, 'UTC') CODEC(ZSTD(1)) COMMENT 'Arrival of the datagram.',
    event_at DateTime64(3, 'UTC') CODEC(ZSTD(1)) COMMENT 'When it happened, else the arrival.',
    exporter_addr IPv6 CODEC(ZSTD(1)) COMMENT 'Who sent the datagram.',
    exporter_id UInt32 CODEC(ZSTD(1)) COMMENT 'Registered exporter, 0 if unknown.',
    operator_id UInt32 CODEC(ZSTD(1)) COMMENT 'Operator that owns the exporter.',
    observation_domain UInt32 CODEC(ZSTD(1)) COMMENT 'Domain or source id.',
    flow_version UInt8 CODEC(ZSTD(1)) COMMENT '9, or 10 for IPFIX.',
    nat_event UInt8 CODEC(ZSTD(1)) COMMENT 'IANA natEvent number.',
    firewall_event UInt8 CODEC(ZSTD(1)) COMMENT 'IANA firewallEvent number.',
    protocol UInt8 CODEC(ZSTD(1)) COMMENT 'IP protocol number.',
    src_addr IPv6 CODEC(ZSTD(1)) COMMENT 'Source before translation.',
    dst_addr IPv6 CODEC(ZSTD(1)) COMMENT 'Destination before translation.',
    src_port UInt16 CODEC(ZSTD(1)) COMMENT 'Source port before translation.',
    dst_port UInt16 CODEC(ZSTD(1)) COMMENT 'Destination port before translation.',
    nat_src_addr IPv6 CODEC(ZSTD(1)) COMMENT 'Source after translation.',
    nat_dst_addr IPv6 CODEC(ZSTD(1)) COMMENT 'Destination after translation.',
    nat_src_port UInt16 CODEC(ZSTD(1)) COMMENT 'Source port after translation.',
    nat_dst_port UInt16 CODEC(ZSTD(1)) COMMENT 'Destination port after translation.',
    port_block_start UInt16 CODEC(ZSTD(1)) COMMENT 'First port of a block.',
    port_block_end UInt16 CODEC(ZSTD(1)) COMMENT 'Last port of a block.',
    port_block_step UInt16 CODEC(ZSTD(1)) COMMENT 'Distance of its ports.',
    port_block_size UInt16 CODEC(ZSTD(1)) COMMENT 'Number of its ports.',
    in_if UInt32 CODEC(ZSTD(1)) COMMENT 'Interface it came in by.',
    out_if UInt32 CODEC(ZSTD(1)) COMMENT 'Interface it left by.',
    in_vrf UInt32 CODEC(ZSTD(1)) COMMENT 'VRF it came in by.',
    out_vrf UInt32 CODEC(ZSTD(1)) COMMENT 'VRF it left by.',
    batch_id UInt64 CODEC(ZSTD(1)) COMMENT 'Batch that brought the row.',
    journal_segment UInt64 CODEC(ZSTD(1)) COMMENT 'Segment of the datagram.',
    journal_offset UInt64 CODEC(ZSTD(1)) COMMENT 'Position of the datagram in it.',
    INDEX by_batch batch_id TYPE minmax GRANULARITY 1,
    INDEX by_src src_addr TYPE bloom_filter(0.025) GRANULARITY 1
)
ENGINE = MergeTree()
PARTITION BY toDate(received_at)
ORDER BY (nat_src_addr, nat_src_port, event_at)
TTL toDateTime(received_at, 'UTC') + toIntervalSecond(31536000)
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, min_bytes_for_wide_part = 268435456, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, merge_selector_base = 8
COMMENT 'One row for each translation or port block that a router reported. No usage.';

CREATE TABLE IF NOT EXISTS flowledger.exporter_health
(
    minute_at DateTime64(3, 'UTC') CODEC(ZSTD(1)) COMMENT 'Start of the minute of arrival.',
    exporter_addr IPv6 CODEC(ZSTD(1)) COMMENT 'Who sent it; null for what the receiver cannot tell by exporter.',
    observation_domain UInt32 CODEC(ZSTD(1)) COMMENT 'Domain or source id.',
    flow_version UInt8 CODEC(ZSTD(1)) COMMENT '1, 5, 9, or 10 for IPFIX; 0 for the receiver\'s own counts.',
    gap_unit UInt8 CODEC(ZSTD(1)) COMMENT '0 none, 1 flows (v5), 2 datagrams (v9), 3 records (IPFIX).',
    node_id UInt16 CODEC(ZSTD(1)) COMMENT 'Node whose journal it came from.',
    datagrams SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Datagrams decoded, and duplicates.',
    datagram_octets SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Their UDP payload.',
    flows SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Flow records decoded.',
    flow_octets SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Sum of their octets, as exported.',
    nat_events SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'NAT event records decoded.',
    options SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Options records decoded.',
    other_records SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Records that are none of these.',
    templates SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Templates received.',
    gap SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Missing between two received datagrams, in gap_unit; falls when a late one fills it.',
    gap_uncertain SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Like gap, behind data sets that wait for their template: part is what they hold, part may be missing. Becomes gap, or nothing, when the last of that minute is decoded.',
    gap_datagrams_known SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Datagrams of the gap that our journal, allow-list or size limit is known to have cost.',
    duplicates SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Exact duplicates, dropped.',
    reordered SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Datagrams that came after a later one.',
    restarts SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Restarts of the exporter\'s sequence or uptime.',
    strays SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Datagrams whose sequence fits neither stream nor restart.',
    dropped_kernel SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Dropped by the kernel for want of buffer.',
    dropped_journal SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Dropped because the journal could not write.',
    refused SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'From addresses that are not allowed.',
    truncated SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Cut because they were larger than the receiver takes.',
    errors SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Receiver\'s own records that could not be read.',
    error_short_datagram SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Datagrams that end within their header.',
    error_unknown_version SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Datagrams of no version we know.',
    error_length_mismatch SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Datagrams whose header gives another length or count.',
    error_bad_set_length SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Sets below 4 octets or past the end.',
    error_bad_set_id SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Sets with an id that the RFC reserves.',
    error_bad_template SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Templates that contradict themselves.',
    error_bad_record SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Sets that end within a record.',
    error_too_many_streams SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Datagrams of more streams than are kept.',
    error_too_many_templates SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Templates beyond the limit of a stream.',
    error_too_many_waiting SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Sets beyond the limit of those that may wait.',
    error_unknown_enterprise SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Fields of unknown enterprises in new templates, skipped.',
    error_value_too_wide SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Values that do not fit their column.',
    error_duration_cut SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Records with an impossible duration, taken as none.',
    waiting_sets SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Data sets put to wait for their template.',
    released_sets SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Waiting sets decoded later.',
    expired_sets SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Waiting sets given up.',
    clock_fallbacks SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Records whose stamps were replaced by the arrival.',
    lost_flows SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Estimated flows in the gap.',
    lost_flows_low SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Lower bound of the estimate.',
    lost_flows_high SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Upper bound of the estimate.',
    lost_octets SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Estimated octets in the gap.',
    lost_octets_low SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Lower bound of the estimate.',
    lost_octets_high SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Upper bound of the estimate.',
    batch_id SimpleAggregateFunction(max, UInt64) CODEC(ZSTD(1)) COMMENT 'Newest batch that brought a part.'
)
ENGINE = AggregatingMergeTree()
PARTITION BY toYYYYMM(minute_at)
ORDER BY (exporter_addr, flow_version, observation_domain, minute_at, gap_unit, node_id)
TTL toDateTime(minute_at, 'UTC') + toIntervalSecond(31536000)
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, min_bytes_for_wide_part = 268435456, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
COMMENT 'What arrived from each stream in each minute, and what is missing. Rows add up: one minute may have several, later ones correcting earlier ones.';

CREATE TABLE IF NOT EXISTS flowledger.rollup_5m
(
    local_addr IPv6 CODEC(LZ4) COMMENT 'The end that is ours; null for transit.',
    bin_at DateTime('UTC') CODEC(LZ4) COMMENT 'Start of the bin in which the octets moved.',
    direction UInt8 CODEC(ZSTD(1)) COMMENT 'download, upload, internal, transit.',
    protocol UInt8 CODEC(ZSTD(1)) COMMENT 'IP protocol number.',
    traffic_class UInt8 CODEC(ZSTD(1)) COMMENT 'Class by the rule table.',
    remote_country UInt16 CODEC(ZSTD(1)) COMMENT 'Country of the remote end.',
    remote_as UInt32 CODEC(ZSTD(1)) COMMENT 'Autonomous system of the remote end.',
    exporter_addr IPv6 CODEC(ZSTD(1)) COMMENT 'Who sent it.',
    in_if UInt32 CODEC(ZSTD(1)) COMMENT 'Interface it came in by.',
    out_if UInt32 CODEC(ZSTD(1)) COMMENT 'Interface it left by.',
    exporter_id UInt32 CODEC(ZSTD(1)) COMMENT 'Registered exporter, 0 if unknown.',
    operator_id UInt32 CODEC(ZSTD(1)) COMMENT 'Operator that owns the exporter.',
    service_id UInt32 CODEC(ZSTD(1)) COMMENT 'Service of the local end.',
    node_id UInt16 CODEC(ZSTD(1)) COMMENT 'Node whose journal it came from.',
    octets SimpleAggregateFunction(sum, UInt64) CODEC(T64, LZ4) COMMENT 'Sampling applied.',
    packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, LZ4) COMMENT 'Sampling applied.',
    flows SimpleAggregateFunction(sum, UInt64) CODEC(T64, LZ4) COMMENT 'Flow records that began in this bin.',
    octets_upper SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)) COMMENT 'What unproven wraps may have lost at most; never billed.',
    batch_id SimpleAggregateFunction(max, UInt64) CODEC(ZSTD(1)) COMMENT 'Newest batch that brought a part.'
)
ENGINE = AggregatingMergeTree()
PARTITION BY toYYYYMM(bin_at)
ORDER BY (local_addr, bin_at, direction, protocol, traffic_class, remote_country, remote_as, exporter_addr, in_if, out_if, exporter_id, operator_id, service_id, node_id)
TTL bin_at + toIntervalSecond(7776000)
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, min_bytes_for_wide_part = 268435456, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
COMMENT 'Octets and packets by local address and 5 minutes, spread linearly over the time of each flow, sampling applied. Rows add up: always ask for sums.';

CREATE TABLE IF NOT EXISTS flowledger.rollup_1h
(
    local_addr IPv6 CODEC(LZ4) COMMENT 'The end that is ours; null for transit.',
    bin_at DateTime('UTC') CODEC(LZ4) COMMENT 'Start of the bin in which the octets moved.',
    direction UInt8 CODEC(ZSTD(1)) COMMENT 'download, upload, internal, transit.',
    protocol UInt8 CODEC(ZSTD(1)) COMMENT 'IP protocol number.',
    traffic_class UInt8 CODEC(ZSTD(1)) COMMENT 'Class by the rule table.',
    remote_country UInt16 CODEC(ZSTD(1)) COMMENT 'Country of the remote end.',
    remote_as UInt32 CODEC(ZSTD(1)) COMMENT 'Autonomous system of the remote end.',
    exporter_addr IPv6 CODEC(ZSTD(1)) COMMENT 'Who sent it.',
    in_if UInt32 CODEC(ZSTD(1)) COMMENT 'Interface it came in by.',
    out_if UInt32 CODEC(ZSTD(1)) COMMENT 'Interface it left by.',
    exporter_id UInt32 CODEC(ZSTD(1)) COMMENT 'Registered exporter, 0 if unknown.',
    operator_id UInt32 CODEC(ZSTD(1)) COMMENT 'Operator that owns the exporter.',
    service_id UInt32 CODEC(ZSTD(1)) COMMENT 'Service of the local end.',
    node_id UInt16 CODEC(ZSTD(1)) COMMENT 'Node whose journal it came from.',
    octets SimpleAggregateFunction(sum, UInt64) CODEC(T64, LZ4) COMMENT 'Sampling applied.',
    packets SimpleAggregateFunction(sum, UInt64) CODEC(T64, LZ4) COMMENT 'Sampling applied.',
    flows SimpleAggregateFunction(sum, UInt64) CODEC(T64, LZ4) COMMENT 'Flow records that began in this bin.',
    octets_upper SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)) COMMENT 'What unproven wraps may have lost at most; never billed.',
    batch_id SimpleAggregateFunction(max, UInt64) CODEC(ZSTD(1)) COMMENT 'Newest batch that brought a part.'
)
ENGINE = AggregatingMergeTree()
PARTITION BY toYYYYMM(bin_at)
ORDER BY (local_addr, bin_at, direction, protocol, traffic_class, remote_country, remote_as, exporter_addr, in_if, out_if, exporter_id, operator_id, service_id, node_id)
TTL bin_at + toIntervalSecond(94608000)
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, min_bytes_for_wide_part = 268435456, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
COMMENT 'Octets and packets by local address and hour, spread linearly over the time of each flow, sampling applied. Rows add up: always ask for sums.';

CREATE TABLE IF NOT EXISTS flowledger.usage_5m
(
    service_id UInt32 CODEC(ZSTD(1)) COMMENT 'Whose it was.',
    bin_at DateTime('UTC') CODEC(ZSTD(1)) COMMENT 'Start of the 5 minutes.',
    direction UInt8 CODEC(ZSTD(1)) COMMENT 'download or upload.',
    traffic_class UInt8 CODEC(ZSTD(1)) COMMENT 'Class by the rule table.',
    exporter_addr IPv6 CODEC(ZSTD(1)) COMMENT 'Who reported it.',
    operator_id UInt32 CODEC(ZSTD(1)) COMMENT 'Operator that owns the service.',
    correction_id UInt64 CODEC(ZSTD(1)) COMMENT 'Correction that wrote it, 0 for none.',
    node_id UInt16 CODEC(ZSTD(1)) COMMENT 'Node whose journal it came from.',
    octets SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Sampling applied.',
    packets SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Sampling applied.',
    flows SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'Flow records that began in this bin.',
    octets_upper SimpleAggregateFunction(sum, Int64) CODEC(ZSTD(1)) COMMENT 'What unproven wraps may have lost at most; never billed.',
    batch_id SimpleAggregateFunction(max, UInt64) CODEC(ZSTD(1)) COMMENT 'Newest batch that brought a part.'
)
ENGINE = AggregatingMergeTree()
PARTITION BY toYYYYMM(bin_at)
ORDER BY (service_id, bin_at, direction, traffic_class, exporter_addr, operator_id, correction_id, node_id)
TTL bin_at + toIntervalSecond(220752000)
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 0, ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1, min_bytes_for_wide_part = 268435456, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
COMMENT 'What each service moved in 5 minutes. Rows are signed and add up: a correction takes the old amount away and adds the new one.';
