"""Sessions: what SET said in one holds for its later queries. Nothing else is kept for them."""

import time
from collections.abc import Mapping

from storage.clickhouse.engine.request import Request
from storage.clickhouse.engine.users import User

_SESSIONS_MAX = 1000
_TIMEOUT_S = 60.0
_TIMEOUT_MAX_S = 3600.0


class Sessions:
    """The settings of each session, until nobody has used it for a while."""

    def __init__(self) -> None:
        self._kept: dict[tuple[User, str], tuple[float, dict[str, str]]] = {}

    def settings(self, user: User, request: Request) -> dict[str, str]:
        """Return what was set in the request's session."""
        key = (user, request.values.get("session_id", ""))
        until, settings = self._kept.get(key, (0.0, {}))
        if until < time.monotonic():
            self._kept.pop(key, None)
            return {}
        self._kept[key] = (time.monotonic() + _timeout(request), settings)
        return settings

    def keep(self, user: User, request: Request, said: Mapping[str, str]) -> None:
        """Remember what a SET said; without a session it held for itself only."""
        name = request.values.get("session_id", "")
        if not name:
            return
        now = time.monotonic()
        if len(self._kept) >= _SESSIONS_MAX:
            self._kept = {key: kept for key, kept in self._kept.items() if kept[0] >= now}
        _, settings = self._kept.get((user, name), (0.0, {}))
        if len(self._kept) < _SESSIONS_MAX:
            self._kept[user, name] = (
                now + _timeout(request),
                {**settings, **said},
            )


def _timeout(request: Request) -> float:
    try:
        return min(_TIMEOUT_MAX_S, float(request.values.get("session_timeout", _TIMEOUT_S)))
    except ValueError:
        return _TIMEOUT_S
