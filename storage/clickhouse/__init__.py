"""The ClickHouse store: its process, its tables, and every question that is put to it."""
