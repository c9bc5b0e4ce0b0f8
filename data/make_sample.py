"""Make the documents and drawings of the sample collection from their sources.

    python data/make_sample.py [FOLDER]     (default: data/sample)

The result is the same on every run: no dates, no random numbers. Needs reportlab, which the
extra `dev` has. Photographs are not made here; see `data/README.md`.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from sample_maker import documents, drawings, pdf  # noqa: E402

SOURCES = HERE / "sources"


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "sample"
    target.mkdir(parents=True, exist_ok=True)
    chart = drawings.drift_chart()
    pdf.handbook(SOURCES / "staff-handbook.md", target / "staff-handbook.pdf")
    pdf.paper(SOURCES / "drift-paper.md", target / "drift-paper.pdf", {"drift-chart.png": chart})
    documents.docx(SOURCES / "planning-meeting.md", target / "planning-meeting.docx")
    drawings.office_map().save(target / "office-map.png", optimize=True)
    drawings.gauge_poster().save(target / "gauge-poster.png", optimize=True)
    for path in sorted(target.iterdir()):
        print(f"{path.stat().st_size:8d}  {path.name}")


if __name__ == "__main__":
    main()
