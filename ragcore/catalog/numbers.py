"""The numbers that tables give their rows, and that are never given twice."""

from __future__ import annotations

from sqlalchemy import Connection, Table, func, select, text

from ragcore.catalog.models import Base


def tables_behind(connection: Connection) -> list[Table]:
    """Tables that would give a number again which a row has, as after rows were put in by hand."""
    behind = []
    for table in Base.metadata.sorted_tables:
        if table.autoincrement_column is not None:
            highest = connection.scalar(select(func.max(table.autoincrement_column))) or 0
            if highest > last_id(connection, table):
                behind.append(table)
    return behind


def catch_up(connection: Connection) -> None:
    """Let every table go on above its highest number."""
    for table in tables_behind(connection):
        highest = connection.scalar(select(func.max(table.autoincrement_column)))
        set_last_id(connection, table, highest or 0)


def last_id(connection: Connection, table: Table) -> int:
    """The highest id that was ever given, also to rows that are gone; 0 for keys of other kinds."""
    if table.autoincrement_column is None:
        return 0
    if connection.dialect.name == "sqlite":
        found = text("SELECT max(seq) FROM sqlite_sequence WHERE name = :table")
        return int(connection.scalar(found, {"table": table.name}) or 0)
    sequence = _sequence(connection, table)
    given = f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}"
    return int(connection.scalar(text(given)) or 0)


def set_last_id(connection: Connection, table: Table, highest: int) -> None:
    """Ids up to this one are never given again."""
    if not highest or table.autoincrement_column is None:
        return
    if connection.dialect.name == "sqlite":
        values = {"table": table.name, "highest": highest}
        connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :table"), values)
        connection.execute(
            text("INSERT INTO sqlite_sequence (name, seq) VALUES (:table, :highest)"), values
        )
        return
    statement = text("SELECT setval(:sequence, :highest)")
    sequence = _sequence(connection, table)
    connection.execute(statement, {"sequence": sequence, "highest": highest})


def _sequence(connection: Connection, table: Table) -> str:
    assert table.autoincrement_column is not None
    find = text("SELECT pg_get_serial_sequence(:table, :column)")
    values = {"table": table.name, "column": table.autoincrement_column.name}
    return str(connection.scalar(find, values))
