"""Job store in a SQLite file."""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from typing_extensions import override

from langchain_minitoolai._image_files import absolute
from langchain_minitoolai.stores._base import CallRecord
from langchain_minitoolai.stores._transactions import (
    Transaction,
    TransactionalStore,
    machine_clock,
    parse_record,
)

T = TypeVar("T")


class SQLiteJobStore(TransactionalStore):
    """Jobs in a file, for the processes of one machine, and for restarts.

    Args:
        path: The file; it is made when the store is first used.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Keep the path; nothing is opened."""
        name = os.fspath(path)
        if not name or name == ":memory:" or "\0" in name:
            raise ValueError(f"path is {name!r}; allowed: the path of a file")
        self.path = absolute(Path(name))
        self._local = threading.local()

    def __repr__(self) -> str:
        """Name the file."""
        return f"SQLiteJobStore({str(self.path)!r})"

    def __eq__(self, other: object) -> bool:
        """Compare the files."""
        return isinstance(other, SQLiteJobStore) and other.path == self.path

    def __hash__(self) -> int:
        """Hash the file's path."""
        return hash(self.path)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path."""
        return type(self), (str(self.path),)

    @override
    def _transact(self, work: Callable[[Transaction], T]) -> T:
        database = self._database()
        with _immediate(database):
            records = Transaction(lambda key: _select(database, key), machine_clock())
            result = work(records)
            for key, value in records.writes.items():
                if value is None:
                    database.execute("DELETE FROM records WHERE key = ?", (key,))
                else:
                    database.execute("INSERT OR REPLACE INTO records VALUES (?, ?)", (key, value))
        return result

    @override
    def load(self, key: str) -> CallRecord | None:
        return parse_record(key, _select(self._database(), key), machine_clock())

    def _database(self) -> sqlite3.Connection:
        """Return this thread's connection, opened in this process."""
        opened: _Connection | None = getattr(self._local, "opened", None)
        if opened is None or opened.process != os.getpid():
            if opened is not None:
                _inherited.append(opened)  # SQLite forbids to use or close it in a fork
            opened = self._local.opened = _Connection(self.path)
        return opened.database


_inherited: Final[list["_Connection"]] = []


class _Connection:
    """A connection, closed when its thread ends."""

    def __init__(self, path: Path) -> None:
        self.process = os.getpid()
        self.database = sqlite3.connect(
            path, timeout=30.0, isolation_level=None, check_same_thread=False
        )
        self._prepare()

    def _prepare(self) -> None:
        with suppress(sqlite3.OperationalError):  # another process does, or nobody may
            self.database.execute("PRAGMA journal_mode=WAL")
        self.database.execute("PRAGMA synchronous=FULL")
        if self._version() == 0:
            with _immediate(self.database):
                self.database.execute(
                    "CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY, value TEXT NOT NULL)"
                )
                self.database.execute("PRAGMA user_version=1")
        if (version := self._version()) != 1:
            raise ValueError(f"its schema has version {version}; this package reads version 1")

    def _version(self) -> int:
        return int(self.database.execute("PRAGMA user_version").fetchone()[0])

    def __del__(self) -> None:
        if "database" in self.__dict__ and self.process == os.getpid():
            self.database.close()


@contextmanager
def _immediate(database: sqlite3.Connection) -> Iterator[None]:
    """Hold the file's only write transaction; it is undone where the block raises."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # some errors have undone it already
            database.execute("ROLLBACK")
        raise


def _select(database: sqlite3.Connection, key: str) -> str | bytes | None:
    row = database.execute("SELECT value FROM records WHERE key = ?", (key,)).fetchone()
    return row[0] if row else None
