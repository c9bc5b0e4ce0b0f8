"""First schema: collections to conversations, and the lexical index over passages and images.

Revision ID: 0001_first
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001_first"
down_revision = None


def _string(length: int) -> sa.types.TypeEngine[str]:
    """PostgreSQL would refuse longer values, SQLite never does: both take any."""
    return sa.String(length).with_variant(sa.Text(), "postgresql")


def _id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _time(name: str, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _int(name: str, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=nullable)


def _ref(name: str, target: str, *, primary_key: bool = False) -> sa.Column[int]:
    key = sa.ForeignKey(target, ondelete="CASCADE")
    return sa.Column(name, _id(), key, nullable=False, primary_key=primary_key)


def _scope() -> list[sa.Column[str]]:
    """For FTS5, which can only distinguish collections by a word."""
    if op.get_bind().dialect.name != "sqlite":
        return []
    return [sa.Column("scope", sa.Text, sa.Computed("'c' || collection_id", persisted=False))]


def upgrade() -> None:
    _collections_and_documents()
    _content()
    _vectors()
    _work_and_people()
    if op.get_bind().dialect.name == "sqlite":
        _fts5("passages", ("text", "heading", "title", "scope"))
        _fts5("images", ("text", "caption", "name", "scope"))
    else:
        _word_functions()
        _tsvector("passages", ("text", "heading", "title"))
        _tsvector("images", ("text", "caption", "name"))


def _collections_and_documents() -> None:
    op.create_table(
        "collections",
        sa.Column("id", _id(), primary_key=True),
        sa.Column("name", _string(200), nullable=False, unique=True),
        _time("created_at"),
        sa.Column("settings", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "documents",
        sa.Column("id", _id(), primary_key=True),
        _ref("collection_id", "collections.id"),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        _text("title"),
        sa.Column("media_type", _string(100), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("mtime_ns", sa.BigInteger, nullable=False),
        sa.Column("sha256", _string(64), nullable=False),
        sa.Column("paged", sa.Boolean, nullable=False),
        _int("page_count"),
        _int("passage_count"),
        _int("image_count"),
        sa.Column("details", sa.JSON, nullable=False),
        sa.Column("warnings", sa.JSON, nullable=False),
        sa.Column("state", _string(20), nullable=False),
        _text("error"),
        _time("modified_at"),
        _time("ingested_at"),
        sa.UniqueConstraint("collection_id", "path"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_documents_sha256", "documents", ["collection_id", "sha256"])


def _content() -> None:
    op.create_table(
        "pages",
        _ref("document_id", "documents.id", primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("label", _string(50)),
        _int("start"),
        sa.Column("ocr", sa.Boolean, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_table(
        "passages",
        sa.Column("id", _id(), primary_key=True),
        _ref("document_id", "documents.id"),
        sa.Column("collection_id", _id(), nullable=False),
        *(_int(name) for name in ("ordinal", "page", "page_end", "start", "end")),
        _text("title"),
        _text("heading"),
        sa.Column("text", sa.Text, nullable=False),
        *_scope(),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_passages_collection", "passages", ["collection_id"])
    op.create_index("ix_passages_document", "passages", ["document_id", "ordinal"])
    op.create_table(
        "images",
        sa.Column("id", _id(), primary_key=True),
        _ref("document_id", "documents.id"),
        sa.Column("collection_id", _id(), nullable=False),
        _int("ordinal"),
        _int("page", nullable=True),
        _int("width"),
        _int("height"),
        sa.Column("pixels_sha256", _string(64), nullable=False),
        sa.Column("phash", sa.LargeBinary, nullable=False),
        *(_text(name) for name in ("media", "name", "caption", "text")),
        *_scope(),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_images_collection", "images", ["collection_id"])
    op.create_index("ix_images_document", "images", ["document_id"])
    op.create_index("ix_images_pixels", "images", ["collection_id", "pixels_sha256"])
    op.create_table(
        "thumbnails",
        _ref("image_id", "images.id", primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )


def _vectors() -> None:
    op.create_table(
        "spaces",
        sa.Column("id", _id(), primary_key=True),
        sa.Column("name", _string(300), nullable=False, unique=True),
        sa.Column("modality", _string(10), nullable=False),
        _int("dimension"),
        _time("created_at"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "collection_spaces",
        _ref("collection_id", "collections.id", primary_key=True),
        _ref("space_id", "spaces.id", primary_key=True),
        sa.Column("modality", _string(10), nullable=False),
        sa.Column("state", _string(10), nullable=False),
    )
    op.create_table(
        "embeddings",
        _ref("space_id", "spaces.id", primary_key=True),
        sa.Column("item_id", sa.BigInteger, primary_key=True),
        sa.Column("collection_id", _id(), nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    columns = ["collection_id", "space_id", "item_id"]
    op.create_index("ix_embeddings_collection", "embeddings", columns)
    op.create_table(
        "changes",
        sa.Column("seq", _id(), primary_key=True),
        sa.Column("collection_id", _id(), nullable=False),
        sa.Column("space_id", _id(), nullable=False),
        sa.Column("item_id", sa.BigInteger, nullable=False),
        sa.Column("removed", sa.Boolean, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_changes_store", "changes", ["collection_id", "space_id", "seq"])


def _work_and_people() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", _id(), primary_key=True),
        sa.Column("kind", _string(30), nullable=False),
        sa.Column("collection", _string(200), nullable=False),
        sa.Column("state", _string(20), nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        *(sa.Column(name, sa.JSON, nullable=False) for name in ("request", "progress", "report")),
        _text("error"),
        sa.Column("process", _string(100), nullable=False),
        _time("created_at"),
        _time("updated_at"),
        _time("finished_at", nullable=True),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "conversations",
        sa.Column("id", _id(), primary_key=True),
        sa.Column("owner", _string(200), nullable=False),
        sa.Column("collection", _string(200), nullable=False),
        _text("title"),
        _time("created_at"),
        _time("updated_at"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_conversations_owner", "conversations", ["owner", "updated_at"])
    op.create_table(
        "turns",
        sa.Column("id", _id(), primary_key=True),
        _ref("conversation_id", "conversations.id"),
        sa.Column("role", _string(20), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        _int("rating", nullable=True),
        _time("created_at"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_turns_conversation", "turns", ["conversation_id", "id"])
    op.create_table(
        "duplicate_decisions",
        _ref("first_id", "images.id", primary_key=True),
        _ref("second_id", "images.id", primary_key=True),
        sa.Column("decision", _string(20), nullable=False),
        _time("decided_at"),
    )


def _fts5(table: str, columns: tuple[str, ...]) -> None:
    """A full-text index over `table`, kept by triggers: it commits with the rows themselves."""
    names = ", ".join(columns)
    op.execute(
        f"CREATE VIRTUAL TABLE {table}_fts USING fts5({names}, content='{table}', "
        "content_rowid='id', tokenize='porter unicode61 remove_diacritics 2')"
    )
    # `scope` is computed, and a trigger sees it like any column.
    new = ", ".join(f"new.{c}" for c in columns)
    old = ", ".join(f"old.{c}" for c in columns)
    insert = f"INSERT INTO {table}_fts(rowid, {names}) VALUES (new.id, {new});"
    delete = (
        f"INSERT INTO {table}_fts({table}_fts, rowid, {names}) VALUES ('delete', old.id, {old});"
    )
    changed = ", ".join(c for c in columns if c != "scope")
    for moment, body in (
        ("INSERT", insert),
        ("DELETE", delete),
        (f"UPDATE OF {changed}", delete + insert),
    ):
        name = f"{table}_fts_{moment.split()[0].lower()}"
        op.execute(f"CREATE TRIGGER {name} AFTER {moment} ON {table} BEGIN {body} END")


# --- PostgreSQL ----------------------------------------------------------------
#
# <table>_fts holds one tsvector a row, cut and stemmed like FTS5 does it (porter unicode61
# remove_diacritics 2), and the number of words; <table>_fts_totals their sums, for BM25.


def _word_functions() -> None:
    op.execute(
        "CREATE TEXT SEARCH DICTIONARY ragcore_porter (TEMPLATE = snowball, LANGUAGE = porter)"
    )
    op.execute('CREATE TEXT SEARCH CONFIGURATION ragcore_words (PARSER = pg_catalog."default")')
    op.execute(
        "ALTER TEXT SEARCH CONFIGURATION ragcore_words ADD MAPPING FOR "
        "asciiword, word, numword, int, uint, float, sfloat, version WITH ragcore_porter"
    )
    # Only letters, digits and single spaces are left for the parser, so that it finds no hosts,
    # paths or hyphenated words in them. A tsvector cannot be longer than 1 MB. FTS5's stemmer has
    # two rules of Porter's later version: -logy becomes -log, and -bly -ble.
    plain = (
        "btrim(lower(regexp_replace(normalize(regexp_replace(normalize(left(line, 250000), NFD), "
        f"'[\\u0300-\\u036f]+', '', 'g'), NFC) COLLATE {_collation()}, "
        "'[^[:alnum:]]+', ' ', 'g')))"
    )
    begins = "([aeiouy][^aeiouy ][^ ]*)"
    op.execute(
        "CREATE FUNCTION ragcore_fold(line text) RETURNS text "
        "LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ SELECT regexp_replace(regexp_replace("
        f"{plain}, '{begins}log(y|ies|i)\\M', '\\1log', 'g'), "
        f"'{begins}bl(y|ies|i)\\M', '\\1ble', 'g') $$"
    )
    op.execute(
        "CREATE FUNCTION ragcore_count(folded text) RETURNS integer "
        "LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ SELECT CASE WHEN folded = '' THEN 0 "
        "ELSE length(folded) - length(replace(folded, ' ', '')) + 1 END $$"
    )
    # The words of `line` one after the other; `begins`: the last one is only a beginning.
    op.execute(
        "CREATE FUNCTION ragcore_query(line text, begins boolean) RETURNS tsquery "
        "LANGUAGE plpgsql STABLE STRICT SET search_path FROM CURRENT AS $$ "
        "DECLARE found tsquery := phraseto_tsquery('ragcore_words', ragcore_fold(line)); "
        "BEGIN IF begins AND numnode(found) > 0 THEN found := (found::text || ':*')::tsquery; "
        "END IF; RETURN found; END $$"
    )


def _collation() -> str:
    """One that knows the letters of all scripts, whatever the database's own locale is."""
    good = "('pg_c_utf8', 'und-x-icu')"
    there = sa.text(f"SELECT collname FROM pg_collation WHERE collname IN {good}")
    names = sorted(op.get_bind().scalars(there))
    return f'pg_catalog."{names[0]}"' if names else 'pg_catalog."default"'


def _tsvector(table: str, columns: tuple[str, ...]) -> None:
    """A full-text index over `table`, kept by triggers: it commits with the rows themselves."""
    names = ", ".join(columns)
    op.execute(
        f"CREATE TABLE {table}_fts (id bigint PRIMARY KEY, collection_id bigint NOT NULL, "
        "length integer NOT NULL, words tsvector NOT NULL) WITH (toast_tuple_target = 8160)"
    )
    # Scoring reads thousands of them: in their rows, and not compressed.
    op.execute(f"ALTER TABLE {table}_fts ALTER COLUMN words SET STORAGE EXTERNAL")
    op.execute(f"CREATE INDEX ix_{table}_fts_words ON {table}_fts USING gin (words)")
    op.execute(f"CREATE TABLE {table}_fts_totals (rows bigint NOT NULL, length bigint NOT NULL)")
    op.execute(f"INSERT INTO {table}_fts_totals VALUES (0, 0)")
    op.execute(
        f"CREATE VIEW {table}_fts_source AS SELECT id, collection_id, ragcore_count(folded) AS "
        "length, to_tsvector('ragcore_words', folded) AS words FROM (SELECT id, collection_id, "
        f"ragcore_fold(concat_ws(' ', {names})) AS folded FROM {table}) AS row"
    )
    _trigger(
        table,
        "INSERT",
        "REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT",
        f"WITH kept AS (INSERT INTO {table}_fts SELECT * FROM {table}_fts_source WHERE id IN "
        f"(SELECT id FROM fresh) RETURNING length) {_count(table, '+')} FROM kept) AS change;",
    )
    _trigger(
        table,
        "DELETE",
        "REFERENCING OLD TABLE AS gone FOR EACH STATEMENT",
        f"WITH kept AS (DELETE FROM {table}_fts WHERE id IN (SELECT id FROM gone) "
        f"RETURNING length) {_count(table, '-')} FROM kept) AS change;",
    )
    _trigger(
        table,
        f"UPDATE OF {names}",
        "FOR EACH ROW",
        f"UPDATE {table}_fts_totals SET length = length - (SELECT length FROM {table}_fts WHERE "
        f"id = new.id) + (SELECT length FROM {table}_fts_source WHERE id = new.id); "
        f"UPDATE {table}_fts SET (length, words) = (SELECT length, words FROM {table}_fts_source "
        "WHERE id = new.id) WHERE id = new.id;",
    )


def _count(table: str, sign: str) -> str:
    return (
        f"UPDATE {table}_fts_totals AS sums SET rows = sums.rows {sign} change.rows, "
        f"length = sums.length {sign} change.length FROM "
        "(SELECT count(*) AS rows, coalesce(sum(length), 0) AS length"
    )


def _trigger(table: str, moment: str, how: str, body: str) -> None:
    name = f"{table}_fts_{moment.split()[0].lower()}"
    op.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT "
        f"AS $$ BEGIN {body} RETURN NULL; END $$"
    )
    op.execute(f"CREATE TRIGGER {name} AFTER {moment} ON {table} {how} EXECUTE FUNCTION {name}()")
