"""What a reader needs to know: limits, text recognition, passwords."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ragcore.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """Limits and choices of one read; small and picklable, it travels to worker processes.

    `max_file_mb` and `max_unpacked_mb` are MiB on disk and after unpacking a container (DOCX,
    EPUB, …); `max_characters` bounds the text kept of one file; `max_images` the images
    kept of one document (0: none); `max_attachments` the attached files of one e-mail, those of
    forwarded messages included; `passwords` are tried in turn on locked files; `depth` is how many
    archives and messages the file is inside of; `speech` says whether a transcriber reads what is
    said in recordings.
    """

    ocr: Literal["auto", "off", "always"] = "auto"
    max_file_mb: int = 512
    max_megapixels: int = 100
    max_unpacked_mb: int = 1024
    max_characters: int = 10_000_000
    max_images: int = 200
    max_pages: int = 20_000
    max_attachments: int = 100
    passwords: tuple[str, ...] = ()
    threads: int = 1
    depth: int = 0
    speech: bool = False

    @classmethod
    def from_settings(cls, settings: Settings, *, passwords: Sequence[str] = ()) -> ReadOptions:
        """The options that follow from `settings` and the passwords given for this run."""
        return cls(
            ocr=settings.ocr,
            max_file_mb=settings.max_file_mb,
            max_megapixels=settings.max_megapixels,
            max_attachments=settings.max_attachments,
            max_unpacked_mb=max(1024, 2 * settings.max_file_mb),
            passwords=tuple(passwords),
        )
