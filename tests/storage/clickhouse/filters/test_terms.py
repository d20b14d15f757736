"""Each term of ours finds the rows that it should, in a table of a few flows."""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.schema import FLOWS, ROLLUP_5M
from storage.clickhouse.filters import FilterError, UnknownNameError, compile_filter
from tests.support.in_memory import InMemory

# number | local | source | destination | direction | country | class | exporter | services
ROWS = """
1 | 10.0.0.1    | 10.0.0.1    | 8.8.8.8     | 2 | US | 1 | 192.0.2.1 | 42 0
2 | 10.0.0.1    | 8.8.8.8     | 10.0.0.1    | 1 | US | 1 | 192.0.2.1 | 0 42
3 | 10.0.0.1    | 1.1.1.1     | 203.0.113.7 | 1 | IN | 2 | 192.0.2.2 | 0 42
4 | 10.0.0.1    | 10.0.0.1    | 10.0.0.2    | 3 |    | 0 | 192.0.2.2 | 42 43
5 | ::          | 8.8.8.8     | 1.1.1.1     | 4 | US | 0 | 192.0.2.3 | 0 0
6 | 2001:db8::1 | 2001:db8::1 | 2a00::1     | 2 | DE | 3 | 192.0.2.3 | 7 0
"""
FOUND = [
    ("local ip 10.0.0.1", "1234"),
    ("local net 10.0.0.0/8", "1234"),
    ("local net 2001:db8::/32", "6"),
    ("local ip in [10.0.0.1 2001:db8::1]", "12346"),
    ("remote ip 8.8.8.8", "12"),
    ("remote ip 1.1.1.1", "3"),
    ("remote ip 10.0.0.2", "4"),
    ("remote net 8.0.0.0/8", "12"),
    ("not remote net 8.0.0.0/8", "3456"),
    ("ip 8.8.8.8", "125"),
    ("direction download", "23"),
    ("direction transit", "5"),
    ("direction UPLOAD or direction internal", "146"),
    ("direction in [download, upload]", "1236"),
    ("country US", "125"),
    ("country IN", "3"),
    ("country in [in, de]", "36"),
    ("geo de", "6"),
    ("class 1", "12"),
    ("class video", "3"),
    ("class in [video 3]", "36"),
    ("exporter 192.0.2.1", "12"),
    ("exporter core-1", "1234"),
    ("exporter 'core 2'", "56"),
    ("exporter in [core-1, 192.0.2.3]", "123456"),
    ("ident core-1", "1234"),
    ("router ip 192.0.2.3", "56"),
    ("operator north", "123456"),
    ("operator 4", ""),
    ("service 42", "1234"),
    ("src service 42", "14"),
    ("dst service 43", "4"),
    ("local service 42", "1234"),
    ("local service 43", ""),
    ("subscriber 7", "46"),
    ("subscriber acme", ""),
    ("inet", "12345"),
    ("inet6", "6"),
    ("port != 3 and ip 10.0.0.2", "4"),
    ("", "123456"),
]


class Names:
    """Knows some names."""

    def exporter(self, name: str) -> Sequence[str]:
        known = {"core-1": ["192.0.2.1", "192.0.2.2"], "core 2": ["192.0.2.3"]}
        if name not in known:
            raise UnknownNameError(f"no exporter is named {name!r}; there is core-1")
        return known[name]

    def operator(self, name: str) -> int:
        return {"north": 3}[name]

    def traffic_class(self, name: str) -> int:
        return {"video": 2}[name]

    def services(self, subscriber: str) -> Sequence[int]:
        return {"7": [43, 7], "acme": []}[subscriber]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InMemory]:
    engine = InMemory()
    engine.create(FLOWS)
    for line in ROWS.strip().split("\n"):
        number, *addresses, direction, country, kind, exporter, services = (
            cell.strip() for cell in line.split("|")
        )
        local, source, target, sender = (f"toIPv6('{each}')" for each in (*addresses, exporter))
        code = ord(country[0]) << 8 | ord(country[1]) if country else 0
        first, second = services.split()
        engine.run(
            "INSERT INTO flows (journal_offset, local_addr, src_addr, dst_addr, exporter_addr, "
            "direction, remote_country, traffic_class, src_service_id, dst_service_id, "
            f"operator_id, octets) VALUES ({number}, {local}, {source}, {target}, {sender}, "
            f"{direction}, {code}, {kind}, {first}, {second}, 3, 100)"
        )
    yield engine
    engine.close()


@pytest.mark.parametrize(("text", "numbers"), FOUND)
def test_a_term_of_ours_finds_its_flows(store: InMemory, text: str, numbers: str) -> None:
    condition = compile_filter(text, FLOWS, names=Names())
    sql = f"SELECT toString(journal_offset) FROM flows WHERE {condition.sql} ORDER BY 1"
    assert "".join(row[0] for row in store.rows(sql, condition.params)) == numbers


def test_a_name_that_nobody_knows_is_refused_in_the_words_of_who_was_asked() -> None:
    with pytest.raises(FilterError, match="there is core-1") as caught:
        compile_filter("any and exporter edge", FLOWS, names=Names())
    assert caught.value.column == 18


def test_the_local_service_can_be_asked_of_rollups() -> None:
    assert compile_filter("local service 42", ROLLUP_5M).columns == {"service_id"}


_NASTY = st.text(st.sampled_from("'\"\\`;-)({}:% \t/*#\0\nabp0,IPv6"), min_size=1, max_size=20)


class Echo(Names):
    """Whatever is asked for is an exporter of its own; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def exporter(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        return ["192.0.2.1"]


@given(_NASTY)
def test_what_is_quoted_never_reaches_the_sql(store: InMemory, text: str) -> None:
    names = Echo()
    try:
        condition = compile_filter(f"exporter '{text}' and any", FLOWS, names=names)
    except FilterError:
        return
    assert text not in condition.sql or text.strip("'") in "abp0 :IPv6{},)("
    found = store.rows(f"SELECT count() FROM flows WHERE {condition.sql}", condition.params)
    assert int(found[0][0]) in (0, 2, 6)


@given(st.lists(st.ip_addresses() | st.ip_addresses(network="10.0.0.0/29"), min_size=1, max_size=5))
def test_any_address_can_be_asked_for(store: InMemory, addresses) -> None:
    text = f"ip in [{' '.join(map(str, addresses))}]"
    condition = compile_filter(text, FLOWS)
    found = store.rows(f"SELECT count() FROM flows WHERE {condition.sql}", condition.params)
    asked = {str(each) for each in addresses}
    ends = [line.split("|")[2:4] for line in ROWS.strip().split("\n")]
    expected = sum(1 for row in ends if asked & {str(ip_address(end.strip())) for end in row})
    assert int(found[0][0]) == expected
