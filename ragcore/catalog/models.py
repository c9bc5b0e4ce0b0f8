"""The catalog's tables (SQLAlchemy 2). The schema itself is made by the migrations."""

from __future__ import annotations

import datetime as dt
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator, TypeEngine


class UtcDateTime(TypeDecorator[dt.datetime]):
    """Aware datetimes in UTC; SQLite forgets the zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a naive datetime cannot be stored; give it a time zone")
        return value.astimezone(dt.UTC) if value is not None else None

    def process_result_value(
        self, value: dt.datetime | None, dialect: Dialect
    ) -> dt.datetime | None:
        return value.replace(tzinfo=dt.UTC) if value and value.tzinfo is None else value


def now() -> dt.datetime:
    """The current time, in UTC."""
    return dt.datetime.now(dt.UTC)


# SQLite only counts up without reuse on INTEGER PRIMARY KEY AUTOINCREMENT.
Id: TypeEngine[int] = BigInteger().with_variant(Integer, "sqlite")
_AUTOINCREMENT = {"sqlite_autoincrement": True}


def _string(length: int) -> TypeEngine[str]:
    """A length that says what is meant: PostgreSQL would refuse longer values, SQLite does not."""
    return String(length).with_variant(Text(), "postgresql")


class Base(DeclarativeBase):
    """The declarative base of all tables."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        dt.datetime: UtcDateTime(),
        dict[str, Any]: JSON,
        list[str]: JSON,
    }


class Collection(Base):
    """A named library."""

    __tablename__ = "collections"
    __table_args__ = (_AUTOINCREMENT,)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(_string(200), unique=True)
    created_at: Mapped[dt.datetime] = mapped_column(default=now)
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)


class Document(Base):
    """A file as ingested.

    `path` is its location: a path of this computer, or a source's URL. `state`: ready, stale (an
    old version is kept, see `error`), failed.
    """

    __tablename__ = "documents"
    __table_args__ = (
        UniqueConstraint("collection_id", "path"),
        Index("ix_documents_sha256", "collection_id", "sha256"),
        _AUTOINCREMENT,
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    path: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text, default="")
    media_type: Mapped[str] = mapped_column(_string(100), default="")
    size: Mapped[int] = mapped_column(BigInteger, default=0)
    mtime_ns: Mapped[int] = mapped_column(BigInteger, default=0)
    sha256: Mapped[str] = mapped_column(_string(64), default="")
    version: Mapped[str] = mapped_column(Text, default="")  # its source's own; "": local files
    # The remote folder or site that listed it; "": added by hand, or a file of this computer
    origin: Mapped[str] = mapped_column(Text, default="")
    paged: Mapped[bool] = mapped_column(default=False)
    page_count: Mapped[int] = mapped_column(default=0)
    passage_count: Mapped[int] = mapped_column(default=0)
    passage_size: Mapped[str] = mapped_column(_string(50), default="")  # PassageSize.name
    image_count: Mapped[int] = mapped_column(default=0)
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)  # author, created, language…
    warnings: Mapped[list[str]] = mapped_column(default=list)
    # `Coverage` as `coverage_values` writes it; None where nothing was read, or before 0008
    coverage: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    incomplete: Mapped[bool] = mapped_column(default=False)  # something of the file was not read
    state: Mapped[str] = mapped_column(_string(20), default="ready")
    error: Mapped[str] = mapped_column(Text, default="")
    modified_at: Mapped[dt.datetime] = mapped_column(default=now)  # the file's own time
    ingested_at: Mapped[dt.datetime] = mapped_column(default=now)


class CollectionSource(Base):
    """A place that a collection is kept in step with; no credentials.

    `every` is in seconds, 0: only when asked. `report` has the counts of the last run, `error` why
    it did not come about.
    """

    __tablename__ = "sources"
    __table_args__ = (UniqueConstraint("collection_id", "url"), _AUTOINCREMENT)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    url: Mapped[str] = mapped_column(Text)
    options: Mapped[dict[str, Any]] = mapped_column(default=dict)
    every: Mapped[int] = mapped_column(default=0)
    paused: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[dt.datetime] = mapped_column(default=now)
    last_run: Mapped[dt.datetime | None]
    next_run: Mapped[dt.datetime | None]
    report: Mapped[dict[str, Any]] = mapped_column(default=dict)
    error: Mapped[str] = mapped_column(Text, default="")


class SourceDocument(Base):
    """A document that a source brought. What has no row here was added by hand."""

    __tablename__ = "source_documents"
    __table_args__ = (Index("ix_source_documents_source", "source_id"),)

    document_id: Mapped[int] = mapped_column(
        ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True
    )
    source_id: Mapped[int] = mapped_column(ForeignKey("sources.id", ondelete="CASCADE"))


class DocumentPage(Base):
    """One page's text; `start` is its offset in the document's text."""

    __tablename__ = "pages"

    document_id: Mapped[int] = mapped_column(
        ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str | None] = mapped_column(_string(50))
    start: Mapped[int] = mapped_column(default=0)
    ocr: Mapped[bool] = mapped_column(default=False)
    text: Mapped[str] = mapped_column(Text)


class Passage(Base):
    """A retrievable piece of a document's text. Ids are never used again."""

    __tablename__ = "passages"
    __table_args__ = (
        Index("ix_passages_collection", "collection_id"),
        Index("ix_passages_document", "document_id", "ordinal"),
        _AUTOINCREMENT,
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    document_id: Mapped[int] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"))
    collection_id: Mapped[int] = mapped_column(Id)
    ordinal: Mapped[int]
    page: Mapped[int]
    page_end: Mapped[int]
    start: Mapped[int]
    end: Mapped[int]
    title: Mapped[str] = mapped_column(Text, default="")
    heading: Mapped[str] = mapped_column(Text, default="")
    text: Mapped[str] = mapped_column(Text)


class Image(Base):
    """An image: a file's own (`page` is None) or one found inside a document."""

    __tablename__ = "images"
    __table_args__ = (
        Index("ix_images_collection", "collection_id"),
        Index("ix_images_document", "document_id"),
        Index("ix_images_pixels", "collection_id", "pixels_sha256"),
        _AUTOINCREMENT,
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    document_id: Mapped[int] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"))
    collection_id: Mapped[int] = mapped_column(Id)
    ordinal: Mapped[int]
    page: Mapped[int | None]
    width: Mapped[int]
    height: Mapped[int]
    pixels_sha256: Mapped[str] = mapped_column(_string(64))
    phash: Mapped[bytes] = mapped_column(LargeBinary, default=b"")
    media: Mapped[str] = mapped_column(Text, default="")  # file under <home>/media, if embedded
    name: Mapped[str] = mapped_column(Text, default="")
    caption: Mapped[str] = mapped_column(Text, default="")
    caption_by: Mapped[str] = mapped_column(_string(100), default="")  # a model; "": people
    text: Mapped[str] = mapped_column(Text, default="")
    second: Mapped[float | None] = mapped_column(Double)  # of a frame in its video


class ImageMetadataRow(Base):
    """How an image file's image was taken: `ImageMetadata` but for its keywords.

    `taken_at` is the clock where it was taken, without a time zone.
    """

    __tablename__ = "image_metadata"
    __table_args__ = (Index("ix_image_metadata_taken", "collection_id", "taken_at"),)

    image_id: Mapped[int] = mapped_column(
        ForeignKey("images.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    collection_id: Mapped[int] = mapped_column(Id)
    taken_at: Mapped[dt.datetime | None] = mapped_column(DateTime(timezone=False))
    utc_offset: Mapped[int | None]
    taken_from: Mapped[str] = mapped_column(_string(10), default="")
    camera: Mapped[str] = mapped_column(Text, default="")
    lens: Mapped[str] = mapped_column(Text, default="")
    focal_length: Mapped[float | None] = mapped_column(Double)
    exposure: Mapped[float | None] = mapped_column(Double)
    aperture: Mapped[float | None] = mapped_column(Double)
    iso: Mapped[int | None]
    latitude: Mapped[float | None] = mapped_column(Double)
    longitude: Mapped[float | None] = mapped_column(Double)
    place: Mapped[str] = mapped_column(Text, default="")
    rating: Mapped[int | None]
    caption: Mapped[str] = mapped_column(Text, default="")
    orientation: Mapped[int] = mapped_column(default=1)


class ImageKeyword(Base):
    """A keyword of an image file."""

    __tablename__ = "image_keywords"
    __table_args__ = (Index("ix_image_keywords_keyword", "keyword"),)

    image_id: Mapped[int] = mapped_column(
        ForeignKey("images.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    keyword: Mapped[str] = mapped_column(Text, primary_key=True)


class ImageMark(Base):
    """What people say of an image. `rating` counts in place of its file's."""

    __tablename__ = "image_marks"
    __table_args__ = (Index("ix_image_marks_collection", "collection_id", "favorite"),)

    image_id: Mapped[int] = mapped_column(
        ForeignKey("images.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    collection_id: Mapped[int] = mapped_column(Id)
    favorite: Mapped[bool] = mapped_column(default=False)
    rating: Mapped[int | None]
    note: Mapped[str] = mapped_column(Text, default="")


class ImageTag(Base):
    """A tag that people gave an image."""

    __tablename__ = "image_tags"
    __table_args__ = (Index("ix_image_tags_tag", "tag"),)

    image_id: Mapped[int] = mapped_column(
        ForeignKey("images.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    tag: Mapped[str] = mapped_column(Text, primary_key=True)


class Album(Base):
    """A named series of a collection's images."""

    __tablename__ = "albums"
    __table_args__ = (UniqueConstraint("collection_id", "name"), _AUTOINCREMENT)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(_string(200))
    created_at: Mapped[dt.datetime] = mapped_column(default=now)


class AlbumImage(Base):
    """An image of an album; they go by `position`."""

    __tablename__ = "album_images"
    __table_args__ = (Index("ix_album_images_image", "image_id"),)

    album_id: Mapped[int] = mapped_column(
        ForeignKey("albums.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    image_id: Mapped[int] = mapped_column(
        ForeignKey("images.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    position: Mapped[int]


class TrashEntry(Base):
    """A document that was taken out of its collection: it is in the collection of minus its id."""

    __tablename__ = "trash"

    document_id: Mapped[int] = mapped_column(
        ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    trashed_at: Mapped[dt.datetime] = mapped_column(default=now)


class Thumbnail(Base):
    """A small WebP of an image, apart so that listing images stays quick."""

    __tablename__ = "thumbnails"

    image_id: Mapped[int] = mapped_column(
        ForeignKey("images.id", ondelete="CASCADE"), primary_key=True
    )
    data: Mapped[bytes] = mapped_column(LargeBinary)


class SpaceRow(Base):
    """One embedding model at one revision."""

    __tablename__ = "spaces"
    __table_args__ = (_AUTOINCREMENT,)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(_string(300), unique=True)
    modality: Mapped[str] = mapped_column(_string(10))
    dimension: Mapped[int]
    created_at: Mapped[dt.datetime] = mapped_column(default=now)


class CollectionSpace(Base):
    """Which spaces a collection is embedded in. `state`: building, active, retired."""

    __tablename__ = "collection_spaces"

    collection_id: Mapped[int] = mapped_column(
        ForeignKey("collections.id", ondelete="CASCADE"), primary_key=True
    )
    space_id: Mapped[int] = mapped_column(
        ForeignKey("spaces.id", ondelete="CASCADE"), primary_key=True
    )
    modality: Mapped[str] = mapped_column(_string(10))
    state: Mapped[str] = mapped_column(_string(10), default="active")


class Embedding(Base):
    """The float16 vector of one passage or image in one space: the copy that counts."""

    __tablename__ = "embeddings"
    __table_args__ = (
        Index("ix_embeddings_collection", "collection_id", "space_id", "item_id"),
        {"sqlite_with_rowid": False},
    )

    space_id: Mapped[int] = mapped_column(
        ForeignKey("spaces.id", ondelete="CASCADE"), primary_key=True
    )
    item_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    collection_id: Mapped[int] = mapped_column(Id)
    vector: Mapped[bytes] = mapped_column(LargeBinary)


class Change(Base):
    """Log of embeddings added and removed; vector stores catch up from it."""

    __tablename__ = "changes"
    __table_args__ = (
        Index("ix_changes_store", "collection_id", "space_id", "seq"),
        _AUTOINCREMENT,
    )

    seq: Mapped[int] = mapped_column(Id, primary_key=True)
    collection_id: Mapped[int] = mapped_column(Id)
    space_id: Mapped[int] = mapped_column(Id)
    item_id: Mapped[int] = mapped_column(BigInteger)
    removed: Mapped[bool] = mapped_column(default=False)


class Job(Base):
    """A long piece of work. `state`: running, done, failed, cancelled, interrupted."""

    __tablename__ = "jobs"
    __table_args__ = (_AUTOINCREMENT,)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(_string(30))
    collection: Mapped[str] = mapped_column(_string(200), default="")
    state: Mapped[str] = mapped_column(_string(20), default="running")
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    request: Mapped[dict[str, Any]] = mapped_column(default=dict)
    progress: Mapped[dict[str, Any]] = mapped_column(default=dict)
    report: Mapped[dict[str, Any]] = mapped_column(default=dict)
    error: Mapped[str] = mapped_column(Text, default="")
    process: Mapped[str] = mapped_column(_string(100), default="")  # host:pid:start time
    key_id: Mapped[int | None] = mapped_column(BigInteger)  # the account that started it
    created_at: Mapped[dt.datetime] = mapped_column(default=now)
    updated_at: Mapped[dt.datetime] = mapped_column(default=now)
    finished_at: Mapped[dt.datetime | None]


class Conversation(Base):
    """A chat in the browser. `owner` keeps users apart."""

    __tablename__ = "conversations"
    __table_args__ = (Index("ix_conversations_owner", "owner", "updated_at"), _AUTOINCREMENT)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    owner: Mapped[str] = mapped_column(_string(200), default="")
    collection: Mapped[str] = mapped_column(_string(200), default="default")
    title: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[dt.datetime] = mapped_column(default=now)
    updated_at: Mapped[dt.datetime] = mapped_column(default=now)


class ConversationTurn(Base):
    """One message of a conversation; `payload` holds the answer's evidence as JSON."""

    __tablename__ = "turns"
    __table_args__ = (Index("ix_turns_conversation", "conversation_id", "id"), _AUTOINCREMENT)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    role: Mapped[str] = mapped_column(_string(20))
    content: Mapped[str] = mapped_column(Text)
    payload: Mapped[dict[str, Any]] = mapped_column(default=dict)
    rating: Mapped[int | None]  # +1 or -1, given by the reader
    created_at: Mapped[dt.datetime] = mapped_column(default=now)


class DuplicateDecision(Base):
    """What a person decided of two like images: `duplicate` or `different`."""

    __tablename__ = "duplicate_decisions"

    first_id: Mapped[int] = mapped_column(
        ForeignKey("images.id", ondelete="CASCADE"), primary_key=True
    )
    second_id: Mapped[int] = mapped_column(
        ForeignKey("images.id", ondelete="CASCADE"), primary_key=True
    )
    decision: Mapped[str] = mapped_column(_string(20))
    decided_at: Mapped[dt.datetime] = mapped_column(default=now)


class GivenLabel(Base):
    """The label that a person gave a passage or an image, for one classifier to learn from."""

    __tablename__ = "given_labels"
    __table_args__ = (
        UniqueConstraint("passage_id", "classifier"),
        UniqueConstraint("image_id", "classifier"),
        Index("ix_given_labels_classifier", "collection_id", "classifier"),
        _AUTOINCREMENT,
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    classifier: Mapped[str] = mapped_column(_string(100))
    passage_id: Mapped[int | None] = mapped_column(ForeignKey("passages.id", ondelete="CASCADE"))
    image_id: Mapped[int | None] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    label: Mapped[str] = mapped_column(_string(200))
    given_at: Mapped[dt.datetime] = mapped_column(default=now)


class ItemLabel(Base):
    """The label that a classifier gave a passage or an image. `made_by`: its name and training."""

    __tablename__ = "item_labels"
    __table_args__ = (
        UniqueConstraint("passage_id", "classifier"),
        UniqueConstraint("image_id", "classifier"),
        Index("ix_item_labels_label", "collection_id", "label"),
        _AUTOINCREMENT,
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    classifier: Mapped[str] = mapped_column(_string(100))
    made_by: Mapped[str] = mapped_column(_string(150), default="")
    passage_id: Mapped[int | None] = mapped_column(ForeignKey("passages.id", ondelete="CASCADE"))
    image_id: Mapped[int | None] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    label: Mapped[str] = mapped_column(_string(200))
    confidence: Mapped[float] = mapped_column(Double)


class ApiKey(Base):
    """An account that may log in, with its key for the HTTP API.

    Only the key's SHA-256 is kept, and its first letters to know it by. `scope`: read, write (reads
    too), admin (does everything). With `all_collections` false it may see those of
    `api_key_collections` only. `password_hash`: of a person who also logs in to the pages by name,
    else "".
    """

    __tablename__ = "api_keys"
    __table_args__ = (_AUTOINCREMENT,)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(_string(100))
    prefix: Mapped[str] = mapped_column(_string(20))
    sha256: Mapped[str] = mapped_column(_string(64), unique=True)
    scope: Mapped[str] = mapped_column(_string(10))
    password_hash: Mapped[str] = mapped_column(_string(200), default="")
    all_collections: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[dt.datetime] = mapped_column(default=now)
    expires_at: Mapped[dt.datetime | None]
    revoked_at: Mapped[dt.datetime | None]
    disabled_at: Mapped[dt.datetime | None]
    last_used_at: Mapped[dt.datetime | None]


class ApiKeyCollection(Base):
    """A collection that a key may see.

    It goes with the collection: a new one of the same name is not the one that was meant.
    """

    __tablename__ = "api_key_collections"

    key_id: Mapped[int] = mapped_column(
        ForeignKey("api_keys.id", ondelete="CASCADE"), primary_key=True
    )
    collection_id: Mapped[int] = mapped_column(
        ForeignKey("collections.id", ondelete="CASCADE"), primary_key=True
    )


class BrowserSession(Base):
    """Somebody who has logged in to the pages. Only the SHA-256 of the cookie's secret is kept.

    `stamp` is the account's when it began: another key or password ends the session.
    """

    __tablename__ = "sessions"
    __table_args__ = (Index("ix_sessions_key", "key_id"), _AUTOINCREMENT)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    key_id: Mapped[int] = mapped_column(ForeignKey("api_keys.id", ondelete="CASCADE"))
    sha256: Mapped[str] = mapped_column(_string(64), unique=True)
    stamp: Mapped[str] = mapped_column(_string(16))
    client: Mapped[str] = mapped_column(_string(64), default="")
    browser: Mapped[str] = mapped_column(_string(200), default="")
    created_at: Mapped[dt.datetime] = mapped_column(default=now)
    last_seen_at: Mapped[dt.datetime] = mapped_column(default=now)
    expires_at: Mapped[dt.datetime]


class AuditEntry(Base):
    """Who did what over the HTTP API, and how it ended. Stays when the key or collection goes."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_at", "at"), _AUTOINCREMENT)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    at: Mapped[dt.datetime] = mapped_column(default=now)
    key_id: Mapped[int | None] = mapped_column(BigInteger)
    who: Mapped[str] = mapped_column(_string(120), default="")
    action: Mapped[str] = mapped_column(_string(200))
    collection: Mapped[str] = mapped_column(_string(200), default="")
    status: Mapped[int]
    request_id: Mapped[str] = mapped_column(_string(64), default="")
    client: Mapped[str] = mapped_column(_string(64), default="")


class IdempotentAnswer(Base):
    """What a request with an Idempotency-Key was answered; `status` 0 while it is worked on."""

    __tablename__ = "idempotent_answers"
    __table_args__ = (Index("ix_idempotent_created", "created_at"),)

    owner: Mapped[str] = mapped_column(_string(40), primary_key=True)
    key: Mapped[str] = mapped_column(_string(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(_string(64))
    status: Mapped[int] = mapped_column(default=0)
    body: Mapped[dict[str, Any]] = mapped_column(default=dict)
    process: Mapped[str] = mapped_column(_string(100), default="")
    created_at: Mapped[dt.datetime] = mapped_column(default=now)
