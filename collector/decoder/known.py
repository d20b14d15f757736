"""The templates in force, by stream and id, and how they change within a batch."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.decoder.plan import Plan, compile_plan
from collector.decoder.templates import (
    Announcement,
    FieldSpec,
    Template,
    TemplateError,
    pack,
    read_set,
    unpack,
)

PARSED_OCTETS_MAX = 1 << 20  # Template sets remembered by their octets.
PLANS_MAX = 1_024


def _layout(*fields: tuple[int, int]) -> Template:
    return Template(tuple(FieldSpec(0, element, length) for element, length in fields))


# NetFlow v1 and v5 are layouts like any other. 210 is padding.
V5 = _layout(
    *((8, 4), (12, 4), (15, 4), (10, 2), (14, 2), (2, 4), (1, 4), (22, 4), (21, 4), (7, 2)),
    *((11, 2), (210, 1), (6, 1), (4, 1), (5, 1), (16, 2), (17, 2), (9, 1), (13, 1), (210, 2)),
)
V1 = _layout(
    *((8, 4), (12, 4), (15, 4), (10, 2), (14, 2), (2, 4), (1, 4), (22, 4), (21, 4), (7, 2)),
    *((11, 2), (210, 2), (4, 1), (5, 1), (6, 1), (210, 11)),
)
V1_SHORT = Template((*V1.fields[:-1], FieldSpec(0, 210, 7)))


@dataclass(slots=True)
class Known:
    """One template in force and since when."""

    template: Template
    since_ns: int
    seen_ns: int
    announced: int = 1
    plan: Plan | None = None  # Compiled when the first data comes.


# By twice the octets of a record plus the version; below 256, so no template's id.
STATIC = {
    2 * 52 + 1: Known(V1, 0, 0),
    2 * 48 + 1: Known(V1_SHORT, 0, 0),
    2 * 48 + 5: Known(V5, 0, 0),
}


@dataclass(slots=True)
class Change:
    """What became of one key during a batch: the layout before, then (set number, layout)."""

    before: Known | None
    steps: list[tuple[int, Known | None]] = field(default_factory=list)

    @property
    def is_first(self) -> bool:
        """Say whether the key got its first layout, which then describes all of the batch."""
        return self.before is None and len(self.steps) == 1

    @property
    def layouts(self) -> list[Known | None]:
        """Return the layout before the batch, and the one behind each step."""
        return [self.before, *(known for _, known in self.steps)]

    def at(self, set_numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return which of ``layouts`` describes each set; data may come shortly before its own."""
        steps = np.array([number for number, _ in self.steps])
        chosen = np.searchsorted(steps, set_numbers)
        is_none = np.array([known is None for known in self.layouts])
        has_next = chosen < len(steps)
        return chosen + (is_none[chosen] & has_next)


class KnownTemplates:
    """Templates by key (stream << 16 | id), bounded a stream and by fields in all."""

    def __init__(self, *, per_stream_max: int, fields_max: int) -> None:
        self._max = per_stream_max
        self._fields_max = fields_max
        self._fields = 0
        self._parsed_octets = 0
        self._by_key: dict[int, Known] = {}
        self._of_stream: dict[int, set[int]] = {}
        self._parsed: dict[
            tuple[int, bool, bytes], tuple[list[Announcement], TemplateError | None]
        ] = {}
        self._plans: dict[Template, Plan] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def get(self, key: int) -> Known | None:
        """Return the template in force."""
        return self._by_key.get(key)

    def of_stream(self, stream: int) -> Iterator[tuple[int, Known]]:
        """Yield id and template of one stream."""
        for number in sorted(self._of_stream.get(stream, ())):
            yield number, self._by_key[stream << 16 | number]

    def plan(self, known: Known) -> Plan:
        """Return the compiled form of a template; equal layouts of all exporters share one."""
        if known.plan is None:
            plan = self._plans.get(known.template)
            if plan is None:
                if len(self._plans) >= PLANS_MAX:
                    self._plans.clear()
                plan = self._plans[known.template] = compile_plan(known.template)
            known.plan = plan
        return known.plan

    def parse(
        self, content: bytes, *, version: int, is_options: bool
    ) -> tuple[list[Announcement], TemplateError | None]:
        """Read a template set; routers repeat the same octets for years."""
        key = (version, is_options, content)
        parsed = self._parsed.get(key)
        if parsed is None:
            self._parsed_octets += len(content)
            if self._parsed_octets > PARSED_OCTETS_MAX:
                self._parsed.clear()
                self._parsed_octets = len(content)
            parsed = read_set(content, version=version, is_options=is_options)
            self._parsed[key] = parsed
        return parsed

    def install(self, key: int, template: Template, now_ns: int) -> bool | None:
        """Put a template in force: True when it is new or other, None when there is no room."""
        known = self._by_key.get(key)
        if known is not None and known.template == template:
            known.seen_ns = now_ns
            known.announced += 1
            return False
        fields = self._fields + len(template.fields)
        if known is not None:
            fields -= len(known.template.fields)
        elif len(self._of_stream.get(key >> 16, ())) >= self._max:
            return None
        if fields > self._fields_max:
            return None
        self._fields = fields
        self._of_stream.setdefault(key >> 16, set()).add(key & 0xFFFF)
        self._by_key[key] = Known(template, now_ns, now_ns)
        return True

    def withdraw(self, key: int) -> bool:
        """Take a template out of force."""
        known = self._by_key.pop(key, None)
        if known is None:
            return False
        self._fields -= len(known.template.fields)
        self._of_stream[key >> 16].discard(key & 0xFFFF)
        return True

    def pack(self) -> list[list[Any]]:
        """Write all as plain values."""
        return [
            [key, pack(known.template), known.since_ns, known.seen_ns, known.announced]
            for key, known in self._by_key.items()
        ]

    def unpack(self, packed: list[list[Any]]) -> None:
        """Read back what ``pack`` wrote."""
        for key, template, since_ns, seen_ns, announced in packed:
            known = Known(unpack(template), since_ns, seen_ns, announced)
            self._by_key[key] = known
            self._of_stream.setdefault(key >> 16, set()).add(key & 0xFFFF)
            self._fields += len(known.template.fields)
