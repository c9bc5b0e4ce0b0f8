"""Trains the small network behind `ragcore.readers.text_gate` and writes it as ONNX.

    python recipes/text_gate.py PHOTOGRAPHS.zip WORDS.jsonl ragcore/readers/text_gate.onnx

Photographs without writing serve as grounds (the shipped weights: Caltech-101, CC BY 4.0, as 1,000
JPEGs in a zip, those in which recognition at 448 pixels finds words left out); plain and striped
grounds are drawn. In half of the samples words from WORDS.jsonl (field `text`) are drawn at 9-70
pixels of height with some turn, outline, blur and JPEG damage. One output a cell of 8 x 8 pixels
learns whether it holds writing. Needs the packages onnx and onnxscript beside ragcore's own.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import random
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

SIZE, CELL = 192, 8
COLORS = [(255, 255, 255), (0, 0, 0), (255, 230, 0), (200, 20, 20), (20, 40, 160), (20, 120, 40)]


def block(inside: int, outside: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inside, inside, 3, stride, 1, groups=inside, bias=False),
        nn.BatchNorm2d(inside),
        nn.ReLU(),
        nn.Conv2d(inside, outside, 1, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(),
    )


class Gate(nn.Module):
    """[n, 1, h, w] in -1..1 to logits [n, h/8, w/8]."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        wide = 4 * width
        self.net = nn.Sequential(
            nn.Conv2d(1, width, 5, 2, 2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            block(width, 2 * width, 2),
            block(2 * width, 2 * width, 1),
            block(2 * width, wide, 2),
            block(wide, wide, 1),
            block(wide, wide, 1),
            block(wide, wide, 1),
            nn.Conv2d(wide, 1, 1),
        )

    def forward(self, grey: torch.Tensor) -> torch.Tensor:
        cells: torch.Tensor = self.net(grey)[:, 0]
        return cells


class Probability(nn.Module):
    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, grey: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.gate(grey))


@dataclass
class Material:
    photographs: list[Image.Image]
    words: list[str]
    fonts: list[str]


def ground(chance: random.Random, material: Material) -> Image.Image:
    kind = chance.random()
    if kind < 0.72:
        image = chance.choice(material.photographs)
        scale = chance.choice([192, 200, 224, 288]) / min(image.size)
        width, height = (max(SIZE, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        x, y = chance.randint(0, width - SIZE), chance.randint(0, height - SIZE)
        image = image.crop((x, y, x + SIZE, y + SIZE))
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if x % 2 else image
    if kind < 0.86:
        return drawn_ground(chance)
    image = chance.choice(material.photographs).resize((32, 32)).resize((SIZE, SIZE))
    noise = np.random.default_rng(chance.randrange(2**30)).normal(size=(SIZE, SIZE, 1))
    rough = np.asarray(image, float) + noise * chance.choice([0, 5, 20, 50])
    return Image.fromarray(rough.clip(0, 255).astype(np.uint8))


def drawn_ground(chance: random.Random) -> Image.Image:
    def color() -> tuple[int, int, int]:
        return chance.randrange(256), chance.randrange(256), chance.randrange(256)

    image = Image.new("RGB", (SIZE, SIZE), color())
    pen = ImageDraw.Draw(image)
    for _ in range(chance.randint(0, 14)):
        a, b, c, d = (chance.randint(0, SIZE) for _ in range(4))
        area = (min(a, c), min(b, d), max(a, c), max(b, d))
        shape = chance.choice([pen.rectangle, pen.ellipse])
        if chance.random() < 0.4:
            pen.line((a, b, c, d), fill=color(), width=chance.randint(1, 5))
        else:
            shape(area, fill=color() if chance.random() < 0.5 else None, outline=color())
    if chance.random() < 0.4:  # fences, stripes, tiles
        step, width, paint = chance.randint(6, 30), chance.randint(1, 6), color()
        for x in range(0, SIZE, step):
            pen.line((x, 0, x + chance.randint(-3, 3), SIZE), fill=paint, width=width)
            if step % 2:
                pen.line((0, x, SIZE, x), fill=paint, width=width)
    return image


def write(image: Image.Image, mask: Image.Image, chance: random.Random, material: Material) -> None:
    height = int(math.exp(chance.uniform(math.log(9), math.log(70))))
    font = ImageFont.truetype(chance.choice(material.fonts), height)
    text = " ".join(chance.choice(material.words) for _ in range(chance.choice([1, 1, 2, 3, 4, 6])))
    text = chance.choice([text.upper(), text.title(), text])[:40]
    width = int(font.getlength(text)) + 8
    if width > 1.2 * SIZE:
        text = text[: max(3, int(len(text) * SIZE / width))]
        width = int(font.getlength(text)) + 8
    letters = Image.new("L", (width, int(height * 1.4) + 4), 0)
    ImageDraw.Draw(letters).text((4, 2), text, font=font, fill=255)
    if not letters.getbbox():
        return
    letters = letters.crop(letters.getbbox())
    area = Image.new("L", letters.size, 255)
    turn = chance.choice([0.0, 0.0, 0.0, chance.uniform(-8, 8), chance.uniform(-25, 25)])
    letters = letters.rotate(turn, Image.Resampling.BICUBIC, expand=True)
    area = area.rotate(turn, expand=True)
    x = chance.randint(-10, max(0, SIZE - letters.width))
    y = chance.randint(0, max(0, SIZE - letters.height))
    under = image.crop((x, y, x + letters.width, y + letters.height)).convert("L").resize((1, 1))
    light = float(np.asarray(under)[0, 0])
    paint = chance.choice(COLORS)
    if abs(0.3 * paint[0] + 0.59 * paint[1] + 0.11 * paint[2] - light) < 50:
        paint = (255, 255, 255) if light < 128 else (0, 0, 0)
    other = (0, 0, 0) if sum(paint) > 380 else (255, 255, 255)
    if chance.random() < 0.3:
        image.paste(other, (x - 4, y - 3, x + letters.width + 4, y + letters.height + 3))
    elif chance.random() < 0.2:
        image.paste(other, (x + 1, y + 1), letters)
    strength = chance.uniform(0.6, 1)
    image.paste(paint, (x, y), letters.point(lambda value: int(value * strength)))
    mask.paste(255, (x, y), area)


def sample(seed: int, material: Material) -> tuple[torch.Tensor, torch.Tensor]:
    """Grey [1, SIZE, SIZE] and, a cell each, 1 writing, 0 none, -1 undecided."""
    chance = random.Random(seed)
    image = ground(chance, material)
    mask = Image.new("L", (SIZE, SIZE), 0)
    if chance.random() < 0.55:
        for _ in range(chance.choice([1, 1, 1, 2, 3, 6])):
            write(image, mask, chance, material)
    if chance.random() < 0.25:
        image = image.filter(ImageFilter.GaussianBlur(chance.uniform(0.3, 1)))
    if chance.random() < 0.6:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=chance.randint(35, 92))
        image = Image.open(buffer)
    grey = np.asarray(image.convert("L"), np.float32)
    grey = 255 - grey if chance.random() < 0.3 else grey
    grey = (grey - 128) * chance.uniform(0.6, 1.2) + 128 + chance.uniform(-25, 25)
    cells = np.asarray(mask.resize((SIZE // CELL,) * 2, Image.Resampling.BOX), np.float32) / 255
    target = np.where(cells > 0.5, 1, np.where(cells < 0.05, 0, -1)).astype(np.float32)
    return torch.from_numpy(grey.clip(0, 255) / 127.5 - 1)[None].float(), torch.from_numpy(target)


class Samples(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    def __init__(self, material: Material) -> None:
        self.material = material

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        worker = torch.utils.data.get_worker_info()
        seed = 0 if worker is None else worker.id * 10**8
        while True:
            seed += 1
            yield sample(seed, self.material)


def loss_of(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    known = (target >= 0).float()
    weight = torch.tensor(2.0)
    cells = F.binary_cross_entropy_with_logits(
        logits, target.clamp(min=0), reduction="none", pos_weight=weight
    )
    # The strongest cells decide for the image as a whole.
    top = logits.flatten(1).topk(4, 1).values.mean(1)
    whole = (target > 0).flatten(1).any(1).float()
    image = F.binary_cross_entropy_with_logits(top, whole)
    return (cells * known).sum() / known.sum() + 0.3 * image


def load_material(photographs: Path, words: Path) -> Material:
    from ragcore.readers import ocr

    images = []
    with zipfile.ZipFile(photographs) as archive:
        for name in archive.namelist():
            if name.lower().endswith((".jpg", ".jpeg")):
                image = Image.open(io.BytesIO(archive.read(name))).convert("RGB")
                found = ocr.recognize(image, min_score=0.7, search_side=448)
                if not any(sum(c.isalnum() for c in line.text) >= 2 for line in found):
                    images.append(image)
    texts = [json.loads(line)["text"] for line in words.read_text().splitlines()]
    vocabulary = [word for text in texts for word in text.split()][:60_000]
    folder = Path(matplotlib.get_data_path()) / "fonts/ttf"
    kinds = ("DejaVu*", "STIXGeneral*", "cmr10*", "cmss10*", "cmtt10*", "cmb10*")
    return Material(images, vocabulary, [str(f) for k in kinds for f in folder.glob(k + ".ttf")])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photographs", type=Path)
    parser.add_argument("words", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, default=2400)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    gate = Gate()
    optimizer = torch.optim.AdamW(gate.parameters(), lr=5e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=arguments.steps)
    material = load_material(arguments.photographs, arguments.words)
    loader = DataLoader(Samples(material), batch_size=12, num_workers=2)
    for step, (grey, target) in zip(range(arguments.steps), loader, strict=False):
        loss = loss_of(gate(grey), target)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(step, round(loss.item(), 4), flush=True)
    gate.eval()
    size = (
        torch.export.Dim("height", min=32, max=4096),
        torch.export.Dim("width", min=32, max=4096),
    )
    torch.onnx.export(
        Probability(gate),
        (torch.zeros(1, 1, 320, 320),),
        str(arguments.output),
        input_names=["grey"],
        output_names=["writing"],
        dynamic_shapes=({2: size[0], 3: size[1]},),
        external_data=False,
        dynamo=True,
    )


if __name__ == "__main__":
    main()
