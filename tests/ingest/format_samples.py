"""Real files of the formats that no library here writes: by hand, as their programs write them."""

from __future__ import annotations

import base64
import io
import json
import mailbox
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from email.message import EmailMessage
from pathlib import Path

from .ole_files import Storage, write_ole

_NAMES = " ".join(
    f'xmlns:{short}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for short, name in {
        "office": "office", "text": "text", "table": "table", "draw": "drawing",
        "presentation": "presentation", "svg": "svg-compatible", "meta": "meta",
    }.items()
) + (
    ' xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:dc="http://purl.org/dc/elements/1.1/"'
)  # fmt: skip


def write_opendocument(
    path: Path, kind: str, body: str, *, files: Mapping[str, bytes] | None = None, prolog: str = ""
) -> Path:
    """A package with a body of a kind: "text", "spreadsheet" or "presentation"."""
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?>{prolog}<office:document-content {_NAMES}>'
        f"<office:body><office:{kind}>{body}</office:{kind}></office:body>"
        "</office:document-content>"
    )
    meta = (
        f'<?xml version="1.0"?><office:document-meta {_NAMES}><office:meta>'
        "<dc:title>Harbor handbook</dc:title><dc:creator>Ada Pilot</dc:creator>"
        "<meta:creation-date>2024-05-01T08:30:00</meta:creation-date>"
        "</office:meta></office:document-meta>"
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr(
            "mimetype", f"application/vnd.oasis.opendocument.{kind}", zipfile.ZIP_STORED
        )
        package.writestr("content.xml", content)
        package.writestr("meta.xml", meta)
        for name, data in (files or {}).items():
            package.writestr(name, data)
    return path


def write_odt(path: Path) -> Path:
    from .ingest_samples import PROSE, drawing, encoded

    body = f"""<text:h text:outline-level="1">Arrival</text:h>
    <text:p>{PROSE}</text:p>
    <text:p>Pilots<text:s text:c="2"/>wait<text:note><text:note-citation>1</text:note-citation>
    <text:note-body><text:p>At the outer buoy.</text:p></text:note-body></text:note> here.</text:p>
    <text:h text:outline-level="2">What to bring</text:h>
    <text:list><text:list-item><text:p>a chart</text:p></text:list-item>
    <text:list-item><text:p>a lamp</text:p></text:list-item></text:list>
    <table:table><table:table-row><table:table-cell><text:p>Port</text:p></table:table-cell>
    <table:table-cell><text:p>Depth</text:p></table:table-cell></table:table-row>
    <table:table-row><table:table-cell><text:p>Hamburg</text:p></table:table-cell>
    <table:table-cell><text:p>15.1</text:p></table:table-cell></table:table-row></table:table>
    <text:p><draw:frame><draw:image xlink:href="Pictures/map.png"/><svg:desc>A map</svg:desc>
    </draw:frame></text:p>
    <text:p>Seen<office:annotation><text:p>a comment</text:p></office:annotation> by all.
    </text:p>"""
    image = encoded(drawing(seed=11))
    return write_opendocument(path, "text", body, files={"Pictures/map.png": image})


def write_notebook(path: Path) -> Path:
    from .ingest_samples import drawing, encoded

    image = base64.b64encode(encoded(drawing(seed=12))).decode()
    cells = [
        {"cell_type": "markdown", "source": ["# Tides\n", "\n", "High water is **late**."]},
        {
            "cell_type": "code",
            "source": "print(height(12) < 3)",
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": ["True\n"]},
                {
                    "output_type": "display_data",
                    "data": {"image/png": image, "text/plain": "<Figure>"},
                },
                {
                    "output_type": "execute_result",
                    "data": {"text/html": "<table><tr><td>Day</td><td>Time</td></tr></table>"},
                },
                {"output_type": "error", "ename": "ValueError", "evalue": "\x1b[31mno tide\x1b[0m"},
            ],
        },
    ]
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}
    path.write_text(json.dumps(notebook))
    return path


def write_latex(path: Path) -> Path:
    path.write_text(
        '\\documentclass{article}\n\\title{On \\emph{herons}}\n\\author{A. M\\"uller}\n'
        "\\begin{document}\n\\maketitle\n\\section{Introduction}\\label{sec:i}\n"
        "Herons \\cite{smith2020} fly at $v = 3$ meters. % not this\n"
        "\\subsection*{Methods}\nWe counted caf\\'es, see \\ref{sec:i}.\n"
        "\\begin{verbatim}\ncount(herons) % this\n\\end{verbatim}\n\\end{document}\n"
    )
    return path


def write_rtf(path: Path) -> Path:
    from .ingest_samples import drawing, encoded

    image = encoded(drawing(seed=13)).hex()
    path.write_text(
        "{\\rtf1\\ansi\\ansicpg1252\\deff0{\\fonttbl{\\f0\\fnil\\fcharset0 Arial;}}"
        "{\\info{\\title Gr\\'fc\\'dfe}{\\author Ada Pilot}}"
        "\\pard\\b The harbor\\b0\\par Open at eight \\u8211? every day.\\par "
        "Flag by day{\\*\\footnote\\pard A light at night.}\\par "
        "\\trowd\\cellx100 Port\\cell Depth\\cell\\row {Hamburg\\par}\\cell 15.1\\cell\\row "
        f"{{\\pict{{\\*\\picprop}}\\pngblip\\picw320\\pich240 {image}}}\\par }}"
    )
    return path


def write_srt(path: Path) -> Path:
    path.write_text(
        "1\n00:00:01,000 --> 00:00:03,500\n<i>The pilot comes aboard</i>\n\n"
        "2\n00:00:03,600 --> 00:00:06,000\nat nine o'clock.\n\n"
        "3\n01:02:03,000 --> 01:02:05,000\n- The storm is over.\n"
    )
    return path


def write_code(path: Path) -> Path:
    path.write_text(
        '"""Tides."""\n\n\nclass Tide:\n    def height(self, hour):\n        return hour % 12\n\n\n'
        "def main() -> None:\n    print(Tide().height(3))\n"
    )
    return path


def message(subject: str, text: str) -> EmailMessage:
    found = EmailMessage()
    found["Subject"], found["From"] = subject, "Ada Pilot <ada@harbor.example>"
    found["Date"] = "Wed, 01 May 2024 08:30:00 +0200"
    found.set_content(text)
    return found


def write_mbox(path: Path) -> Path:
    one = message("Berths", "Berth 4 is closed.\n")
    one.add_attachment("The list of berths.\n", filename="berths.txt")
    box = mailbox.mbox(path)
    for mail in (one, message("Pilots", "Two pilots are ill.\n")):
        box.add(mail)
    box.close()
    return path


def _property(number: str, text: str) -> tuple[str, bytes]:
    return f"__substg1.0_{number}001F", text.encode("utf-16-le")


def _properties(fixed: int) -> bytes:
    """The properties of fixed size, after a head of `fixed` bytes: when it was sent."""
    ticks = (1_714_545_000 + 11_644_473_600) * 10_000_000  # 2024-05-01 06:30 UTC
    return bytes(fixed) + struct.pack("<HHIQ", 0x40, 0x39, 6, ticks)


def write_msg(path: Path) -> Path:
    from .ingest_samples import drawing, encoded

    inner: Storage = dict(
        [
            _property("0037", "Berths"),
            _property("1000", "Berth 4 is closed."),
            ("__properties_version1.0", _properties(24)),
        ]
    )
    root: Storage = dict(
        [
            _property("0037", "Grüße vom Hafen"),
            _property("1000", "The pilot comes at nine. " * 200),  # beyond the small streams
            _property("0C1A", "Ada Pilot"),
            _property("5D01", "ada@harbor.example"),
            _property("0E04", "office@harbor.example"),
            ("__properties_version1.0", _properties(32)),
            (
                "__attach_version1.0_#00000000",
                dict(
                    [
                        _property("3707", "berths.txt"),
                        ("__substg1.0_37010102", b"The list of berths."),
                    ]
                ),
            ),
            (
                "__attach_version1.0_#00000001",
                dict([_property("3707", "forwarded"), ("__substg1.0_3701000D", inner)]),
            ),
            (
                "__attach_version1.0_#00000002",
                dict(
                    [
                        _property("3707", "berth.png"),
                        ("__substg1.0_37010102", encoded(drawing(seed=14))),
                    ]
                ),
            ),
        ]
    )
    return write_ole(path, root)


def members() -> dict[str, bytes]:
    """The files in an archive, by their paths in it."""
    from .ingest_samples import drawing, encoded

    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("deep/knots.md", "# Bowline\n\nA loop that holds.\n")
    return {
        "notes/tides.txt": b"High water is at six.\n",
        "notes/berths.csv": b"Berth;Depth\n4;9.5\n",
        "images/berth.png": encoded(drawing(seed=15)),
        "more.zip": inner.getvalue(),
    }


def write_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members().items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members().items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path
