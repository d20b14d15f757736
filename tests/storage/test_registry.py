"""The registry of exporters: what is seen, approved and changed, by several processes at once."""

import json
import multiprocessing
from pathlib import Path

import pytest

from core.clock import ManualClock
from storage.registry import FILE, UNAPPROVED_MAX, Registry, RegistryError, packed, written

AT = ManualClock(wall_ns=1_767_614_400_000_000_000)  # 2026-01-05 12:00 UTC.


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / FILE


@pytest.mark.parametrize("text", ["192.0.2.1", "2001:db8::1"])
def test_an_address_is_written_as_it_was_read(text: str) -> None:
    assert written(packed(text)) == text


def test_who_sends_is_noted_and_counts_for_nobody(path: Path) -> None:
    registry = Registry(path, AT)
    one, two = packed("192.0.2.1"), packed("2001:db8::1")
    added = registry.see([one, two, one])
    assert [(each.id, each.addr, each.is_approved) for each in added] == [
        (1, "192.0.2.1", False),
        (2, "2001:db8::1", False),
    ]
    assert added[0].first_seen == "2026-01-05T12:00:00+00:00"
    assert registry.see([two]) == []
    assert registry.find(one) is None
    assert [each.addr for each in Registry(path).entries()] == ["192.0.2.1", "2001:db8::1"]


def test_what_is_approved_is_found_by_other_processes(path: Path) -> None:
    loader, person = Registry(path), Registry(path)
    loader.see([packed("192.0.2.1")])
    before = loader.version
    person.approve("192.0.2.1", name="core-1", operator_id=7, realm="north")
    assert loader.version != before
    assert loader.refresh()
    assert not loader.refresh()
    found = loader.find(packed("192.0.2.1"))
    assert found is not None
    assert (found.id, found.name, found.operator_id, found.realm) == (1, "core-1", 7, "north")
    assert loader.by_name("core-1") == found
    assert loader.exporter_label("192.0.2.1") == "core-1"
    assert loader.exporter_label("192.0.2.2") == "192.0.2.2"


def test_a_number_is_never_given_twice(path: Path) -> None:
    registry = Registry(path)
    registry.see([packed("192.0.2.1"), packed("192.0.2.2")])
    assert registry.forget_unapproved() == 2
    assert [each.id for each in registry.see([packed("192.0.2.3")])] == [3]


def test_senders_of_any_address_fill_no_file(path: Path) -> None:
    registry = Registry(path)
    registry.approve("203.0.113.1", name="edge")
    crowd = [bytes(12) + number.to_bytes(4, "big") for number in range(1, UNAPPROVED_MAX + 51)]
    assert len(registry.see(crowd)) == UNAPPROVED_MAX
    assert registry.unseen == 50
    written_before = path.stat().st_mtime_ns
    assert registry.see(crowd[-50:]) == []
    assert registry.unseen == 100
    assert path.stat().st_mtime_ns == written_before
    assert registry.by_name("edge") is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "core 1"}, "no name"),
        ({"name": "17"}, "number or an address"),
        ({"name": "192.0.2.9"}, "number or an address"),
        ({"name": "edge"}, "called already"),
        ({"realm": ""}, "no realm"),
        ({"operator_id": -1}, "write 0 to"),
        ({"operator_id": "7"}, "cannot be '7'"),
        ({"sampling_rate": 2**32}, "write 0 to"),
        ({"mtu": 9}, "no packet size"),
    ],
)
def test_what_means_nothing_is_refused_and_changes_nothing(
    path: Path, changes: dict[str, object], message: str
) -> None:
    registry = Registry(path)
    registry.approve("203.0.113.1", name="edge")
    before = path.read_text()
    with pytest.raises(RegistryError, match=message):
        registry.approve("192.0.2.1", **changes)
    assert path.read_text() == before
    assert [each.addr for each in registry.entries()] == ["203.0.113.1"]


def test_who_is_not_known_cannot_be_changed(path: Path) -> None:
    with pytest.raises(RegistryError, match="no exporter is called 'core-9'"):
        Registry(path).change("core-9", mtu=1_500)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"layout": 1, "next_id": 1, "exporters": [7]}'])
def test_a_damaged_file_is_named(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(RegistryError, match=r"exporters\.json cannot be read"):
        Registry(path)


def test_a_newer_file_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(json.dumps({"layout": 2, "next_id": 1, "exporters": []}))
    with pytest.raises(RegistryError, match="newer Flowledger"):
        Registry(path)


def note(path: Path, start: int) -> None:
    registry = Registry(path)
    for number in range(start, start + 20):
        registry.see([packed(f"198.51.100.{number}")])


def test_two_processes_lose_nothing_of_each_other(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=note, args=(path, start)) for start in (1, 11)]
    for each in both:
        each.start()
    for each in both:
        each.join(60)
        assert each.exitcode == 0
    found = Registry(path).entries()
    assert sorted(each.id for each in found) == list(range(1, 31))
    assert len({each.addr for each in found}) == 30


def test_a_folder_that_cannot_be_written_is_named(path: Path) -> None:
    path.parent.write_text("a file where the folder should be")
    with pytest.raises(RegistryError, match="cannot write"):
        Registry(path).see([packed("192.0.2.1")])
