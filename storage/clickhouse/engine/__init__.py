"""The embedded store: chDB in a process of its own that speaks the ClickHouse HTTP protocol."""
