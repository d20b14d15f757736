"""From decoded batches to rows in the store, each exactly once."""
