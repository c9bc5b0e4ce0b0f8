"""An image tower through OpenVINO: on CPUs several times faster than eager torch.

Depthwise convolutions in eager torch are slow on CPUs; OpenVINO fuses them with their
normalization and activation. The result is checked against torch once per model before it is
kept in the weights cache.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from ragcore.errors import RagcoreError
from ragcore.settings import Settings

if TYPE_CHECKING:
    import torch

    from ragcore.types import FloatArray

log = logging.getLogger(__name__)
# An output may differ from torch's by this cosine at most; float32 gives about 1e-6.
TOLERANCE = 1e-4


def compile_image_tower(
    tower: torch.nn.Module,
    *,
    size: tuple[int, int],
    settings: Settings,
    name: str = "",
    required: bool = False,
) -> Callable[[FloatArray], FloatArray] | None:
    """A function from float32 [n, 3, h, w] to float32 [n, d] (not normalized), thread-safe.

    The converted model is kept under `name` in the weights cache ("" keeps nothing). None
    where OpenVINO is missing or its result differs from torch's; RagcoreError instead if
    `required`.
    """
    try:
        import openvino
    except ImportError:
        if required:
            raise RagcoreError("the openvino backend needs: pip install openvino") from None
        return None
    try:
        graph = _converted(tower, size, settings, name)
        return _compiled(openvino, graph, settings)
    except Exception as error:
        if required:
            raise RagcoreError(f"OpenVINO cannot run this image tower: {error}") from error
        log.warning("image tower runs in torch: OpenVINO failed (%s)", str(error).split("\n")[0])
        return None


def _converted(tower: torch.nn.Module, size: tuple[int, int], settings: Settings, name: str) -> Any:
    """The graph of `tower`, from the cache or freshly converted and checked."""
    import openvino

    if not name:
        return _convert(tower, size)
    folder = settings.weights_cache / "openvino"
    folder_name = f"{name}-{openvino.__version__}".replace("/", "-").replace(":", "-")
    path = folder / f"{folder_name}.xml"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(str(path) + ".lock"):
            if not path.is_file():
                _save(_convert(tower, size), path)
    return openvino.Core().read_model(path)


def _save(graph: Any, path: Path) -> None:
    """Write the pair .bin, .xml so that the .xml, which is looked for, appears last."""
    import openvino

    part = path.with_name(f"{path.stem}.{os.getpid()}.xml")
    openvino.save_model(graph, part, compress_to_fp16=False)
    part.with_suffix(".bin").replace(path.with_suffix(".bin"))
    part.replace(path)


def _convert(tower: torch.nn.Module, size: tuple[int, int]) -> Any:
    import openvino
    import torch

    height, width = size
    example = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1
    # the fused attention of transformer blocks has no counterpart in OpenVINO
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            traced: Any = torch.jit.trace(tower, example, check_trace=False)  # type: ignore[no-untyped-call]
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    shape = openvino.PartialShape([-1, 3, height, width])
    graph = openvino.convert_model(traced, example_input=example, input=[shape])
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(tower(example), dim=-1)
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    got = torch.nn.functional.normalize(torch.from_numpy(compiled(example.numpy())[0]), dim=-1)
    distance = float(1 - (expected * got).sum(-1).min())
    if distance > TOLERANCE:
        raise RagcoreError(f"its vectors differ from torch's by {distance:.1e} in cosine")
    return graph


def _compiled(openvino: Any, graph: Any, settings: Settings) -> Callable[[FloatArray], FloatArray]:
    import numpy as np

    threads = settings.threads or int(os.environ.get("OMP_NUM_THREADS", "0"))
    options: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    compiled = openvino.Core().compile_model(graph, "CPU", options)

    def run(batch: FloatArray) -> FloatArray:
        request = compiled.create_infer_request()  # one per call: requests are not shared
        result = request.infer([np.ascontiguousarray(batch)])
        return np.array(result[0], dtype=np.float32)

    return run
