"""Where the store answers, and as whom to ask it."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from core.errors import FlowledgerError
from storage.clickhouse.config import Config

Role = Literal["reader", "loader"]

_FILE = ("store", "endpoint.json")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A store and a user of it; ``by_path``: it reads our spool's files itself."""

    url: str
    user: str
    password: str = field(repr=False)
    database: str
    by_path: bool

    @classmethod
    def of_file(cls, content: Mapping[str, Any], role: Role, database: str) -> Self:
        """Return what a store process wrote of itself."""
        user = content[role]
        return cls(
            str(content["url"]), str(user["user"]), str(user["password"]), database, by_path=True
        )


def find_endpoint(config: Config, data: Path, role: Role) -> Endpoint | None:
    """Return the configured server, else the running store of the data folder, else None."""
    if config.url:
        return Endpoint(config.url, config.user, config.password, config.database, by_path=False)
    path = data.joinpath(*_FILE)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        # A store that was killed leaves its file behind.
        if not _is_alive(int(content["pid"])):
            return None
        return Endpoint.of_file(content, role, config.database)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise FlowledgerError(
            f"cannot read {path}: {error.strerror}; ask as the user that runs the store"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FlowledgerError(f"cannot read {path} ({error}); start the store again") from error


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # Somebody else's.
    return True
