"""Copies of a whole installation: store, spool, journal, registry, keys and configuration."""
