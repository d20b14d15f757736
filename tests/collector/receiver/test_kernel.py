"""What the kernel tells: drop counters, holders of ports, control messages out of the ordinary."""

import os
import socket
import struct
import time
from pathlib import Path

import pytest

from collector.receiver import linux
from collector.receiver.kernel_drops import KernelDrops
from collector.receiver.linux import LinuxSource
from collector.receiver.listening import ListenAddress
from collector.receiver.proc_net import drops_by_inode, holder_of

pytestmark = pytest.mark.skipif(not linux.is_available(), reason="needs Linux on 64 bits")

# Lines as Linux 6.1 prints them; the long numbers of udp6 run into the columns around them.
UDP = """\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode \
ref pointer drops
  532: 00000000:0807 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 \
18021 2 00000000a0e1f3a1 7
 1533: 0100007F:1283 00000000:0000 07 00000000:00011940 00:00000000 00000000  1000        0 \
18022 2 00000000a0e1f3a2 4294967295
"""
UDP6 = """\
  sl  local_address                         remote_address                        st tx_queue \
rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  532: 00000000000000000000000000000000:0807 00000000000000000000000000000000:0000 07 \
00000000:00000000 00:00000000 00000000     0        0 18023 2 0000000000000000 12
"""


def test_drop_counters_are_read_by_inode(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "udp").write_text(UDP)
    assert drops_by_inode(tmp_path) == {18_021: 7, 18_022: 4_294_967_295}
    (tmp_path / "net" / "udp6").write_text(UDP6)
    assert drops_by_inode(tmp_path)[18_023] == 12


def test_without_proc_nothing_is_known(tmp_path: Path) -> None:
    assert drops_by_inode(tmp_path) == {}
    assert holder_of(socket.AF_INET, 2_055, tmp_path) is None


def test_the_holder_of_a_port_is_found() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        holder = holder_of(socket.AF_INET6, sock.getsockname()[1])
    assert holder is not None
    assert holder[0] == os.getpid()


def test_drop_counters_of_32_bits_are_unwrapped_and_never_go_back() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        drops = KernelDrops([sock])
        for counter, total in (
            (10, 10),
            (4_000_000_000, 10),  # Behind by more than half of the range: an older look.
            (2_000_000_000, 2_000_000_000),
            (4_000_000_000, 4_000_000_000),
            (3_999_999_999, 4_000_000_000),  # A datagram queued before /proc was read.
            (5, (1 << 32) + 5),
        ):
            drops.note(0, counter)
            assert drops.totals == [total]


def test_a_control_message_out_of_order_is_counted_and_its_time_found() -> None:
    source = LinuxSource(
        [ListenAddress("127.0.0.1", 0)], receive_buffer=1 << 20, datagram_octets_max=2_000
    )
    try:
        # A second kind of control message comes before the time, as a newer kernel might send it.
        opened = source._opened[0].sock
        opened.setsockopt(socket.SOL_SOCKET, 29, 1)  # SO_TIMESTAMP replaces SO_TIMESTAMPNS.
        before_ns = time.time_ns()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(opened.getsockname())
            for _ in range(3):
                sock.send(b"odd")
        times = [
            at for batch in source.receive(timeout_ms=1_000) for at in batch.received_ns.tolist()
        ]
        assert source.odd_controls == len(times) == 3
        assert all(before_ns <= at <= time.time_ns() for at in times)
    finally:
        source.close()


def test_a_time_behind_another_control_message_is_found() -> None:
    source = LinuxSource(
        [ListenAddress("127.0.0.1", 0)], receive_buffer=1 << 20, datagram_octets_max=2_000
    )
    try:
        other = struct.pack("=Qiii4x", 20, socket.SOL_SOCKET, 40, 3)
        at = struct.pack("=Qiiqq", 32, socket.SOL_SOCKET, 35, 1_700_000_000, 123)
        octets = other + at
        source._controls[5, : len(octets)] = list(octets)
        source._control_octets[5] = len(octets)
        assert source._odd_time(5) == 1_700_000_000_000_000_123
    finally:
        source.close()
