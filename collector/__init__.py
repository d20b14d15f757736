"""From UDP socket to decoded flows: receiver, journal, decoder and loss ledger."""
