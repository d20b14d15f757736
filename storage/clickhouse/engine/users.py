"""The store's two users."""

from enum import StrEnum


class User(StrEnum):
    """Who asks."""

    LOADER = "loader"
    READER = "reader"
