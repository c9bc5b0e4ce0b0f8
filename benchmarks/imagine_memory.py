"""Memory of the image maker: after many images, and after many that were cancelled.

    python benchmarks/imagine_memory.py [--runs N] [--profile FILE]

Makes N images with guidance and, where there is one, a control, and cancels N in mid-run, two
at a time from two threads. Resident memory after the first five is what the rest is compared
with: what grows after them leaks.
"""

from __future__ import annotations

import argparse
import gc
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil

from ragcore.diffusion import ControlRequest, GuidanceRequest, Imaginer, ImagineRequest, ImagineStep
from ragcore.diffusion.factories import imaginer_of
from ragcore.diffusion.images import as_png
from ragcore.errors import Cancelled, UsageError
from ragcore.models import Models
from ragcore.settings import Settings
from ragcore.types import CancelToken

WARM = 5


def resident() -> float:
    """MiB of this process, after what is unused has been collected."""
    gc.collect()
    return psutil.Process().memory_info().rss / 2**20


def requested(maker: Imaginer, seed: int) -> ImagineRequest:
    """Words, a class if the model has any, and the first kind of control that it has."""
    try:
        guidance = [GuidanceRequest("class", maker.class_names[0], 2)]
    except UsageError:
        guidance = []
    side = maker.model.card.size
    square = np.full((side, side, 3), 255, np.uint8)
    square[side // 4 : -side // 4, side // 4 : -side // 4] = 0
    kinds = maker.model.control_kinds[:1]
    controls = [ControlRequest(kind, as_png(square)) for kind in kinds]
    return ImagineRequest(prompt="red apple", seed=seed, guidance=guidance, controls=controls)


def cancelled(maker: Imaginer, seed: int) -> int:
    """Cancel an image at its third step; the number of steps that were done."""
    token, done = CancelToken(), [0]

    def on_step(step: ImagineStep) -> None:
        done[0] = step.number
        if step.number == 3:
            token.cancel()

    try:
        maker.imagine(requested(maker, seed), on_step=on_step, cancel=token)
    except Cancelled:
        return done[0]
    raise AssertionError("the image was not cancelled")


def grown(work: object, runs: int) -> dict[str, float]:
    """MiB before, after the first runs, and after all of them."""
    before = resident()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(WARM)))  # type: ignore[call-overload]
        warm = resident()
        list(pool.map(work, range(WARM, runs)))  # type: ignore[call-overload]
    after = resident()
    report = {"before": before, "warm": warm, "after": after, "growth": after - warm}
    return {name: round(mib, 1) for name, mib in report.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=25)
    parser.add_argument("--profile", default=Settings().profile)
    given = parser.parse_args()
    maker = imaginer_of(Models(Settings(profile=given.profile)))
    report: dict[str, object] = {"model": maker.model.card.name, "runs": given.runs}
    made = grown(lambda seed: maker.imagine(requested(maker, seed)), given.runs)
    stopped = grown(lambda seed: cancelled(maker, seed), given.runs)
    report |= {"made_mib": made, "cancelled_mib": stopped}
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
