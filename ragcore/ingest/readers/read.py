"""The one entry: the type is found, and its reader called at the file boundary."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import cast

from ragcore.errors import MissingExtra, RagcoreError, UnreadableFile
from ragcore.extras import require_extra
from ragcore.ingest.readers.options import ReadOptions
from ragcore.ingest.readers.sniff import FileType, Kind, sniff
from ragcore.types import ReadDocument

# Formats whose libraries are an extra; the core reads the others.
_OFFICE: dict[Kind, str] = {
    "docx": "Word documents",
    "pptx": "presentations",
    "xlsx": "Excel sheets",
    "epub": "EPUB books",
}

Reader = Callable[[Path, FileType, ReadOptions], ReadDocument]

# Loaded when first needed: each brings its own library.
_READERS: dict[Kind, str] = {
    "pdf": "pdf",
    "text": "text",
    "markdown": "markdown",
    "html": "html",
    "docx": "docx",
    "pptx": "pptx",
    "xlsx": "spreadsheet",
    "csv": "spreadsheet",
    "epub": "epub",
    "eml": "mail",
    "image": "image",
}


def read(path: Path, *, options: ReadOptions | None = None) -> ReadDocument:
    """The text and pictures of the file at `path`.

    Raises `UnreadableFile` with one line that says why: missing, empty, too large, locked, cut
    off or damaged, of a wrong or unknown type. Whatever else a format's library throws at
    damaged bytes is turned into that too. Pictures that are part of a document and cannot be
    read are left out with a warning.

    Example: `read(Path("handbook.pdf")).pages[0].text`
    """
    options = options or ReadOptions()
    path = Path(path)
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise UnreadableFile("not a file")
        if size > options.max_file_mb * 2**20:
            raise UnreadableFile(
                f"{size / 2**20:.0f} MiB is over the limit of {options.max_file_mb} MiB: "
                "raise the setting max_file_mb"
            )
        file_type = sniff(path)
        if file_type.kind in _OFFICE:
            require_extra("office", _OFFICE[file_type.kind])
        module = importlib.import_module(f"ragcore.ingest.readers.{_READERS[file_type.kind]}")
        reader = cast(Reader, module.read)
        document = reader(path, file_type, options)
    except MissingExtra as error:
        raise UnreadableFile(str(error)) from error
    except RagcoreError:
        raise
    except FileNotFoundError as error:
        raise UnreadableFile("the file is not there any more") from error
    except PermissionError as error:
        raise UnreadableFile("no permission to read the file") from error
    except MemoryError as error:
        raise UnreadableFile("reading it takes more memory than there is") from error
    except RecursionError as error:
        raise UnreadableFile("the file is nested too deeply") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnreadableFile(f"the file is damaged: {reason}") from error
    return document
