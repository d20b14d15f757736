"""Stretches of IPFIX sequence that cannot be judged before a template has come.

A data set without its template hides how many records it holds. What lies between its datagram
and the next one is booked as ``gap_uncertain`` of the waiting datagram's minute. When the last
waiting set of that minute has been decoded, what remains is a gap, known exactly.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

from collector.ledger.tally import Tally

_ORPHANS_MAX: Final = 4_096


@dataclass(slots=True)
class _Account:
    """One stream and minute. ``units`` may be below 0 until the next datagram has come."""

    number: int  # Tells it from an account of the same minute that was closed before.
    units: int = 0
    sets: int = 0
    open_ends: int = 0  # Waiting datagrams whose next one has not come yet.
    shown: int = 0


class WaitingBook:
    """The accounts of all streams; the oldest are given up when there are too many."""

    def __init__(self, tally: Tally, *, accounts_max: int) -> None:
        self._tally = tally
        self._max = accounts_max
        self._opened = 0
        self._accounts: OrderedDict[tuple[int, int], _Account] = OrderedDict()
        # Waiting datagrams that stand at no known place: their records settle nothing.
        self._orphans: OrderedDict[tuple[int, int], int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._accounts)

    def holds(self, stream: int, minute: int) -> bool:
        """Say whether the stretches of this minute are still uncertain."""
        return (stream, minute) in self._accounts

    def number(self, stream: int, minute: int) -> int:
        """Return the number of the account that is open for a minute, 0 when there is none."""
        account = self._accounts.get((stream, minute))
        return 0 if account is None else account.number

    def open(self, stream: int, minute: int, *, sets: int, has_open_end: bool) -> None:
        """Book a datagram with waiting sets."""
        account = self._accounts.get((stream, minute))
        if account is None:
            account = self._accounts[stream, minute] = _Account(self._opened + 1)
            self._opened += 1
            if len(self._accounts) > self._max:
                self._accounts.popitem(last=False)  # Stays uncertain.
        account.sets += sets
        account.open_ends += has_open_end

    def close_end(self, stream: int, minute: int, units: int) -> None:
        """Book how far the next datagram lies behind the start of the waiting one."""
        account = self._accounts.get((stream, minute))
        if account is None:
            self._tally.add("gap_uncertain", stream, minute, units)
            return
        account.open_ends -= 1
        self._change(stream, minute, account, units)

    def add(self, stream: int, minute: int, units: int) -> None:
        """Book more, or less, that is uncertain in a minute."""
        account = self._accounts.get((stream, minute))
        if account is None:
            self._tally.add("gap_uncertain", stream, minute, units)
        else:
            self._change(stream, minute, account, units)

    def orphan(self, stream: int, sequence: int, sets: int) -> None:
        """Note a waiting datagram that the exporter's restart left without a next one."""
        self._orphans[stream, sequence] = self._orphans.get((stream, sequence), 0) + sets
        if len(self._orphans) > _ORPHANS_MAX:
            self._orphans.popitem(last=False)

    def forsake_end(
        self, stream: int, minute: int, sequence: int, *, sets: int, settled: int
    ) -> None:
        """Give up the open end of a datagram after which the exporter restarted."""
        account = self._accounts.get((stream, minute))
        if account is not None:
            account.open_ends -= 1
            account.sets -= sets
            self._change(stream, minute, account, settled)
        self.orphan(stream, sequence, sets)

    def settle(self, stream: int, minute: int, sequence: int, *, units: int, sets: int) -> None:
        """Book the records of sets that were decoded after all."""
        waiting = self._orphans.get((stream, sequence))
        if waiting is not None:
            if waiting <= sets:
                del self._orphans[stream, sequence]
            else:
                self._orphans[stream, sequence] = waiting - sets
            return
        account = self._accounts.get((stream, minute))
        if account is not None:
            account.sets -= sets
            self._change(stream, minute, account, -units)

    def forget_old(self, oldest_minute: int) -> None:
        """Give up accounts of minutes long past: what is uncertain there stays uncertain."""
        while self._accounts:
            key = next(iter(self._accounts))
            if key[1] >= oldest_minute:
                return
            del self._accounts[key]

    def _change(self, stream: int, minute: int, account: _Account, units: int) -> None:
        account.units += units
        if account.sets <= 0 and account.open_ends <= 0:
            del self._accounts[stream, minute]
            self._tally.add("gap_uncertain", stream, minute, -account.shown)
            # Below 0 only when a set held more records than its exporter counted.
            self._tally.add("gap", stream, minute, max(account.units, 0))
            return
        shown = max(account.units, 0)
        self._tally.add("gap_uncertain", stream, minute, shown - account.shown)
        account.shown = shown

    def snapshot(self) -> dict[str, Any]:
        """Return the accounts as plain values."""
        return {
            "opened": self._opened,
            "accounts": [
                [
                    *key,
                    account.number,
                    account.units,
                    account.sets,
                    account.open_ends,
                    account.shown,
                ]
                for key, account in self._accounts.items()
            ],
            "orphans": [[*key, sets] for key, sets in self._orphans.items()],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over the accounts of a snapshot."""
        self._opened = state["opened"]
        self._accounts.clear()
        self._orphans.clear()
        for stream, minute, *values in state["accounts"]:
            self._accounts[stream, minute] = _Account(*values)
        for stream, sequence, sets in state["orphans"]:
            self._orphans[stream, sequence] = sets
