"""Command line, configuration and wiring."""
