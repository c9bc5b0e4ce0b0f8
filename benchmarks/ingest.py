"""Ingest of text: the whole pipeline against its encoder alone on the same passages.

    python benchmarks/ingest.py [--files 300] [--rounds 3] [--txtai PYTHON]

Both are timed in turn within one run, with the model loaded: only the ratio counts. Processor
seconds (readers included) stand beside the clock, since the clock of a busy machine says
little. `--txtai` names a Python that has txtai: the same texts are indexed with the same model.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from ragcore.catalog.models import Passage
from ragcore.ingest.embed import passage_input
from ragcore.library import Library
from ragcore.settings import Settings
from ragcore.weights import WeightStore

WORDS = """
river gauge level sensor flood drift battery radio cable reading station weir lock canal winter
spring report letter meeting budget train hotel coffee garden violin oak heron pressure membrane
technician calibration upstream neighbour residual window estimate error temperature voltage
"""

TXTAI = """
import json, resource, sys, time
from txtai import Embeddings
folder, texts = sys.argv[1], json.load(open(sys.argv[2]))
embeddings = Embeddings(path=folder, content=True, gpu=False)
embeddings.index(texts[:8])
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
clock, used = time.perf_counter(), cpu()
embeddings.index(texts)
print(json.dumps([time.perf_counter() - clock, cpu() - used]))
"""


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock, and of processors."""

    clock: float
    processor: float


def processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def cost_of(work: Callable[[], object]) -> Cost:
    clock, processor = time.perf_counter(), processor_seconds()
    work()
    return Cost(time.perf_counter() - clock, processor_seconds() - processor)


def write_files(folder: Path, count: int) -> None:
    """Reports of one to six sections of prose, every one different."""
    chance, choices = random.Random(5), WORDS.split()
    folder.mkdir()
    for number in range(count):
        parts = [f"# Report {number}\n"]
        for section in range(chance.randint(1, 6)):
            parts.append(f"## Section {section}\n")
            for _ in range(chance.randint(1, 4)):
                words = [chance.choice(choices) for _ in range(chance.randint(20, 60))]
                parts.append(f"{' '.join(words).capitalize()}.\n")
        (folder / f"report-{number:05}.md").write_text("\n".join(parts))


def passages(library: Library) -> list[str]:
    """What the encoder was given, in the catalog's order."""
    with library.admin.catalog.read() as session:
        return [passage_input(p.text, p.heading) for p in session.scalars(select(Passage))]


def run(files: int, rounds: int, txtai: str | None) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="ragcore-bench-") as scratch:
        folder = Path(scratch) / "files"
        write_files(folder, files)
        whole: list[Cost] = []
        alone: list[Cost] = []
        peer: list[Cost] = []
        texts: list[str] = []
        for number in range(rounds):
            settings = Settings(home=Path(scratch) / f"home-{number}", ocr="off")
            with Library(settings) as library:
                encoder = library.admin.models.text_encoder()
                encoder.encode(["warm up"] * 8)
                library.admin.models.image_text_encoder().warm_up()
                whole.append(cost_of(lambda: library.ingest([folder])))
                texts = passages(library)
                alone.append(cost_of(lambda: encoder.encode(texts)))  # noqa: B023
                if txtai:
                    peer.append(_txtai(txtai, settings, texts, Path(scratch)))
        result: dict[str, object] = {
            "files": files,
            "passages": len(texts),
            "pipeline": _best(whole),
            "encoder": _best(alone),
            "ratio_clock": round(_ratio(whole, alone, "clock"), 3),
            "ratio_processor": round(_ratio(whole, alone, "processor"), 3),
        }
        if peer:
            result["txtai"] = _best(peer)
            result["txtai_over_pipeline_clock"] = round(_ratio(peer, whole, "clock"), 3)
            result["txtai_over_pipeline_processor"] = round(_ratio(peer, whole, "processor"), 3)
        return result


def _best(costs: list[Cost]) -> dict[str, float]:
    return {
        "clock": round(min(cost.clock for cost in costs), 2),
        "processor": round(min(cost.processor for cost in costs), 2),
    }


def _ratio(upper: list[Cost], lower: list[Cost], what: str) -> float:
    """Median over the rounds of one round's ratio."""
    each = sorted(getattr(a, what) / getattr(b, what) for a, b in zip(upper, lower, strict=True))
    return float(each[len(each) // 2])


def _txtai(python: str, settings: Settings, texts: list[str], scratch: Path) -> Cost:
    model = WeightStore(settings).ensure("minilm-l6-v2")
    listed = scratch / "texts.json"
    listed.write_text(json.dumps(texts))
    command = [python, "-c", TXTAI, str(model), str(listed)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return Cost(*json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--txtai", metavar="PYTHON")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    result = run(given.files, given.rounds, given.txtai)
    if given.json:
        print(json.dumps(result, indent=2))
    else:
        for name, value in result.items():
            print(f"{name:<30} {value}")
        print("budget: ratio at most 1.2")
    sys.exit(0)


if __name__ == "__main__":
    main()
