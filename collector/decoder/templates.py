"""Templates of v9 and IPFIX: read from sets, kept by stream and id."""

from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import Any

from collector.decoded import Reason
from collector.decoder.headers import IPFIX, V9

VARIABLE = 65_535
FIELDS_MAX = 1_000  # No exporter has a tenth of it.
_SCOPE_PEN = -1  # v9 scope types 1 to 5 are no elements.
_PAIR = Struct(">HH")
_LONG = Struct(">L")


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One field of a template: enterprise number (0 is IANA), element id, octets on the wire."""

    pen: int
    id: int
    length: int


@dataclass(frozen=True, slots=True)
class Template:
    """One layout; ``scope_count`` leading fields are the scope when it describes options."""

    fields: tuple[FieldSpec, ...]
    is_options: bool = False
    scope_count: int = 0


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a template set said of one id: a layout, or its withdrawal."""

    id: int
    template: Template | None


class TemplateError(Exception):
    """A template set that contradicts itself, with the octet in the set."""

    def __init__(self, octet: int, detail: str, *, template_id: int = 0) -> None:
        super().__init__(detail)
        self.octet = octet
        self.detail = detail
        self.reason = Reason.BAD_TEMPLATE
        self.template_id = template_id  # Whose former layout holds no longer; 0 if unknown.


def read_set(
    content: bytes, *, version: int, is_options: bool
) -> tuple[list[Announcement], TemplateError | None]:
    """Read the announcements of a set; those before a mistake count, with the mistake beside."""
    found: list[Announcement] = []
    at = 0
    while at + 4 <= len(content):
        template_id, size = _PAIR.unpack_from(content, at)
        if template_id < 256:
            if any(content[at:]):
                error = TemplateError(at, f"template id {template_id} is below 256")
                # An IPFIX set id in place of a template id withdraws all (RFC 7011, 8.1).
                if version == IPFIX and size == 0 and template_id == (3 if is_options else 2):
                    found.append(Announcement(template_id, None))
                    at += 4
                    continue
                return found, error
            return found, None
        if size == 0 and version == IPFIX:
            found.append(Announcement(template_id, None))
            at += 4
            continue
        try:
            template, at = _read_one(content, at, version=version, is_options=is_options)
        except TemplateError as error:
            error.template_id = template_id
            return found, error
        found.append(Announcement(template_id, template))
    return found, None


def _read_one(content: bytes, at: int, *, version: int, is_options: bool) -> tuple[Template, int]:
    template_id, size = _PAIR.unpack_from(content, at)
    start = at
    at += 4
    scope_count = 0
    count = size
    if is_options and version == V9:
        # v9 gives the octets of scope and option specifiers, four octets each.
        if at + 2 > len(content):
            raise TemplateError(start, f"options template {template_id} is cut")
        option_octets = int.from_bytes(content[at : at + 2], "big")
        at += 2
        if size % 4 or option_octets % 4:
            raise TemplateError(start, f"options template {template_id} has odd lengths")
        scope_count, count = size // 4, (size + option_octets) // 4
    elif is_options:
        if at + 2 > len(content):
            raise TemplateError(start, f"options template {template_id} is cut")
        scope_count = int.from_bytes(content[at : at + 2], "big")
        at += 2
        if scope_count > count:
            raise TemplateError(start, f"options template {template_id} has too many scopes")
    if count > FIELDS_MAX or at + 4 * count > len(content):
        raise TemplateError(start, f"template {template_id} has {count} fields, past its set")
    fields = []
    for number in range(count):
        if at + 4 > len(content):
            raise TemplateError(start, f"template {template_id} is cut")
        element, length = _PAIR.unpack_from(content, at)
        at += 4
        pen = 0
        if version == V9:
            if number < scope_count:
                pen = _SCOPE_PEN
        elif element & 0x8000:
            if at + 4 > len(content):
                raise TemplateError(start, f"template {template_id} is cut")
            (pen,) = _LONG.unpack_from(content, at)
            element &= 0x7FFF
            at += 4
        fields.append(_field(pen, element, length))
    if not any(spec.length for spec in fields):
        # Zero octets a record would make endless records.
        raise TemplateError(start, f"template {template_id} has no width")
    return Template(tuple(fields), is_options, scope_count), at


@lru_cache(maxsize=16_384)
def _field(pen: int, element: int, length: int) -> FieldSpec:
    """Return the one object for equal fields: templates share most of theirs."""
    return FieldSpec(pen, element, length)


def pack(template: Template) -> dict[str, Any]:
    """Write a template as plain values for a state or history file."""
    packed: dict[str, Any] = {"fields": [[f.pen, f.id, f.length] for f in template.fields]}
    if template.is_options:
        packed["scope"] = template.scope_count
    return packed


def unpack(packed: dict[str, Any]) -> Template:
    """Read back what ``pack`` wrote."""
    fields = tuple(_field(*values) for values in packed["fields"])
    return Template(fields, "scope" in packed, packed.get("scope", 0))
