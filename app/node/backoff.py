"""How long to wait before something that died is started again."""

from dataclasses import dataclass, field
from random import Random

_JITTER = 0.2


@dataclass(slots=True)
class Backoff:
    """Pauses that double up to a bound, each longer or shorter by up to a fifth.

    It never gives up. After ``forgive_after_s`` of running the first pause is the short one again.
    """

    first_s: float
    most_s: float
    forgive_after_s: float = 60.0
    random: Random = field(default_factory=Random)
    failures: int = 0

    def failed(self, *, ran_s: float) -> float:
        """Note a failure after so long a run; return the pause."""
        if ran_s >= self.forgive_after_s:
            self.failures = 0
        # Bounded, for 2 ** n would soon be no float.
        pause_s = min(self.most_s, self.first_s * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return pause_s * self.random.uniform(1 - _JITTER, 1 + _JITTER)
