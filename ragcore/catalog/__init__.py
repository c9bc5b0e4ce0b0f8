"""What is remembered: SQLAlchemy rows, lexical index and embeddings in one database."""

from typing import TYPE_CHECKING

from ragcore.catalog.catalog import DEFAULT_COLLECTION, Catalog, check_name
from ragcore.catalog.coverage import coverage_of
from ragcore.catalog.documents import (
    KnownFile,
    NewDocument,
    count_other_sizes,
    forget_content,
    known_files,
    remove_documents,
    store_document,
    store_documents,
    store_failure,
    touch_document,
)
from ragcore.catalog.embeddings import (
    add_embeddings,
    changes_since,
    count_embeddings,
    embedding_ids,
    iter_embeddings,
    last_change,
    load_embeddings,
)
from ragcore.catalog.engine import (
    current_revision,
    head_revision,
    read_only_uri,
    sqlite_file,
    sqlite_problem,
)
from ragcore.catalog.image_metadata import metadata_of
from ragcore.catalog.labels import check_label, given_labels, store_predicted, unlabelled
from ragcore.catalog.marks import NO_MARKS, ImageMarks, mark, marks_of
from ragcore.catalog.models import (
    ApiKey,
    ApiKeyCollection,
    AuditEntry,
    Base,
    BrowserSession,
    Change,
    Collection,
    CollectionSource,
    CollectionSpace,
    Document,
    DocumentPage,
    DuplicateDecision,
    Embedding,
    Image,
    ImageMetadataRow,
    Job,
    Passage,
    SpaceRow,
    Thumbnail,
    now,
)
from ragcore.catalog.permits import SCOPES, AuditCallback, Permit, may_see, shown_path
from ragcore.lazy import lazily
from ragcore.types import FileState

if TYPE_CHECKING:
    from ragcore.catalog.albums import AlbumInfo as AlbumInfo
    from ragcore.catalog.browse import ImageInfo as ImageInfo
    from ragcore.catalog.browse import Statistics as Statistics
    from ragcore.catalog.captions import Uncaptioned as Uncaptioned
    from ragcore.catalog.captions import count_uncaptioned as count_uncaptioned
    from ragcore.catalog.captions import uncaptioned as uncaptioned
    from ragcore.catalog.captions import write_captions as write_captions
    from ragcore.catalog.conversations import ConversationInfo as ConversationInfo
    from ragcore.catalog.conversations import Conversations as Conversations
    from ragcore.catalog.conversations import TurnInfo as TurnInfo
    from ragcore.catalog.idempotency import IdempotentAnswers as IdempotentAnswers
    from ragcore.catalog.image_groups import GroupBy as GroupBy
    from ragcore.catalog.image_groups import ImageGroup as ImageGroup
    from ragcore.catalog.lexical import QueryWords as QueryWords
    from ragcore.catalog.lexical import document_frequencies as document_frequencies
    from ragcore.catalog.lexical import is_unspaced as is_unspaced
    from ragcore.catalog.lexical import row_count as row_count
    from ragcore.catalog.lexical import search_lexical as search_lexical
    from ragcore.catalog.locks import exclusive as exclusive
    from ragcore.catalog.numbers import catch_up as catch_up
    from ragcore.catalog.sources import join_source as join_source
    from ragcore.catalog.sources import source_documents as source_documents
    from ragcore.catalog.sources import take_by_hand as take_by_hand
    from ragcore.catalog.texts import DocumentText as DocumentText
    from ragcore.catalog.texts import PassageSpan as PassageSpan
    from ragcore.catalog.texts import document_text as document_text
    from ragcore.catalog.texts import documents_containing as documents_containing
    from ragcore.catalog.texts import passage_vectors as passage_vectors
    from ragcore.catalog.transfer import Transferred as Transferred
    from ragcore.catalog.transfer import copy_catalog as copy_catalog
    from ragcore.catalog.trash import trashed_files as trashed_files
else:
    __getattr__ = lazily(
        __name__,
        {
            ".albums": "AlbumInfo",
            ".browse": "ImageInfo Statistics",
            ".captions": "Uncaptioned count_uncaptioned uncaptioned write_captions",
            ".conversations": "ConversationInfo Conversations TurnInfo",
            ".idempotency": "IdempotentAnswers",
            ".image_groups": "GroupBy ImageGroup",
            ".lexical": "QueryWords document_frequencies is_unspaced row_count search_lexical",
            ".locks": "exclusive",
            ".numbers": "catch_up",
            ".sources": "join_source source_documents take_by_hand",
            ".texts": "DocumentText PassageSpan document_text documents_containing passage_vectors",
            ".transfer": "Transferred copy_catalog",
            ".trash": "trashed_files",
        },
    )

__all__ = [
    "DEFAULT_COLLECTION",
    "NO_MARKS",
    "SCOPES",
    "ApiKey",
    "ApiKeyCollection",
    "AuditCallback",
    "AuditEntry",
    "Base",
    "BrowserSession",
    "Catalog",
    "Change",
    "Collection",
    "CollectionSource",
    "CollectionSpace",
    "Document",
    "DocumentPage",
    "DuplicateDecision",
    "Embedding",
    "FileState",
    "Image",
    "ImageMarks",
    "ImageMetadataRow",
    "Job",
    "KnownFile",
    "NewDocument",
    "Passage",
    "Permit",
    "SpaceRow",
    "Thumbnail",
    "add_embeddings",
    "changes_since",
    "check_label",
    "check_name",
    "count_embeddings",
    "count_other_sizes",
    "coverage_of",
    "current_revision",
    "embedding_ids",
    "forget_content",
    "given_labels",
    "head_revision",
    "iter_embeddings",
    "known_files",
    "last_change",
    "load_embeddings",
    "mark",
    "marks_of",
    "may_see",
    "metadata_of",
    "now",
    "read_only_uri",
    "remove_documents",
    "shown_path",
    "sqlite_file",
    "sqlite_problem",
    "store_document",
    "store_documents",
    "store_failure",
    "store_predicted",
    "touch_document",
    "unlabelled",
]
