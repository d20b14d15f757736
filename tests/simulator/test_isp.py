"""The simulated ISP: repeatable, true to its truth, and true to each protocol."""

import hashlib
from collections import Counter, defaultdict
from fractions import Fraction
from ipaddress import ip_address
from typing import Any

import numpy as np
import polars as pl
import pytest

from core.errors import UsageError
from simulator.isp import Isp
from simulator.profile import Faults, Profile
from simulator.truth import spread
from tests.simulator.reading import Datagram, Reader
from tests.simulator.running import KINDS, SMALL, counters, read, run, wire_keys


@pytest.fixture(scope="module")
def plain() -> tuple[Isp, dict[int, list[Any]]]:
    return run(Profile(**SMALL))


def digest(profile: Profile, seed: int) -> str:
    isp = Isp(profile, seed)
    whole = hashlib.sha256()
    for batch in isp.datagrams(20):
        for index in range(len(batch)):
            whole.update(isp.exporters[int(batch.exporter[index])].address.encode())
            whole.update(int(batch.sent_ns[index]).to_bytes(8, "big"))
            whole.update(batch.payload(index))
    return whole.hexdigest()


def test_the_same_seed_gives_the_same_octets() -> None:
    profile = Profile(**SMALL, faults=Faults(0.01, 0.01, 0.01), restarts_s=(8,))
    assert digest(profile, 5) == digest(profile, 5)
    assert digest(profile, 5) != digest(profile, 6)


def test_faults_do_not_change_the_traffic(plain: Any) -> None:
    isp, _ = run(Profile(**SMALL, faults=Faults(loss=0.2, duplicates=0.1, reordering=0.1)))
    assert (
        isp.truth.usage()
        .drop("octets_lost", "packets_lost")
        .equals(plain[0].truth.usage().drop("octets_lost", "packets_lost"))
    )
    assert isp.truth.usage()["octets_lost"].sum() > 0


def test_the_wire_says_what_the_truth_says(plain: Any) -> None:
    isp, by_exporter = plain
    frame = isp.flow_log.frame()
    assert set(frame["exporter_kind"]) == set(KINDS)
    columns = (
        *("exporter_addr", "template_id", "src_addr", "dst_addr", "src_port", "dst_port"),
        *("protocol", "octets_wire", "packets"),
    )
    assert wire_keys(isp, by_exporter) == Counter(frame.select(columns).rows())
    assert frame["is_lost"].sum() == 0


def test_times_on_the_wire_are_those_of_the_truth(plain: Any) -> None:
    isp, by_exporter = plain
    frame = isp.flow_log.frame()
    for index, stream in by_exporter.items():
        exporter = isp.exporters[index]
        if exporter.kind.name == "ipfix":
            continue  # Uptimes without a start of the router: nobody can tell.
        mine = frame.filter(pl.col("exporter_addr") == exporter.address)
        stamps = mine.select(pl.col("started_at", "ended_at").cast(pl.Int64)).rows()
        assert Counter(stamps) == Counter(_times(read(stream))), exporter.kind.name


def _times(datagrams: list[Datagram]) -> list[tuple[int, int]]:
    times = []
    for datagram in datagrams:
        now_ms = datagram.secs * 1000 + datagram.nsecs // 1_000_000
        for _, record in datagram.records:
            if 152 in record:
                times.append((record[152], record[153]))
                continue
            pair = []
            for element in (22, 21):
                if 160 in record:
                    pair.append(record[160] + record[element])
                    continue
                # Modulo 2**32, and a little after the header's clock is possible.
                behind = (datagram.uptime - record[element]) & 0xFFFFFFFF
                pair.append(now_ms - (behind - (1 << 32) if behind >= 1 << 31 else behind))
            times.append((pair[0], pair[1]))
    return times


def test_sequence_numbers_follow_each_protocol(plain: Any) -> None:
    isp, by_exporter = plain
    for index, stream in by_exporter.items():
        datagrams = read(stream)
        expected = datagrams[0].sequence
        if isp.exporters[index].kind.is_mikrotik:
            assert expected == 0
        for datagram in datagrams:
            assert datagram.sequence == expected & 0xFFFFFFFF
            if datagram.version == 9:
                expected += 1  # Template datagrams count.
            else:
                expected += len(datagram.records) + len(datagram.options)


def test_v9_counts_records_and_templates_in_its_header(plain: Any) -> None:
    for stream in plain[1].values():
        for datagram in read(stream):
            if datagram.version == 9:
                total = len(datagram.templates) + len(datagram.options) + len(datagram.records)
                assert datagram.count == total


@pytest.mark.parametrize("timeout_s", [60, 2])
def test_templates_go_alone_before_every_twentieth_data_datagram(timeout_s: int) -> None:
    profile = Profile(
        subscribers=120, routers=2, versions=("v9", "ipfix"), template_timeout_s=timeout_s
    )
    _, by_exporter = run(profile, seconds=60)
    gaps = []
    for stream in by_exporter.values():
        datagrams = read(stream)
        assert datagrams[0].templates
        since = 0
        sent_ns = 0
        for (now_ns, _), datagram in zip(stream, datagrams, strict=True):
            if datagram.templates:
                assert not datagram.records
                assert len(datagram.templates) == 2
                gaps.append(since)
                since, sent_ns = 0, now_ns
            else:
                assert now_ns - sent_ns < timeout_s * 10**9
                since += 1
                assert since <= 20
    assert (20 in gaps) == (timeout_s == 60)


def test_mikrotik_templates_are_those_that_were_captured(plain: Any) -> None:
    v9_4 = "21:4 22:4 2:4 1:4 10:4 14:4 8:4 12:4 4:1 5:1 7:2 11:2 15:4 13:1 9:1 6:1"
    v9_4 += " 80:6 56:6 57:6 81:6 225:4 226:4 227:2 228:2"
    v9_6 = "60:1 27:16 29:1 10:4 28:16 30:1 14:4 62:16 4:1 6:1 5:1 7:2 11:2 31:4 64:4 21:4 22:4"
    v9_6 += " 1:4 2:4 80:6 56:6 57:6 81:6"
    head = "60:1 22:4 21:4 2:4 1:4 7:2 11:2 10:4 14:4 4:1 6:1 "
    expected = {
        256: (v9_4, 81),
        257: (v9_6, 114),
        258: (head + "8:4 12:4 15:4 225:4 226:4", 51),
        259: (head + "27:16 28:16 62:16", 79),
    }
    isp, by_exporter = plain
    for index, stream in by_exporter.items():
        if isp.exporters[index].kind.name not in {"v9", "ipfix"}:
            continue
        reader = Reader()
        for _, payload in stream:
            reader.read(payload)
        for template_id, fields in reader.templates.items():
            text, size = expected[template_id]
            assert " ".join(f"{element}:{length}" for element, length in fields) == text
            assert sum(length for _, length in fields) == size


def test_sets_are_padded_as_each_maker_does_and_fit_the_mtu(plain: Any) -> None:
    isp, by_exporter = plain
    seen = Counter()
    for index, stream in by_exporter.items():
        kind = isp.exporters[index].kind
        assert max(len(payload) for _, payload in stream) <= 1472
        for datagram in read(stream):
            for padding in datagram.paddings:
                if datagram.records:
                    seen[kind.name, len(padding)] += 1
                if kind.name.startswith("ipfix") and kind.is_mikrotik and datagram.records:
                    assert padding == b"\x6b\xab\x6b"[: len(padding)]
                else:
                    assert not any(padding)
    assert seen["ipfix", 2]
    assert seen["v9", 3]


def test_nat_is_told_as_routeros_tells_it() -> None:
    profile = Profile(subscribers=40, routers=1, versions=("v9",), nat_share=0.5, ipv6_share=0.3)
    isp, by_exporter = run(profile)
    private = {
        str(ip_address(int(isp.population.ipv4[index])))
        for index in np.flatnonzero(isp.population.is_natted)
    }
    assert private
    seen = Counter()
    for datagram in read(by_exporter[0]):
        for _, record in datagram.records:
            if 8 not in record:
                continue
            src, dst, nat_src, nat_dst = (record[key] for key in (8, 12, 225, 226))
            assert "0.0.0.0" not in {nat_src, nat_dst}  # noqa: S104  # Not an address to bind.
            if src in private:
                seen["upload"] += 1
                assert nat_src.startswith("203.0.113.")
                assert (nat_dst, record[228]) == (dst, record[11])
                assert record[227] != 0 or record[4] == 1
            elif dst.startswith("203.0.113."):
                seen["download"] += 1
                assert nat_dst in private
                assert (nat_src, record[227]) == (src, record[7])
            else:
                seen["untranslated"] += 1
                assert (src, dst, record[7], record[11]) == (
                    *(nat_src, nat_dst, record[227], record[228]),
                )
    assert min(seen["upload"], seen["download"], seen["untranslated"]) > 10


def test_usage_is_the_sum_of_the_records_spread_over_time() -> None:
    profile = Profile(
        **SMALL | {"subscribers": 21}, active_timeout_s=400, start_ms=1_767_571_190_000, sampling=8
    )
    isp, _ = run(profile, seconds=1500)
    expected: dict[Any, list[int]] = defaultdict(lambda: [0, 0])
    rows = isp.flow_log.frame().select(
        *("subscriber_addr", "direction", "octets", "packets", "sampling_rate"),
        pl.col("started_at", "ended_at").cast(pl.Int64),
    )
    crossing = 0
    for address, direction, octets, packets, sampling, start, end in rows.rows():
        bins = _overlaps(start, end)
        crossing += len(bins) > 1
        for column, amount in enumerate((octets * sampling, packets * sampling)):
            for number, share in _by_largest_remainder(amount, bins).items():
                expected[address, direction, number][column] += share
    assert crossing > 20
    usage = isp.truth.usage().with_columns(pl.col("bin_at").cast(pl.Int64) // 300_000)
    got = {tuple(row[:3]): list(row[3:5]) for row in usage.rows()}
    assert got == {key: value for key, value in expected.items() if any(value)}


def _overlaps(start: int, end: int) -> dict[int, int]:
    end = max(end, start + 1)
    numbers = range(start // 300_000, (end - 1) // 300_000 + 1)
    return {n: min(end, (n + 1) * 300_000) - max(start, n * 300_000) for n in numbers}


def _by_largest_remainder(amount: int, weights: dict[int, int]) -> dict[int, int]:
    total = sum(weights.values())
    exact = {number: Fraction(amount * weight, total) for number, weight in weights.items()}
    shares = {number: int(value) for number, value in exact.items()}
    order = sorted(exact, key=lambda number: (shares[number] - exact[number], number))
    for number in order[: amount - sum(shares.values())]:
        shares[number] += 1
    return shares


def test_equal_remainders_go_to_the_earlier_bin() -> None:
    bins, shares = spread(np.array([5, 7]), np.array([150_000, 0]), np.array([450_000, 0]))
    assert bins[0].tolist() == [0, 1]
    assert shares.tolist() == [[3, 2], [7, 0]]


def test_a_restart_begins_sequence_uptime_and_templates_again() -> None:
    profile = Profile(
        subscribers=90, routers=3, versions=("v9", "ipfix", "v5"), restarts_s=(20, 25, 30)
    )
    isp, by_exporter = run(profile, seconds=60)
    for index, after_s in enumerate((20, 25, 30)):
        at_ns = (profile.start_ms + after_s * 1000) * 1_000_000
        stream = by_exporter[index]
        before = [pair for pair in stream if pair[0] <= at_ns]
        after = [pair for pair in stream if pair[0] > at_ns]
        datagrams = read(after)  # A new reader: the templates must come again.
        assert datagrams[0].sequence == 0
        assert read(before)[-1].sequence > 0
        if datagrams[0].version != 10:
            assert datagrams[0].uptime < 60_000
            assert read(before)[-1].uptime > 3_600_000 - 1
        assert isp.exporters[index].restarts == 1
    assert isp.truth.loss()["restarts"].sum() == 3
    columns = ("octets_wire", "packets")
    assert counters(isp, by_exporter) == Counter(isp.flow_log.frame().select(columns).rows())


def test_fast_flows_wrap_narrow_counters_and_only_those() -> None:
    profile = Profile(
        subscribers=60,
        routers=2,
        versions=("v9", "v9-generic"),
        elephants=300,
        fast_share=1,
        active_timeout_s=1800,
    )
    isp, by_exporter = run(profile, seconds=600)
    frame = isp.flow_log.frame()
    wrapped = frame.filter(pl.col("octets") != pl.col("octets_wire"))
    assert wrapped.height > 0
    assert set(wrapped["exporter_kind"]) == {"v9"}
    assert frame.filter((pl.col("exporter_kind") != "v9") & (pl.col("octets") >= 2**32)).height
    assert ((wrapped["octets"] - wrapped["octets_wire"]) % 2**32 == 0).all()
    # Huge downloads are full-size packets throughout, whatever the timeout cut.
    assert (wrapped["octets"] == wrapped["packets"] * 1500).all()
    columns = ("octets_wire", "packets")
    assert counters(isp, by_exporter) == Counter(frame.select(columns).rows())


def test_packets_are_of_a_possible_size() -> None:
    isp, _ = run(Profile(subscribers=50, active_timeout_s=7, restarts_s=(10, 13)), seconds=60)
    frame = isp.flow_log.frame()
    assert (frame["packets"] > 0).all()
    assert (frame["octets"] >= 28 * frame["packets"]).all()
    assert (frame["octets"] <= 1500 * frame["packets"]).all()


def test_long_flows_are_reported_in_parts_of_the_active_timeout() -> None:
    isp, _ = run(Profile(subscribers=100, active_timeout_s=30), seconds=120)
    frame = isp.flow_log.frame()
    length = (frame["ended_at"] - frame["started_at"]).dt.total_milliseconds()
    assert length.max() == 30_000
    key = ("src_addr", "dst_addr", "src_port", "dst_port", "protocol", "exporter_addr")
    parts = frame.group_by(key).agg(pl.len(), pl.col("started_at", "ended_at").sort())
    joined = parts.filter(pl.col("len") > 1).rows(named=True)
    assert any(row["started_at"][1] == row["ended_at"][0] for row in joined)


def test_bots_scanners_and_sharers_do_what_they_do() -> None:
    isp, _ = run(Profile(subscribers=100), seconds=60)
    apps = Counter(isp.flow_log.frame()["application"])
    assert {"smtp", "scan", "bittorrent", "dns", "tls", "game", "wireguard"} <= set(apps)
    scans = isp.flow_log.frame().filter(pl.col("application") == "scan")
    assert set(scans["direction"]) == {"upload"}
    assert scans["dst_addr"].n_unique() > scans.height * 0.9


def test_popularity_falls_as_zipf_says() -> None:
    isp = Isp(Profile(subscribers=10, remotes=1000))
    uses = np.bincount(isp.population.draw_remote, minlength=1000)
    assert uses[0] / uses[9] == pytest.approx(10, rel=0.05)


def test_the_day_has_a_curve() -> None:
    night = Isp(Profile(subscribers=100, start_ms=Profile().start_ms + 4 * 3_600_000))
    evening = Isp(Profile(subscribers=100, start_ms=Profile().start_ms + 21 * 3_600_000))
    flows = [sum(int(b.flows.sum()) for b in isp.datagrams(60)) for isp in (night, evening)]
    assert flows[1] > 4 * flows[0]


def test_clock_skew_moves_the_wire_and_not_the_truth() -> None:
    base = Profile(subscribers=20, routers=1, versions=("v9-generic",))
    skewed = Profile(subscribers=20, routers=1, versions=("v9-generic",), clock_skew_ms=7_000)
    plain, _ = run(base)
    isp, streams = run(skewed)
    skew_ms = isp.exporters[0].skew_ms
    assert skew_ms
    frame = isp.flow_log.frame()
    true_starts = frame["started_at"].cast(pl.Int64)
    wire = [start for start, _ in _times(read(streams[0]))]
    assert Counter(wire) == Counter((true_starts + skew_ms).to_list())
    assert frame["octets"].sum() == plain.flow_log.frame()["octets"].sum()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subscribers": 0}, "subscribers 0"),
        ({"versions": ("v7",)}, "'v7'"),
        ({"sampling": 20_000}, "sampling 20000"),
        ({"source_base": "localhost"}, "'localhost'"),
        ({"ipv6_share": 1.5}, "ipv6_share 1.5"),
        ({"uptime_s": 5}, "uptime_s 5"),
        ({"restarts_s": (0,)}, "restart"),
    ],
)
def test_an_impossible_profile_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        Profile(**change)


def test_a_share_of_loss_outside_0_to_1_is_refused() -> None:
    with pytest.raises(UsageError, match=r"loss 2"):
        Faults(loss=2)
