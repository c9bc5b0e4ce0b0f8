"""Subtitles (SRT, WebVTT): what is said, each paragraph with the time when it begins."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

from ragcore.errors import UnreadableFile
from ragcore.readers.clean import PageBuilder, decode, one_line
from ragcore.readers.contract import InputFile
from ragcore.readers.coverage import CoverageBuilder
from ragcore.readers.options import ReadOptions
from ragcore.text import stamp
from ragcore.types import ReadDocument

_TIME = r"(?:(\d{1,3}):)?([0-5]?\d):([0-5]?\d)[.,](\d{1,3})"
_CUE = re.compile(rf"^\s*{_TIME}\s*-->\s*{_TIME}[^\n]*$")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]{1,100})>")
_MARKUP = re.compile(r"<[^<>]{0,200}>|\{\\[^{}]{0,200}\}")
_PAUSE = 3.0  # seconds without speech, after which a paragraph begins
_ENOUGH = 300  # characters, from which on a paragraph ends with its sentence
_MOST = 700
_SENTENCE_END = (".", "!", "?", "…", '."', '!"', '?"', "。", "！", "？")


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """One page; a paragraph begins with its time as "[1:02:03] ", after pauses and sentences."""
    text = decode(file.read_bytes()).replace("\r\n", "\n").replace("\r", "\n")
    builder = PageBuilder()
    coverage = CoverageBuilder()
    for begin, words in paragraphs(_cues(text)):
        if len(builder) > options.max_characters:
            why = f"only the first {options.max_characters:,} characters are kept"
            coverage.skip("page", why, f"from {stamp(begin)}", partial=True)
            break
        builder.add(f"[{stamp(begin)}] {words}")
    else:
        coverage.read("page")
    if not len(builder):
        raise UnreadableFile("it holds no subtitles: no line has times such as 00:01:02,500 -->")
    first = text.lstrip("\ufeff").partition("\n")[0]
    web = first.startswith("WEBVTT")
    title = first.removeprefix("WEBVTT").lstrip(" -\t") if web else ""
    return ReadDocument(
        media_type="text/vtt" if web else file.media_type,
        title=one_line(title)[:300],
        pages=(builder.page(1),),
        coverage=coverage.done(),
    )


def paragraphs(segments: Iterator[tuple[float, float, str]]) -> Iterator[tuple[float, str]]:
    """(begin, text) of runs of segments, given as (begin, end, text) with times in seconds."""
    words: list[str] = []
    at = last_end = 0.0
    size = 0
    for begin, end, text in segments:
        full = size > _MOST or (size > _ENOUGH and words[-1].endswith(_SENTENCE_END))
        if words and (full or begin - last_end > _PAUSE):
            yield at, " ".join(words)
            words, size = [], 0
        if not words:
            at = begin
        words.append(text)
        size += len(text) + 1
        last_end = end
    if words:
        yield at, " ".join(words)


def _cues(text: str) -> Iterator[tuple[float, float, str]]:
    """(begin, end, text) of each cue; lines that are shown again by the next are given once."""
    lines = text.split("\n")
    before: list[str] = []
    at = 0
    while at < len(lines):
        times = _CUE.match(lines[at])
        at += 1
        if times is None:
            continue
        said = []
        while at < len(lines) and lines[at].strip() and not _CUE.match(lines[at]):
            line = _MARKUP.sub("", _VOICE.sub(r"\1: ", lines[at]))
            said.append(one_line(unescape(line)))
            at += 1
        # A file without blank lines: what stands before the next time is its number.
        if at < len(lines) and lines[at].strip() and said and said[-1].isdigit():
            said.pop()
        new = [line for line in said if line and line not in before]
        before = said
        if new:
            numbers = [float(one or 0) for one in times.groups()]
            yield _seconds(*numbers[:4]), _seconds(*numbers[4:]), " ".join(new)


def _seconds(hours: float, minutes: float, seconds: float, thousandths: float) -> float:
    return 3600 * hours + 60 * minutes + seconds + thousandths / 1000
