"""Templates out of a batch: what they change, and which plan each data set has."""

import numpy as np
from numpy.typing import NDArray

from collector.decoded import Reason
from collector.decoder.headers import V5
from collector.decoder.history import History
from collector.decoder.known import STATIC, Change, Known, KnownTemplates
from collector.decoder.plan import Plan, unknown_enterprise
from collector.decoder.problems import Problems
from collector.decoder.sets import (
    FIRST_DATA_ID,
    OPTIONS_TEMPLATES,
    SET_HEADER,
    Sets,
    template_kind,
)
from collector.decoder.streams import StreamTable
from collector.decoder.templates import Announcement
from collector.decoder.work import MS, Work
from collector.ledger import LossLedger

UNKNOWN = -1
_ALL_OPTIONS_TEMPLATES = 3  # The set id that stands for all of them in a withdrawal.


class Learner:
    """Keeps the templates in force, from batch to batch."""

    def __init__(
        self,
        templates: KnownTemplates,
        streams: StreamTable,
        *,
        problems: Problems,
        ledger: LossLedger,
        history: History | None,
    ) -> None:
        self._templates = templates
        self._streams = streams
        self._problems = problems
        self._ledger = ledger
        self._history = history

    def learn(self, work: Work, sets: Sets) -> dict[int, Change]:
        """Install the templates of a batch; return what changed, by key."""
        changes: dict[int, Change] = {}
        low = sets.id < FIRST_DATA_ID
        low &= work.headers.version[sets.datagram] > V5
        octets = work.datagrams.octets
        for number in np.flatnonzero(low).tolist():
            datagram = int(sets.datagram[number])
            version = int(work.headers.version[datagram])
            kind = template_kind(version, int(sets.id[number]))
            start = int(sets.start[number])
            place = start - int(work.datagrams.starts[datagram]) - SET_HEADER
            if not kind:
                self._problems.add(Reason.BAD_SET_ID, work.datagrams, datagram, octet=place)
                continue
            content = octets[start : int(sets.end[number])].tobytes()
            is_options = kind == OPTIONS_TEMPLATES
            found, error = self._templates.parse(content, version=version, is_options=is_options)
            if error is not None:
                self._problems.add(
                    error.reason,
                    work.datagrams,
                    datagram,
                    octet=place + SET_HEADER + error.octet,
                    detail=error.detail,
                )
            self._announce(work, datagram, number, found, changes)
            if error is not None and error.template_id >= FIRST_DATA_ID:
                now_ns = int(work.arrival_ms[datagram]) * MS
                key = int(work.stream[datagram]) << 16 | error.template_id
                self._withdraw(key, number, now_ns, changes)
        return changes

    def _announce(
        self,
        work: Work,
        datagram: int,
        set_number: int,
        found: list[Announcement],
        changes: dict[int, Change],
    ) -> None:
        stream = int(work.stream[datagram])
        now_ns = int(work.arrival_ms[datagram]) * MS
        for announcement in found:
            if announcement.id < FIRST_DATA_ID:
                is_options = announcement.id == _ALL_OPTIONS_TEMPLATES
                for number, known in list(self._templates.of_stream(stream)):
                    if known.template.is_options == is_options:
                        self._withdraw(stream << 16 | number, set_number, now_ns, changes)
            elif announcement.template is None:
                self._withdraw(stream << 16 | announcement.id, set_number, now_ns, changes)
            else:
                self._install(work, datagram, set_number, announcement, changes)
        self._ledger.count("templates", stream, now_ns, len(found))

    def _install(
        self,
        work: Work,
        datagram: int,
        set_number: int,
        announcement: Announcement,
        changes: dict[int, Change],
    ) -> None:
        template = announcement.template
        assert template is not None  # noqa: S101  # The caller has looked.
        stream = int(work.stream[datagram])
        key = stream << 16 | announcement.id
        before = self._templates.get(key)
        now_ns = int(work.arrival_ms[datagram]) * MS
        is_new = self._templates.install(key, template, now_ns)
        if is_new is None:
            self._problems.add(Reason.TOO_MANY_TEMPLATES, work.datagrams, datagram)
            # The layout before it describes the data no longer.
            self._withdraw(key, set_number, now_ns, changes)
        if not is_new:
            return
        if before is None and key not in changes:
            before = self._recall(stream, announcement.id, now_ns - 1)
        known = self._templates.get(key)
        changes.setdefault(key, Change(before)).steps.append((set_number, known))
        self._remember(stream, announcement.id, now_ns, announcement)
        unknown = unknown_enterprise(template)
        if unknown:
            self._problems.add(
                Reason.UNKNOWN_ENTERPRISE,
                work.datagrams,
                datagram,
                count=unknown,
                detail=f"template {announcement.id}",
            )

    def _withdraw(self, key: int, set_number: int, now_ns: int, changes: dict[int, Change]) -> None:
        before = self._templates.get(key)
        if self._templates.withdraw(key):
            changes.setdefault(key, Change(before)).steps.append((set_number, None))
            self._remember(key >> 16, key & 0xFFFF, now_ns, Announcement(key & 0xFFFF, None))

    def _remember(self, stream: int, number: int, now_ns: int, what: Announcement) -> None:
        if self._history is not None:
            self._history.add(self._streams.streams[stream], number, now_ns, what.template)

    def assign(
        self,
        work: Work,
        sets: Sets,
        data: NDArray[np.int64],
        changes: dict[int, Change],
    ) -> tuple[NDArray[np.int64], list[Plan]]:
        """Find the plan of each data set: its number in the returned list, or -1."""
        datagram = sets.datagram[data]
        keys = work.stream[datagram].astype(np.int64) << 16 | sets.id[data]
        unique, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        plans: list[Plan] = []
        numbers: dict[int, int] = {}

        def number_of(known: Known | None) -> int:
            if known is None:
                return UNKNOWN
            plan = self._templates.plan(known)
            number = numbers.setdefault(id(plan), len(plans))
            if number == len(plans):
                plans.append(plan)
            return number

        of_key = np.full(len(unique), UNKNOWN, np.int64)
        changed = []
        for place, key in enumerate(unique.tolist()):
            set_id = key & 0xFFFF
            if set_id in STATIC:
                of_key[place] = number_of(STATIC[set_id])
            elif key in changes and not changes[key].is_first:
                changed.append(place)
            else:
                known = self._templates.get(key)
                if known is None:
                    when_ns = int(work.arrival_ms[datagram[first[place]]]) * MS
                    known = self._recall(key >> 16, set_id, when_ns)
                    if known is not None:
                        self._templates.install(key, known.template, when_ns)
                of_key[place] = number_of(known)
        plan_of_set = of_key[inverse]
        if changed:
            order = np.argsort(inverse, kind="stable")
            bounds = np.searchsorted(inverse[order], np.arange(len(unique) + 1))
        for place in changed:
            positions = order[bounds[place] : bounds[place + 1]]
            change = changes[int(unique[place])]
            layouts = np.array([number_of(known) for known in change.layouts])
            plan_of_set[positions] = layouts[change.at(data[positions])]
        return plan_of_set, plans

    def _recall(self, stream: int, number: int, when_ns: int) -> Known | None:
        """Look for a template that was in force at a time."""
        if self._history is None:
            return None
        template = self._history.at(self._streams.streams[stream], number, when_ns)
        return None if template is None else Known(template, when_ns, when_ns)
