"""The one entry: the reader is chosen, and called at the file boundary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ragcore.errors import MissingExtra, RagcoreError, UnreadableFile
from ragcore.readers.choose import choose
from ragcore.readers.contract import check_document
from ragcore.readers.coverage import with_coverage
from ragcore.readers.options import ReadOptions
from ragcore.types import ReadDocument

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DEEPEST = 4  # archives and messages around a file that is read


def read(path: Path, *, options: ReadOptions | None = None) -> ReadDocument:
    """The text and images of the file at `path`.

    Raises `UnreadableFile` with one line that says why: missing, empty, too large, locked, cut
    off or damaged, of a wrong or unknown type. Whatever else a format's library throws at
    damaged bytes is turned into that too. What of a document cannot be read is in its `coverage`,
    with a warning for each.

    Example: `read(Path("handbook.pdf")).pages[0].text`
    """
    options = options or ReadOptions()
    path = Path(path)
    if options.depth > _DEEPEST:
        raise UnreadableFile(f"files inside files are read to a depth of {_DEEPEST}")
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise UnreadableFile("not a file")
        if size > options.max_file_mb * 2**20:
            raise UnreadableFile(
                f"{size / 2**20:.0f} MiB is over the limit of {options.max_file_mb} MiB: "
                "raise the setting max_file_mb"
            )
        reader, file = choose(path)
        document = reader.read(file, options)
        check_document(document)
        document = with_coverage(document)
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
        reason = _reason(error)
        if "bad_alloc" in reason:  # of a C++ library
            raise UnreadableFile("reading it takes more memory than there is") from error
        raise UnreadableFile(f"the file is damaged: {reason}") from error
    return document


def read_sound(path: Path, start: float, seconds: float) -> NDArray[np.int16]:
    """The sound of a recording or video from a second on: int16 [n], mono, 16,000 a second.

    Fewer samples at its end. Raises UnreadableFile.
    """
    from ragcore.readers import audio
    from ragcore.readers.media import FORMATS

    _, file = choose(path)
    if file.media_type not in FORMATS:
        raise UnreadableFile("it is neither a recording nor a video")
    return audio.samples(file, start, seconds)


def _reason(error: Exception) -> str:
    """A library's message in one line; of a whole traceback in it (rapidocr) only the end."""
    text = str(error).strip()
    if text.startswith("Traceback (most recent call last)"):
        frames = [line for line in text.splitlines() if not line.startswith((" ", "Traceback"))]
        text = " ".join(frames)
    return " ".join(text.split())[:200] or type(error).__name__
