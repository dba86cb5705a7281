"""The only way to PostgreSQL: reads URLs, opens connections and runs queries.

A connection is one to a primary, unless its URL or its opener says otherwise: OnStandby ends one that meets a standby,
and is a lost connection wherever one is handled. No wait for a server is without end: a connection on which a wait
takes longer than its `patience` is closed. What a statement relies on is stated here, whatever an administrator has set
for a role or a database: `transaction` sets it for one transaction, since a pooler in transaction mode gives the next
one to another session; `session_settings` is for a session of our own.
"""

from __future__ import annotations

import os
import re
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, LiteralString, TypeVar, cast

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import ConnStatus, PollingStatus, TransactionStatus
from psycopg.rows import class_row, namedtuple_row, scalar_row

from pgleaderboard.errors import NeedsPerson, PgleaderboardError, Transient

DatabaseError = psycopg.Error
ConnectionLost = psycopg.OperationalError  # the database is out of reach, or has become so
T = TypeVar("T")

PATIENCE = 35.0  # seconds that one wait may take, outside of `transaction`
STATEMENT_SECONDS = 600.0  # that a statement may take; the first board of a million teams takes a fortieth of it
_INTERVAL = 0.1  # seconds between looks for Ctrl-C while it waits
_CANCELLED_WITHIN = 3.0  # seconds for the request to cancel a statement that is not waited for any longer
_GRACE = 5.0  # seconds beyond its time-out after which a statement is not waited for
_ONE_HOST, _ONE_OF_MANY = 30, 3  # seconds to connect; a database that sleeps takes long to wake

SETTINGS = {
    "client_encoding": "UTF8",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "quote_all_identifiers": "off",
    "row_security": "on",
    "idle_in_transaction_session_timeout": "1min",
}
_SINCE_17 = {"transaction_timeout": "0"}
# What BEGIN states in `transaction`, for statements outside of one.
_OF_A_SESSION = {
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "idle_session_timeout": "0",
}
READ_WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE, NOT DEFERRABLE;"
_READ_ONLY = "BEGIN ISOLATION LEVEL READ COMMITTED, READ ONLY, NOT DEFERRABLE;"
_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY, NOT DEFERRABLE;"


class NoAnswer(psycopg.OperationalError):
    """The server has not answered in time; the connection is closed."""


class OnStandby(psycopg.OperationalError):
    """The server is a standby, which takes no writes; the connection is closed."""


class MomentLoader(psycopg.adapt.Loader):
    """Reads what Python has no datetime for, too: infinity and years of five digits as None, never.

    Before the year 1, -infinity among it, is the first moment that has a date in every time zone.
    """

    _EARLIEST = datetime(1, 1, 2, tzinfo=UTC)

    def __init__(self, oid: int, context: psycopg.abc.AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._usual = psycopg.adapters.get_loader(oid, self.format)(oid, context)  # type: ignore[misc]

    def load(self, data: psycopg.abc.Buffer) -> datetime | None:
        """Read a timestamptz."""
        try:
            return cast(datetime, self._usual.load(data))
        except psycopg.DataError:
            text = bytes(data)
            if text == b"-infinity" or text.endswith(b" BC"):
                return self._EARLIEST
            if text == b"infinity" or re.match(rb"\d{5}", text):
                return None
            raise


class Connection(psycopg.Connection[Any]):
    """A connection on which no wait for an answer takes longer than `patience` seconds: NoAnswer ends it.

    statement_seconds: that a statement of a `transaction` may take. lock_seconds: that it may wait for a lock, 0 = as
    long. role: as which a `transaction` runs, None = as oneself. reads: it is never written through, and its server may
    be a standby. synchronous_commit: of boards, None = as for everything else.
    """

    patience = PATIENCE
    statement_seconds = STATEMENT_SECONDS
    lock_seconds = 0.0
    role: str | None = None
    reads = False
    synchronous_commit: str | None = None

    def hang_up(self) -> None:
        """Have the thread that waits for an answer raise OperationalError at once, since its server is gone."""
        with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(self.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    def wait(self, gen: Any, interval: float = _INTERVAL, timeout: float | None = None) -> Any:
        """As psycopg's; without a `timeout` of the caller's it is `patience`."""
        until = time.monotonic() + self.patience
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.errors.ReadOnlySqlTransaction as error:
            if self.reads:
                raise
            lost = _on_standby(self)
            self.close()
            raise lost from error
        except psycopg.OperationalError:
            if timeout is not None or time.monotonic() < until:
                raise
            # A server that lives would go on, with its locks: a COMMIT waits for a standby as long as it takes.
            with suppress(psycopg.Error):
                self.cancel_safe(timeout=_CANCELLED_WITHIN)
            self.close()
            raise NoAnswer(f"the server has not answered for {self.patience:g} s") from None


class AsyncConnection(psycopg.AsyncConnection[Any]):
    """As Connection."""

    patience = PATIENCE

    async def wait(
        self,
        gen: Any,
        interval: float = _INTERVAL,
        timeout: float | None = None,  # noqa: ASYNC109 - it is psycopg's
    ) -> Any:
        """As psycopg's; without a `timeout` of the caller's it is `patience`."""
        until = time.monotonic() + self.patience
        try:
            return await super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.errors.ReadOnlySqlTransaction as error:
            lost = _on_standby(self)
            await self.close()
            raise lost from error
        except psycopg.OperationalError:
            if timeout is not None or time.monotonic() < until:
                raise
            await self.close()
            raise NoAnswer(f"the server has not answered for {self.patience:g} s") from None


def _on_standby(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> OnStandby:
    return OnStandby(f"{':'.join(map(str, address_of(connection)))} is a standby, which takes no writes")


# URLs.


def parts_of(url: str) -> dict[str, Any]:
    """Split a URL or DSN into libpq's parameters.

    Raises NeedsPerson with a message that repeats no part of the URL, since any of it may belong to a password, but
    the name of a parameter that libpq does not know.
    """
    unreadable = NeedsPerson(
        "cannot read the database's URL: write postgresql://user:password@host:port/database, "
        "with any of @ : / ? # % or space in the password percent-encoded (@ is %40)"
    )
    try:
        parts: dict[str, Any] = conninfo_to_dict(url)
    except (psycopg.Error, UnicodeError):
        if name := _foreign_parameter(url):
            raise NeedsPerson(
                f"the database's URL has the parameter {name}, which PostgreSQL's client library does not know: "
                "remove it (it belongs to another program)"
            ) from None
        raise unreadable from None
    host, port = str(parts.get("host") or ""), str(parts.get("port") or "")
    if "@" in host or not re.fullmatch(r"[\d,]*", port) or re.search("@.*/", str(parts.get("dbname"))):
        raise unreadable
    return parts


def _foreign_parameter(url: str) -> str | None:
    """The first parameter behind the ? of a URL that alone makes it unreadable."""
    address, mark, query = url.partition("?")
    if not mark or "@" in query:  # then it is part of a password
        return None
    try:
        conninfo_to_dict(address)
    except (psycopg.Error, UnicodeError):
        return None
    for name in re.findall(r"(\w+)=", query):
        try:
            conninfo_to_dict(f"{address}?{name}=1")
        except psycopg.Error:
            return str(name)
    return None


def conninfo(
    url: str,
    purpose: str,
    *,
    first: tuple[str, int] | None = None,
    connect_timeout: int | None = None,
) -> str:
    """Add our defaults to a URL or DSN. Raises NeedsPerson as `parts_of` does.

    purpose: what pg_stat_activity shows behind "pgleaderboard". first: the address and the port to ask first, where
    the URL has several. connect_timeout: seconds for a host; what the URL or PGCONNECT_TIMEOUT says goes before ours.
    """
    parts = parts_of(url)
    addresses = _addresses(parts)
    ours: dict[str, Any] = {
        "application_name": f"pgleaderboard {purpose}".rstrip(),
        # A server can vanish without closing its connections.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 25_000,  # milliseconds; no keepalives are sent while data waits for an acknowledgement
    }
    if "PGCONNECT_TIMEOUT" not in os.environ:
        ours["connect_timeout"] = connect_timeout or (_ONE_OF_MANY if len(addresses) > 1 else _ONE_HOST)
    if first and len(addresses) > 1:
        addresses.sort(key=lambda known: _place(*known) != first)
        hosts, numbers, ports = zip(*addresses, strict=True)
        parts |= {"host": ",".join(hosts), "hostaddr": ",".join(numbers), "port": ",".join(ports)}
    # psycopg returns bytes from a database in SQL_ASCII otherwise.
    return make_conninfo(**(ours | parts), client_encoding="UTF8")


def address_of(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> tuple[str, int]:
    """The address and the port that answered, for `conninfo`."""
    info = connection.info
    return (info.hostaddr or info.host, info.port)


def _place(host: str, number: str, port: str) -> tuple[str, int]:
    return (number or host, int(port or 5432))


def _addresses(parts: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Host, address and port of every server that a URL may mean: a name may have several addresses."""
    hosts = str(parts.get("host") or os.environ.get("PGHOST") or "").split(",")
    numbers = str(parts.get("hostaddr") or "").split(",")
    ports = str(parts.get("port") or os.environ.get("PGPORT") or "").split(",")
    count = max(len(hosts), len(numbers))
    hosts, numbers, ports = (
        given * count if len(given) == 1 else given + [""] * (count - len(given)) for given in (hosts, numbers, ports)
    )
    found: list[tuple[str, str, str]] = []
    for host, number, port in zip(hosts, numbers, ports, strict=False):
        if number or not host or host.startswith(("/", "@")):
            found.append((host, number, port))
            continue
        try:
            named = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            found.append((host, "", port))  # libpq tells what is wrong with it
        else:
            found += dict.fromkeys((host, str(name[4][0]), port) for name in named)
    return found


def without_password(url: str) -> tuple[str, str | None]:
    """Split a URL or DSN into a DSN that other users may see and the password, None where there is none."""
    parts = parts_of(url)
    password: str | None = parts.pop("password", None)
    return make_conninfo(**parts), password


# Connections.

_answered: set[tuple[str, int]] = set()  # primaries


def connect(url: str, purpose: str = "", *, connect_timeout: int | None = None, reads: bool = False) -> Connection:
    """Open a connection in autocommit, to the primary unless the URL has target_session_attrs. reads: see `Connection`.

    Of several servers the one that answered this process last is asked first: one that says nothing costs seconds.
    Raises psycopg.OperationalError where the database is out of reach or refuses; its sqlstate is the server's, None
    where no server answered. It is OnStandby where only standbys answered.
    """
    dsn = conninfo(url, purpose, connect_timeout=connect_timeout)
    parts = parts_of(dsn)
    is_any = reads or "target_session_attrs" in parts
    addresses = [] if is_any else sorted(_addresses(parts), key=lambda known: _place(*known) not in _answered)
    errors: list[psycopg.OperationalError] = []
    for host, number, port in addresses if len(addresses) > 1 else [("", "", "")]:
        one = make_conninfo(dsn, **({"host": host, "hostaddr": number, "port": port} if host or number else {}))
        try:
            # No prepared statements: behind a pooler in transaction mode the next statement meets another session.
            connection = Connection.connect(one, autocommit=True, prepare_threshold=None)
            # Not libpq's way: PgBouncer goes on telling what its first server was.
            if not is_any and connection.execute("SELECT pg_is_in_recovery()").fetchone() != (False,):
                error = _on_standby(connection)
                connection.close()
                raise error
        except psycopg.OperationalError as error:
            if not isinstance(error, psycopg.errors.ConnectionTimeout | OnStandby):
                error.sqlstate = error.sqlstate or refusal(one)
            errors.append(error)
            _answered.discard(_place(host, number, port))
        else:
            _answered.add(_place(host, number, port))
            connection.reads = reads
            connection.adapters.register_loader("timestamptz", MomentLoader)
            return connection
    # Of several servers, one that will be there soon is worth waiting for.
    raise min(errors, key=lambda error: needs_person(error.sqlstate))


def refusal(dsn: str) -> str | None:
    """The SQLSTATE with which a server refuses a connection; None where none answers, or one accepts.

    libpq gives a failed connection no SQLSTATE, and the words are in the server's language: it is read from libpq's
    trace of another try, which only Linux has.
    """
    if not hasattr(os, "memfd_create"):
        return None
    with open(os.memfd_create("trace"), "w+b") as trace:  # in memory: a password may stand in it
        connection = pq.PGconn.connect_start(dsn.encode())
        try:
            if connection.status == ConnStatus.BAD:
                return None
            connection.trace(trace.fileno())
            until = time.monotonic() + _ONE_OF_MANY
            status = PollingStatus.WRITING
            while status in (PollingStatus.READING, PollingStatus.WRITING) and time.monotonic() < until:
                poll = select.poll()
                poll.register(connection.socket, select.POLLIN if status == PollingStatus.READING else select.POLLOUT)
                poll.poll(1000 * max(0.0, until - time.monotonic()))
                status = PollingStatus(connection.connect_poll())
            connection.untrace()
            if connection.needs_password:
                return psycopg.errors.InvalidPassword.sqlstate
        finally:
            connection.finish()
        trace.seek(0)
        states = re.findall(rb'ErrorResponse\t S ".*? C "(\w{5})"', trace.read())
    return min((state.decode() for state in states), key=needs_person, default=None)


def needs_person(sqlstate: str | None) -> bool:
    """Whether waiting does not help against the refusal of a connection: no such user or database, no right to it."""
    return sqlstate is not None and sqlstate[:2] in ("28", "3D", "22", "42", "0A")


def explained(error: BaseException) -> PgleaderboardError:
    """The error in one line, without a password: NeedsPerson where waiting does not help, else Transient."""
    if isinstance(error, PgleaderboardError):
        return error
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OnStandby):
        return Transient(f"{message}: DATABASE_URL must lead to the primary")
    message = re.sub(r"^connection (failed|is bad): ", "", message)
    if type(error) is psycopg.OperationalError and error.sqlstate:  # libpq's, not the answer to a statement
        kind = NeedsPerson if needs_person(error.sqlstate) else Transient
        return kind(f"cannot connect: {message.rpartition('FATAL:')[2].strip()}")
    if isinstance(error, psycopg.Error) and error.sqlstate and not error.sqlstate.startswith(("08", "57P")):
        return Transient(f"the database refused: {message_of(error, with_hint=True)}")
    if isinstance(error, psycopg.DataError):
        return NeedsPerson(f"cannot read what the database holds: {message}")
    return Transient(f"the database is out of reach: {message}")


def may_be_ours(error: Exception) -> bool:
    """Whether a statement of ours may be wrong; else rights, limits, an outage or something of the user's refuse it."""
    sqlstate = error.sqlstate if isinstance(error, psycopg.Error) else None
    if sqlstate is None:
        return not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return sqlstate[:2] in ("22", "42", "XX") and sqlstate != "42501"


def settings_of(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> dict[str, str]:
    """What our statements rely on, for the version of this server."""
    return SETTINGS | (_SINCE_17 if connection.info.server_version >= 170000 else {})


def session_settings(
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any],
    seconds: float,
    lock_seconds: float = 0,
    **settings: str,
) -> bytes:
    """The statements that set it for a session of our own.

    seconds: that a statement may take; lock_seconds: that it may wait for a lock, 0 = as long. settings: more of them.
    """
    settings = settings_of(connection) | _OF_A_SESSION | _time_limits(seconds, lock_seconds) | settings
    return "".join(f"SET {name} = '{setting}';" for name, setting in settings.items()).encode()


def _time_limits(seconds: float, lock_seconds: float) -> dict[str, str]:
    return {"statement_timeout": f"{seconds * 1000:.0f}ms", "lock_timeout": f"{lock_seconds * 1000:.0f}ms"}


@contextmanager
def transaction(
    connection: Connection,
    *,
    seconds: float | None = None,
    lock_seconds: float | None = None,
    snapshot: bool = False,
    keep: bool = True,
    **settings: str,
) -> Iterator[None]:
    """A transaction in which our statements can rely on their settings; a part of the one that runs, if one does.

    seconds, lock_seconds: the limits, else those of the connection. snapshot: read-only, and all statements see the
    same moment. keep: False takes everything back. settings: more of them.
    """
    if connection.info.transaction_status != TransactionStatus.IDLE:
        yield
        return
    seconds = connection.statement_seconds if seconds is None else seconds
    lock_seconds = connection.lock_seconds if lock_seconds is None else lock_seconds
    settings = settings_of(connection) | _time_limits(seconds, lock_seconds) | settings
    if connection.role:
        settings["role"] = connection.role
    local = ", ".join(f"pg_catalog.set_config('{name}', '{setting}', true)" for name, setting in settings.items())
    begin = f"{_SNAPSHOT if snapshot else _READ_ONLY if connection.reads else READ_WRITE} SELECT {local}"
    connection.patience = seconds + _GRACE
    try:
        try:
            connection.execute(begin.encode())
        except psycopg.errors.FeatureNotSupported as error:  # a standby has no READ WRITE
            lost = _on_standby(connection)
            connection.close()
            raise lost from error
        yield
        # It may have been committed in one round trip with its last statement.
        if connection.info.transaction_status != TransactionStatus.IDLE:
            connection.execute("COMMIT" if keep else "ROLLBACK")
    finally:
        connection.patience = PATIENCE
        if not connection.closed and connection.info.transaction_status != TransactionStatus.IDLE:
            connection.rollback()


# Queries. Outside of a transaction each is one.


def rows(connection: Connection, query: LiteralString, *values: Any, **named: Any) -> list[Any]:
    """All rows of a query as named tuples. values: of its %s; named: of its %(name)s."""
    with transaction(connection):
        return connection.cursor(row_factory=namedtuple_row).execute(query, named or values or None).fetchall()


def row(connection: Connection, query: LiteralString, *values: Any, **named: Any) -> Any:
    """The first row of a query that has one."""
    return rows(connection, query, *values, **named)[0]


def column(connection: Connection, query: LiteralString, *values: Any, **named: Any) -> list[Any]:
    """The first value of each row."""
    with transaction(connection):
        return connection.cursor(row_factory=scalar_row).execute(query, named or values or None).fetchall()


def value(connection: Connection, query: LiteralString, *values: Any, **named: Any) -> Any:
    """The first value of the first row, None without one."""
    with transaction(connection):
        return connection.cursor(row_factory=scalar_row).execute(query, named or values or None).fetchone()


def objects(connection: Connection, kind: type[T], query: LiteralString, *values: Any, **named: Any) -> list[T]:
    """All rows as instances of a class that has a parameter for each column."""
    with transaction(connection):
        return connection.cursor(row_factory=class_row(kind)).execute(query, named or values or None).fetchall()


def message_of(error: psycopg.Error, *, with_hint: bool = False) -> str:
    """The server's message, in one line."""
    parts = (error.diag.message_primary or str(error), error.diag.message_hint if with_hint else None)
    return " ".join(": ".join(filter(None, parts)).split()) or type(error).__name__
