"""The sample drawings: a chart, a map with words in it, a poster."""

from __future__ import annotations

import math

from PIL import Image, ImageDraw, ImageFont
from PIL.ImageDraw import ImageDraw as Draw

_INK, _BLUE, _RED, _PALE = "#222222", "#1f6f9e", "#c0392b", "#eef4f7"


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def drift_chart() -> Image.Image:
    """Two curves over fourteen months; every number follows from a formula."""
    image = Image.new("RGB", (720, 420), "white")
    draw = ImageDraw.Draw(image)
    left, right, top, bottom = 70, 700, 30, 360
    draw.line([(left, top), (left, bottom), (right, bottom)], fill=_INK, width=2)
    for cm in range(0, 13, 3):
        y = bottom - cm / 12 * (bottom - top)
        draw.line([(left, y), (right, y)], fill="#dddddd")
        draw.text((left - 12, y), str(cm), _INK, _font(18), anchor="rm")
    for month in range(0, 15, 2):
        x = left + month / 14 * (right - left)
        draw.text((x, bottom + 8), str(month), _INK, _font(18), anchor="mt")
    draw.text(((left + right) / 2, bottom + 34), "month", _INK, _font(18), anchor="mt")
    draw.text((left + 10, top - 14), "error in cm", _INK, _font(18), anchor="lm")
    for colour, drift in ((_RED, 0.74), (_BLUE, 0.05)):
        points = []
        for day in range(0, 421, 3):
            wave = 0.5 * math.sin(day / 9.0) + 0.35 * math.sin(day / 3.7 + drift)
            error = max(0.0, 0.6 + drift * day / 30 + wave * (0.5 + drift))
            x = left + day / 420 * (right - left)
            points.append((x, bottom - min(error, 12) / 12 * (bottom - top)))
        draw.line(points, fill=colour, width=3, joint="curve")
    return image


def office_map() -> Image.Image:
    """The ground floor, with the names of the rooms written in it."""
    image = Image.new("RGB", (1000, 700), "white")
    draw = ImageDraw.Draw(image)
    draw.text((500, 36), "GROUND FLOOR", _INK, _font(34), anchor="mm")
    rooms = {
        "Reception": (60, 480, 320, 640),
        "Workshop": (60, 90, 420, 300),
        "Laboratory": (420, 90, 700, 300),
        "Common room": (700, 90, 940, 400),
        "Kitchen": (700, 400, 940, 520),
        "Museum": (320, 480, 700, 640),
        "Solvents 0.14": (60, 300, 250, 400),
    }
    for name, box in rooms.items():
        draw.rectangle(box, fill=_PALE, outline=_INK, width=4)
        centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        draw.text(centre, name, _INK, _font(24), anchor="mm")
    draw.rectangle((170, 632, 240, 648), fill="white")
    draw.text((205, 664), "Main entrance", _BLUE, _font(22), anchor="mm")
    draw.rectangle((720, 560, 940, 640), fill="#e4f4e4", outline="#2d7d2d", width=4)
    draw.text((830, 600), "Assembly point", "#2d7d2d", _font(24), anchor="mm")
    return image


def gauge_poster() -> Image.Image:
    """A river gauge in its river, under a sun, with a slogan."""
    image = Image.new("RGB", (800, 1000), "#dff0f7")
    draw = ImageDraw.Draw(image)
    draw.ellipse((560, 90, 710, 240), fill="#f6c945")
    draw.polygon([(0, 520), (240, 330), (470, 520)], fill="#8fb48a")
    draw.polygon([(300, 520), (560, 380), (800, 500), (800, 520)], fill="#7aa574")
    _waves(draw, 520, 860)
    draw.rectangle((360, 260, 430, 820), fill="#f4f4f4", outline=_INK, width=4)
    for step in range(14):
        y = 280 + step * 38
        draw.rectangle((360, y, 395 if step % 2 else 412, y + 16), fill=_RED)
    draw.rectangle((330, 200, 460, 270), fill="#3b3b3b", outline=_INK, width=3)
    draw.line((445, 200, 445, 120), fill=_INK, width=5)
    draw.text((400, 920), "EVERY CENTIMETRE COUNTS", _INK, _font(46), anchor="mm")
    draw.text((400, 968), "Brightwater R2 river gauge", _BLUE, _font(26), anchor="mm")
    return image


def _waves(draw: Draw, top: int, bottom: int) -> None:
    draw.rectangle((0, top, 800, bottom), fill="#3f8fbf")
    for row in range(top + 20, bottom, 42):
        points = [(x, row + 8 * math.sin(x / 28 + row)) for x in range(0, 801, 8)]
        draw.line(points, fill="#8cc4e2", width=4)
