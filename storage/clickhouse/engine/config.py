"""What the embedded store is told: the ``[store.engine]`` table."""

from dataclasses import dataclass

from core.config import ConfigError, Duration, Size, setting

READERS_MAX = 64


@dataclass(frozen=True, slots=True)
class Config:
    """The store's own process, used where no ``[store] url`` names a server."""

    listen: str = setting(
        "127.0.0.1:8123", doc="Where the store answers HTTP; beyond loopback only with a token."
    )
    tls_cert_file: str = setting("", doc="Certificate chain (PEM) to answer HTTPS with.")
    tls_key_file: str = setting("", doc="Its private key (PEM).")
    memory_max: Size = setting(
        1536 * 2**20, doc="Memory of the whole engine; beyond it queries are refused."
    )
    query_memory_max: Size = setting(512 * 2**20, doc="Memory of one reader's query.")
    query_time_max: Duration = setting(600.0, doc="How long one reader's query may run.")
    result_size_max: Size = setting(
        256 * 2**20,
        doc="Largest answer in a format that cannot be streamed, such as JSON (in text, an octet "
        "of a column counts as 8, and a row as 256 at least).",
    )
    readers: int = setting(4, doc="Readers' queries that run at once; others wait.")
    wait_max: Duration = setting(10.0, doc="How long a query waits for its turn.")
    threads: int = setting(0, doc="Threads of one query; 0 for one a processor.")

    def __post_init__(self) -> None:
        if not 1 <= self.readers <= READERS_MAX:
            raise ConfigError("readers", f"must be 1 to {READERS_MAX}")
        if self.threads < 0:
            raise ConfigError("threads", "must not be negative; 0 is one a processor")
        for name in ("memory_max", "query_memory_max", "result_size_max"):
            if getattr(self, name) < 1 << 20:
                raise ConfigError(name, "must be at least 1MiB")
        for name in ("query_time_max", "wait_max"):
            if getattr(self, name) <= 0:
                raise ConfigError(name, "must be more than 0")
        if bool(self.tls_cert_file) != bool(self.tls_key_file):
            raise ConfigError("tls_key_file", "a certificate and its key are given together")
        host, colon, port = self.listen.rpartition(":")
        if not (host and colon and port.isdecimal() and int(port) < 1 << 16):
            raise ConfigError("listen", f"{self.listen!r} is no HOST:PORT")
