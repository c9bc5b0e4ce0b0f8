"""Images at the file boundary: decoded safely, upright, in RGB; thumbnails and hashes.

The perceptual hash is the signs of the 63 lowest frequencies of the discrete cosine transform
of a 32 x 32 gray version (after C. Zauner, "Implementation and Benchmarking of Perceptual Image
Hash Functions", 2010, with the sign in place of the median as the threshold). Signs make the
hash of a mirrored or turned image a permutation of the image's own bits.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.errors import UnreadableFile
from ragcore.files import read_regular
from ragcore.readers.metadata import NO_BLOCKS, Blocks, blocks_of, orientation
from ragcore.types import ImageMetadata, ReadImage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from ragcore.readers.coverage import CoverageBuilder
    from ragcore.readers.options import ReadOptions

THUMBNAIL_SIDE = 320
PIXELS_SIDE = 448  # of the shorter side: more than image encoders look at
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "HEIF", "AVIF", "JPEG2000")
_WORK_SIDE = 1024  # shorter side at which large JPEGs are decoded for hashes and OCR
_RECIPE = "ragcore"  # the text chunk with the recipe of an image that was made here
_HASH_SIDE = 32
_HASH_BITS = 8
_FLAT = 8.0  # with no coefficient above it (a quarter of a gray level) an image is blank


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """An upright RGB image; `width`, `height` are the file's own, before any reduction.

    `made_from` has the words that an image of our own image maker was made from.
    """

    image: Image
    width: int
    height: int
    made_from: str = ""
    pages: int = 1  # of a TIFF file; other formats show the first of their frames
    blocks: Blocks = NO_BLOCKS  # its metadata as found


def load_image(
    source: str | Path | bytes, *, max_megapixels: int = 100, at_least: int | None = None
) -> Image:
    """The first frame of an image, upright, as 8-bit RGB; transparency is laid on white.

    `at_least` allows a JPEG to be decoded at a fraction of its size, as long as both sides keep
    that many pixels: several times faster for photographs.

    Raises `UnreadableFile`: no image, cut off, damaged, or above `max_megapixels`, which is
    checked from the header before anything is decoded.
    """
    return load(source, max_megapixels=max_megapixels, at_least=at_least).image


def load(
    source: str | Path | bytes, *, max_megapixels: int = 100, at_least: int | None = None
) -> LoadedImage:
    """As `load_image`, with the size and the metadata that the file itself has."""
    with _opened(source, max_megapixels) as opened:
        return _decode(opened, at_least)


def load_blocks(source: str | Path | bytes, *, max_megapixels: int = 100) -> Blocks:
    """The metadata of an image file as found, most formats' pixels not decoded.

    Raises UnreadableFile as `load_image`.
    """
    with _opened(source, max_megapixels) as opened:
        return blocks_of(opened)


@contextmanager
def _opened(source: str | Path | bytes, max_megapixels: int) -> Iterator[Any]:
    from PIL import Image, UnidentifiedImageError

    _prepare(max_megapixels)
    source = source if isinstance(source, bytes) else _file_bytes(Path(source))
    if not source:
        raise UnreadableFile("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(source), formats=_FORMATS) as opened:
                _check_size(opened, max_megapixels)
                yield opened
    except UnreadableFile:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadableFile(_too_large(max_megapixels)) from error
    except UnidentifiedImageError as error:
        raise UnreadableFile(_not_an_image(source)) from error
    except MemoryError as error:
        raise UnreadableFile("decoding the image takes more memory than there is") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error …
        reason = " ".join(str(error).split())[:120]
        raise UnreadableFile(f"the image is cut off or damaged ({reason})") from error


def _file_bytes(path: Path) -> bytes:
    try:
        return read_regular(path)
    except FileNotFoundError as error:
        raise UnreadableFile(f"no such image: {path}") from error
    except OSError as error:
        raise UnreadableFile(f"the image cannot be opened: {error.strerror}") from error


def _prepare(max_megapixels: int) -> None:
    from PIL import Image

    _register_formats()
    # Pillow's own limit must not undercut ours; it stays as the second net above it.
    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, max_megapixels * 1_000_000)


@lru_cache(maxsize=1)
def _register_formats() -> None:
    import pillow_heif
    from PIL import Image

    Image.init()
    pillow_heif.register_heif_opener(thumbnails=False)


def _too_large(max_megapixels: int) -> str:
    return f"larger than {max_megapixels} megapixels: raise the setting max_megapixels"


def _not_an_image(data: bytes) -> str:
    from ragcore.readers.sniff import looks_like_text

    head = data[:4096]
    if b"<svg" in head.lower():
        return "an SVG drawing, which is not read: save it as PNG"
    if looks_like_text(head):
        return "this is text, not an image"
    return "not an image of a known format, or its beginning is damaged"


def _check_size(opened: Any, max_megapixels: int) -> None:
    width, height = opened.size
    if width < 1 or height < 1:
        raise UnreadableFile("the image has no pixels")
    if width * height > max_megapixels * 1_000_000:
        raise UnreadableFile(_too_large(max_megapixels))


def _decode(opened: Any, at_least: int | None) -> LoadedImage:
    width, height = opened.size
    if at_least and opened.format in {"JPEG", "MPO"}:
        opened.draft(None, (at_least, at_least))
    opened.load()
    pages = getattr(opened, "n_frames", 1) if opened.format == "TIFF" else 1
    blocks = blocks_of(opened)
    turned = orientation(blocks)
    # Deep modes first: turning keeps the mode, and it is cheap on 8 bits.
    image = _to_rgb(_upright(_eight_bit(opened), turned))
    if image is opened:
        image = opened.copy()  # which no longer reads from the file
    if turned >= 5:
        width, height = height, width
    return LoadedImage(image, width, height, _made_from(opened), pages, blocks)


def _upright(image: Any, turned: int) -> Any:
    """`image` as it is to be looked at, by its orientation in EXIF."""
    from PIL.Image import Transpose

    how = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(turned)
    return image if how is None else image.transpose(how)


def _made_from(opened: Any) -> str:
    """The prompt in the recipe of a PNG that `ragcore.diffusion` has made; "" in others."""
    text = opened.info.get(_RECIPE)
    if not isinstance(text, str):
        return ""
    try:
        prompt = json.loads(text)["prompt"]
    except (KeyError, TypeError, ValueError):
        return ""
    return " ".join(prompt.split())[:2000] if isinstance(prompt, str) else ""


def _eight_bit(image: Any) -> Any:
    """Modes with more than 8 bits a channel as "L", scaled instead of clipped."""
    import numpy as np
    from PIL import Image

    if image.mode == "F" or image.mode.startswith("I"):
        values = np.asarray(image)
        if image.mode.startswith("I;16"):
            gray = (values >> 8).astype(np.uint8)
        else:
            gray = _scale(values.astype(np.float32))
        scaled = Image.fromarray(gray)
        scaled.info = dict(image.info)
        return scaled
    return image


def _scale(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    import numpy as np

    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    elif low >= 0 and 255 < high <= 65535:
        low, high = 0.0, 65535.0
    span = (high - low) or 1.0
    levels = np.clip((values - low) / span * 255 + 0.5, 0, 255)
    return np.asarray(levels, dtype=np.uint8)


def _to_rgb(image: Any) -> Any:
    from PIL import Image

    transparent = image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or (
        image.mode in {"P", "L", "RGB"} and "transparency" in image.info
    )
    if transparent:
        rgba = image.convert("RGBA")
        white = Image.new("RGB", rgba.size, "white")
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def thumbnail(image: Image, *, side: int = THUMBNAIL_SIDE) -> bytes:
    """WebP of `image` with at most `side` pixels a side; small images keep their size."""
    from PIL import Image as Pillow

    small = image
    if max(image.size) > side:
        scale = side / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        small = image.resize(size, Pillow.Resampling.BICUBIC, reducing_gap=3.0)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=80, method=0)
    return buffer.getvalue()


def pixels_sha256(image: Image) -> str:
    """Over size and RGB bytes: equal pixels in another container give the same value."""
    digest = hashlib.sha256(b"%dx%d:" % image.size)
    digest.update(image.tobytes())
    return digest.hexdigest()


# --- perceptual hashes -------------------------------------------------------


def phash(image: Image) -> bytes:
    """16 bytes: the 64-bit hash of the image (8 bytes, big-endian), then of its mirror image.

    Bit 63 - (8 v + u) is set where the DCT coefficient of vertical frequency v and horizontal
    frequency u is positive; the constant term's bit is always 0. A blank image is all zeros.
    """
    import numpy as np
    from PIL import Image as Pillow

    side = (_HASH_SIDE, _HASH_SIDE)
    gray = image.convert("L").resize(side, Pillow.Resampling.BOX, reducing_gap=2.0)
    basis = _dct_basis()
    coefficients = basis @ np.asarray(gray, dtype=np.float64) @ basis.T
    coefficients[0, 0] = 0.0
    if np.abs(coefficients).max() < _FLAT:
        return bytes(16)
    mirrored = coefficients.copy()
    mirrored[:, 1::2] *= -1
    return np.packbits(coefficients > 0).tobytes() + np.packbits(mirrored > 0).tobytes()


@lru_cache(maxsize=1)
def _dct_basis() -> NDArray[np.float64]:
    """Rows 0-7 of the orthonormal DCT-II matrix of size 32."""
    import numpy as np

    k = np.arange(_HASH_BITS)[:, None]
    n = np.arange(_HASH_SIDE)[None, :]
    basis = np.cos(np.pi * k * (2 * n + 1) / (2 * _HASH_SIDE)) * np.sqrt(2 / _HASH_SIDE)
    basis[0] /= np.sqrt(2)
    return np.asarray(basis, dtype=np.float64)


def turned(value: bytes) -> tuple[bytes, ...]:
    """The `phash` values of the image turned by 0, 90, 180 and 270 degrees.

    With the mirror image that each of them carries these are all eight orientations.
    """
    import numpy as np

    if len(value) < 8:
        return ()
    bits = np.unpackbits(np.frombuffer(value[:8], dtype=np.uint8)).reshape(8, 8).astype(bool)
    odd = np.arange(8) % 2 == 1

    def mirror(block: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.asarray(block ^ odd[None, :], dtype=np.bool_)

    def quarter(block: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.asarray(block.T ^ odd[:, None], dtype=np.bool_)

    results = []
    for _ in range(4):
        block = bits.copy()
        block[0, 0] = False
        other = mirror(block)
        results.append(np.packbits(block).tobytes() + np.packbits(other).tobytes())
        bits = quarter(bits)
    return tuple(results)


# --- describing --------------------------------------------------------------


def describe(
    loaded: LoadedImage,
    *,
    page: int | None = None,
    data: bytes | None = None,
    text: str = "",
    caption: str = "",
    metadata: ImageMetadata | None = None,
) -> ReadImage:
    """The `ReadImage` record of a loaded image: size, hashes and thumbnail."""
    import numpy as np

    # One reduction serves the encoder, the thumbnail and the hash.
    small = _shorter_side(loaded.image, PIXELS_SIDE)
    return ReadImage(
        width=loaded.width,
        height=loaded.height,
        pixels_sha256=pixels_sha256(loaded.image),
        thumbnail=thumbnail(small),
        phash=phash(small),
        page=page,
        data=data,
        text=text,
        caption=caption,
        metadata=metadata,
        pixels=np.asarray(small, dtype=np.uint8),
    )


def _shorter_side(image: Image, side: int) -> Image:
    """`image` made smaller until its shorter side has at most `side` pixels."""
    from PIL import Image as Pillow

    if min(image.size) <= side:
        return image
    scale = side / min(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    return image.resize(size, Pillow.Resampling.BICUBIC, reducing_gap=1.1)


def load_for_index(source: str | Path | bytes, *, max_megapixels: int = 100) -> LoadedImage:
    """As `load`, large JPEGs reduced to what hashing, embedding and OCR need."""
    return load(source, max_megapixels=max_megapixels, at_least=_WORK_SIDE)


def worth_keeping(width: int, height: int) -> bool:
    """Whether an image inside a document is more than decoration (a bullet, a rule, an icon)."""
    return (
        min(width, height) >= 48
        and width * height >= 10_000
        and max(width, height) <= 20 * min(width, height)
    )


def describe_all(
    items: Iterable[tuple[bytes, int, str]], *, options: ReadOptions, coverage: CoverageBuilder
) -> tuple[ReadImage, ...]:
    """`ReadImage` records of images inside a document, given as (encoded bytes, page, caption).

    Decoration is left out, repeats are kept once (where they first stand), and no more than
    `options.max_images` are kept. `coverage` counts all of them.
    """
    from ragcore.readers import ocr

    images: list[ReadImage] = []
    seen_bytes: set[bytes] = set()
    seen_pixels: set[str] = set()
    for data, page, caption in items:
        if len(images) >= options.max_images:
            why = f"only the first {options.max_images} images of a document are kept"
            coverage.skip("image", why, page, count=1)
            continue
        digest = hashlib.sha256(data).digest()
        if digest in seen_bytes:
            coverage.ignore("image")
            continue
        seen_bytes.add(digest)
        try:
            loaded = load_for_index(data, max_megapixels=options.max_megapixels)
        except UnreadableFile as error:
            coverage.skip("image", str(error), page, count=1)
            continue
        if not worth_keeping(loaded.width, loaded.height) or _is_flat(loaded.image):
            coverage.ignore("image")
            continue
        image = describe(loaded, page=page, data=web_bytes(data, loaded), caption=caption)
        if image.pixels_sha256 in seen_pixels:
            coverage.ignore("image")
            continue
        seen_pixels.add(image.pixels_sha256)
        try:
            text = ocr.text_in_image(loaded.image, options=options)
            coverage.read("image", ocr=int(bool(text)))
        except ocr.OcrUnavailable as error:
            text = ""
            coverage.skip("image", f"text in it was not read: {error}", page, partial=True)
        images.append(replace(image, text=text) if text else image)
    return tuple(images)


def web_bytes(data: bytes, loaded: LoadedImage) -> bytes:
    """`data` where it is JPEG or PNG already, else the image as PNG."""
    if data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
        return data
    buffer = io.BytesIO()
    loaded.image.save(buffer, "PNG")
    return buffer.getvalue()


def _is_flat(image: Image) -> bool:
    return all(high - low < 8 for low, high in image.resize((64, 64)).getextrema())  # type: ignore[misc]
