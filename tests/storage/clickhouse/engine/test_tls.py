"""HTTPS with a certificate from a file, and what is said where that does not work."""

import ipaddress
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPSConnection
from pathlib import Path

import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import OperationalError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core.errors import FlowledgerError
from storage.clickhouse.engine.config import Config
from storage.clickhouse.engine.process import start
from tests.support.stores import RunningStore


def make_certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the store")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return chain, secret


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def secure(
    tmp_path_factory: pytest.TempPathFactory, files: tuple[Path, Path]
) -> Iterator[RunningStore]:
    chain, key = map(str, files)
    config = Config(listen="127.0.0.1:0", tls_cert_file=chain, tls_key_file=key)
    with RunningStore(tmp_path_factory.mktemp("secure"), config) as store:
        yield store


def test_whoever_trusts_the_certificate_is_answered(
    secure: RunningStore, files: tuple[Path, Path]
) -> None:
    assert secure.url.startswith("https://127.0.0.1:")
    trusting = ssl.create_default_context(cafile=files[0])
    connection = HTTPSConnection("127.0.0.1", secure.port, context=trusting, timeout=20)
    headers = {"X-ClickHouse-User": "reader", "X-ClickHouse-Key": secure.token("reader")}
    connection.request("POST", "/", "SELECT number FROM numbers(100000)", headers)
    assert connection.getresponse().read().count(b"\n") == 100_000
    connection.close()
    stranger = HTTPSConnection(
        "127.0.0.1", secure.port, context=ssl.create_default_context(), timeout=20
    )
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.request("GET", "/ping")


def test_the_driver_over_tls(secure: RunningStore, files: tuple[Path, Path]) -> None:
    options = {
        "host": "127.0.0.1",
        "port": secure.port,
        "username": "loader",
        "password": secure.token("loader"),
        "secure": True,
    }
    with clickhouse_connect.get_client(**options, ca_cert=str(files[0])) as client:
        client.command("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
        client.insert("t", [[number] for number in range(1000)], column_names=["a"])
        assert client.query("SELECT sum(a) FROM t").first_row == (499_500,)
    with pytest.raises(OperationalError):
        clickhouse_connect.get_client(**options)


def test_plain_http_is_not_answered(secure: RunningStore) -> None:
    with socket.create_connection(("127.0.0.1", secure.port), timeout=20) as plain:
        plain.sendall(b"GET /?query=SELECT%201 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        try:
            while piece := plain.recv(4096):
                answer += piece
        except ConnectionResetError:
            pass
    assert b"200" not in answer


@pytest.mark.parametrize("wrong", ["missing", "garbage", "swapped"])
def test_a_certificate_that_cannot_be_used_is_named(
    tmp_path: Path, files: tuple[Path, Path], wrong: str
) -> None:
    chain, key = files
    if wrong == "missing":
        chain = tmp_path / "nothing.pem"
    elif wrong == "garbage":
        chain = tmp_path / "garbage.pem"
        chain.write_text("no certificate")
    else:
        chain, key = key, chain
    config = Config(listen="127.0.0.1:0", tls_cert_file=str(chain), tls_key_file=str(key))
    with pytest.raises(FlowledgerError) as caught:
        start(tmp_path / "data", config)
    assert str(chain) in str(caught.value)
    assert "Traceback" not in str(caught.value)
