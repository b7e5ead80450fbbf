"""Job store in Redis."""

from collections.abc import Callable
from typing import Any, TypeVar

from typing_extensions import override

from langchain_minitoolai.stores._transactions import Transaction, TransactionalStore

T = TypeVar("T")


class RedisJobStore(TransactionalStore):
    """Jobs in Redis, for many machines; needs the extra `redis`.

    Each operation is one optimistic transaction (`WATCH`, `MULTI`, `EXEC`), so there are no locks
    that a dead process could hold, and ages are measured by the server's clock alone.

    Args:
        redis: A URL such as `redis://localhost:6379/0`, or a client of redis-py.
    """

    def __init__(self, redis: Any) -> None:
        """Keep the address or the client; nothing is opened."""
        try:
            from redis import Redis, WatchError  # noqa: PLC0415 - an extra
        except ImportError:
            raise ImportError(
                'RedisJobStore needs redis: pip install "langchain-minitoolai[redis]"'
            ) from None
        if not isinstance(redis, str | Redis):
            name = f"{type(redis).__module__}.{type(redis).__name__}"
            raise TypeError(f"redis is a {name}; allowed: a URL, or a redis.Redis")
        self._url = redis if isinstance(redis, str) else None
        limits = {"socket_timeout": 10.0, "socket_connect_timeout": 10.0}
        self._client = Redis.from_url(redis, **limits) if isinstance(redis, str) else redis
        self._conflict = WatchError

    def __repr__(self) -> str:
        """Name the server, without its password."""
        at = self._client.connection_pool.connection_kwargs
        place = at.get("path") or f"{at.get('host', 'localhost')}:{at.get('port', 6379)}"
        return f"RedisJobStore({place!r}, db={at.get('db') or 0})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the URL."""
        if self._url is None:
            raise TypeError("a Redis client can't be pickled; allowed: RedisJobStore(url)")
        return type(self), (self._url,)

    @override
    def _transact(self, work: Callable[[Transaction], T]) -> T:
        with self._client.pipeline() as pipe:
            while True:
                try:
                    return self._attempt(pipe, work)
                except self._conflict:
                    continue  # another's transaction came between; it made progress

    def _attempt(self, pipe: Any, work: Callable[[Transaction], T]) -> T:
        def read(key: str) -> str | bytes | None:
            pipe.watch(key)
            value: str | bytes | None = pipe.get(key)
            return value

        seconds, micros = self._client.time()
        records = Transaction(read, seconds + micros / 1e6)
        result = work(records)
        pipe.multi()
        for key, value in records.writes.items():
            _ = pipe.delete(key) if value is None else pipe.set(key, value)
        pipe.execute()
        return result
