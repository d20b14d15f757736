"""The decoder of NetFlow v1, v5, v9 and IPFIX."""

from collector.decoder.decoder import Decoder
from collector.decoder.history import History
from collector.decoder.streams import Stream

__all__ = ["Decoder", "History", "Stream"]
