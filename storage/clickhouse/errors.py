"""What can go wrong with a store, told apart by what to do about it."""

from core.errors import FlowledgerError


class StoreError(FlowledgerError):
    """The store did not do what was asked; ``code`` is its own number for why, 0 for none."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class StoreDownError(StoreError):
    """It is not there, too slow or too busy: the same may be tried again."""


class StoreRefusedError(StoreError):
    """The question or the data is wrong: the same will be refused again."""


class StoreDeniedError(StoreError):
    """It lets us not in, or its tables are not as we need them: somebody has to change that."""


# What names credentials, rights, or tables that are not there.
_DENIED = frozenset(
    {
        164,  # READONLY
        192,  # UNKNOWN_USER
        193,  # WRONG_PASSWORD
        194,  # REQUIRED_PASSWORD
        195,  # IP_ADDRESS_NOT_ALLOWED
        291,  # DATABASE_ACCESS_DENIED
        497,  # ACCESS_DENIED
        516,  # AUTHENTICATION_FAILED
    }
)
# What the state of the store is to blame for, never what it was given.
_DOWN = frozenset(
    {
        3,  # UNEXPECTED_END_OF_FILE
        74,  # CANNOT_READ_FROM_FILE_DESCRIPTOR
        75,  # CANNOT_WRITE_TO_FILE_DESCRIPTOR: the disk is full, or read-only.
        76,  # CANNOT_OPEN_FILE
        77,  # CANNOT_CLOSE_FILE
        107,  # FILE_DOESNT_EXIST
        159,  # TIMEOUT_EXCEEDED
        198,  # DNS_ERROR
        202,  # TOO_MANY_SIMULTANEOUS_QUERIES
        203,  # NO_FREE_CONNECTION
        209,  # SOCKET_TIMEOUT
        210,  # NETWORK_ERROR
        225,  # NO_ZOOKEEPER
        236,  # ABORTED
        242,  # TABLE_IS_READ_ONLY: a replica that lost its keeper.
        243,  # NOT_ENOUGH_SPACE
        252,  # TOO_MANY_PARTS
        253,  # REPLICA_ALREADY_EXISTS
        254,  # NO_ACTIVE_REPLICAS
        279,  # ALL_CONNECTION_TRIES_FAILED
        285,  # TOO_FEW_LIVE_REPLICAS
        286,  # UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
        298,  # CANNOT_PIPE and what else the machine denies
        303,  # CANNOT_FSYNC
        305,  # CANNOT_LINK
        319,  # UNKNOWN_STATUS_OF_INSERT
        373,  # SESSION_IS_LOCKED
        394,  # QUERY_WAS_CANCELLED
        425,  # SYSTEM_ERROR
        439,  # CANNOT_SCHEDULE_TASK
        473,  # DEADLOCK_AVOIDED
        571,  # DATABASE_REPLICATION_FAILED
        574,  # CANNOT_ALLOCATE_THREAD_STACK
        712,  # TOO_MANY_MUTATIONS
        999,  # KEEPER_EXCEPTION
        1001,  # STD_EXCEPTION: the file system's own, as a rule.
        1002,  # UNKNOWN_EXCEPTION
    }
)
# For a load these are the store's state too; for a question they are what was asked.
_DOWN_FOR_LOADS = frozenset({173, 241})  # CANNOT_ALLOCATE_MEMORY, MEMORY_LIMIT_EXCEEDED
_DENIED_FOR_LOADS = frozenset(
    {
        10,  # NOT_FOUND_COLUMN_IN_BLOCK
        16,  # NO_SUCH_COLUMN_IN_TABLE
        36,  # BAD_ARGUMENTS: where the file lies is not allowed.
        48,  # NOT_IMPLEMENTED
        60,  # UNKNOWN_TABLE
        62,  # SYNTAX_ERROR
        81,  # UNKNOWN_DATABASE
        115,  # UNKNOWN_SETTING
        452,  # SETTING_CONSTRAINT_VIOLATION
    }
)
_BUSY_STATUSES = frozenset({408, 429, 502, 503, 504})
_DENIED_STATUSES = frozenset({401, 403, 407})


def error_of(code: int, message: str, *, is_load: bool, status: int = 0) -> StoreError:
    """Return the error for a number of the store, or for a status of HTTP without one."""
    if code in _DENIED or (is_load and code in _DENIED_FOR_LOADS):
        return StoreDeniedError(message, code)
    if code in _DOWN or (is_load and code in _DOWN_FOR_LOADS):
        return StoreDownError(message, code)
    if not code:
        if status in _DENIED_STATUSES:
            return StoreDeniedError(message)
        if status in _BUSY_STATUSES or status >= 500 or not status:
            return StoreDownError(message)
    return StoreRefusedError(message, code)
