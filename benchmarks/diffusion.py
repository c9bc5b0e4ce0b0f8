"""One image from words to PNG, against the bare denoiser calls in it.

    python benchmarks/diffusion.py [--steps N] [--count N] [--rounds N] [--profile FILE]

Both are measured in one run, taking turns, so that a busy machine slows both. The bare calls
get their inputs ready made: as many calls of the denoiser as there are steps, with a batch of
twice the images (with the prompt and without). The budget of the ratio is 1.1. On a machine
that others use as well, the ratio of the processor's seconds says more than that of the clock's.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from statistics import median

from ragcore.diffusion import ImagineRequest
from ragcore.diffusion.factories import imaginer_of
from ragcore.models import Models
from ragcore.settings import Settings


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """(by the clock, of the processor) for one call."""
    start, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - busy


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--count", type=int, default=1, help="images of a request")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--profile", default=Settings().profile)
    given = parser.parse_args()
    maker = imaginer_of(Models(Settings(profile=given.profile)))
    model = maker.model
    request = ImagineRequest(prompt="red apple", seed=1, steps=given.steps, count=given.count)
    maker.imagine(request)  # loads and warms up

    side = model.card.size // model.autoencoder.factor
    latents = torch.randn(2 * given.count, model.autoencoder.channels, side, side)
    latents = latents.to(model.device, model.dtype)
    embeddings = model.embed_prompts(["", "red apple"] * given.count, model.card.size)

    def bare() -> None:
        with torch.no_grad():
            for step in range(given.steps):
                model.denoiser(latents, 999 - step, **embeddings.inputs())

    times: dict[str, list[float]] = {"whole": [], "bare": [], "busy whole": [], "busy bare": []}
    for _ in range(given.rounds):
        for name, work in (("whole", lambda: maker.imagine(request)), ("bare", bare)):
            clock, busy = seconds(work)
            times[name].append(clock)
            times[f"busy {name}"].append(busy)
    middle = {name: median(values) for name, values in times.items()}
    report = {
        "model": model.card.name,
        "steps": given.steps,
        "images": given.count,
        "threads": torch.get_num_threads(),
        "seconds_per_image": round(middle["whole"] / given.count, 4),
        "ratio_to_denoiser": round(middle["whole"] / middle["bare"], 3),
        "ratio_of_processor_seconds": round(middle["busy whole"] / middle["busy bare"], 3),
        "best_ratio": round(min(times["whole"]) / min(times["bare"]), 3),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
