"""Rows of the store as files for analysts, with a signed account of what they hold."""
