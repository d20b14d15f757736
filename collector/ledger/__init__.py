"""The loss ledger: what arrived from each stream in each minute, and what is missing.

``LossLedger`` drops exact duplicates, follows the sequence numbers, and gives the rows of
``exporter_health``. docs/explanation/loss.md says what the numbers mean.
"""

from collector.ledger.config import LedgerConfig
from collector.ledger.ledger import LossLedger
from collector.ledger.rows import StreamKeys

__all__ = ["LedgerConfig", "LossLedger", "StreamKeys"]
