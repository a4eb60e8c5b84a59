"""Images as Label Studio shows them: any common file to 8-bit RGB pixels.

Boxes are drawn on what a browser displays, so a detector must see the same pixels in the
same place: palettes looked up, 16 bits reduced to 8, CMYK and colour profiles turned into
sRGB, the EXIF orientation applied, transparency laid over white (the background of Label
Studio's default theme). TIFF, which no browser shows, follows the same rules where it has
8 bits; 16-bit and float samples have no agreed black and white, so they are stretched
between two percentiles of the image.

The size is read from the header first: a small file that unpacks to gigabytes is refused
before any pixel of it is decoded.
"""

from __future__ import annotations

import io
import logging
import math
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyvips  # type: ignore[import-untyped]

from ml_backend.system.plain_files import find_obstacle

# Bytes of an image when it is decoded: an RGB image of 16,384 × 16,384 px, the largest that
# browsers draw, or 11,585 × 11,585 of 16 bits a sample. Scans that are larger are read window
# by window (`tasks.readers`); what is shown in Label Studio has to be cut into tiles anyway. A
# file may unpack a thousandfold, so this and not its size is what bounds memory; at most twice
# as much is held for a moment, while samples become colours.
MAX_DECODED = 3 * 16_384**2
MAX_BYTES = 4 * MAX_DECODED // 3  # of a file: not compressed, with all reduced copies

# Samples that are converted at a time: several steps make several copies of them.
_STEP = 4_000_000

# Sparse bright objects on a dark field are what people photograph here: clipping more than
# a thousandth of the pixels would burn out the chromosomes of a small metaphase.
STRETCH_PERCENTILES = (0.1, 99.9)

# Of zlib: 6, the default, takes nearly three times as long for files 5 % smaller.
PNG_LEVEL = 3

_PNG = b"\x89PNG\r\n\x1a\n"
# Compressions of TIFF that every libvips reads; of others it depends on how it was built.
_VIPS_COMPRESSIONS = (
    *("NONE", "PACKBITS", "LZW", "DEFLATE", "ADOBE_DEFLATE"),
    *("OJPEG", "JPEG", "WEBP", "CCITTRLE", "CCITT_T4", "CCITT_T6"),
)
# Chunks of a PNG: 256 MB in the 4 kB of the smallest writers are 65,000. Each takes its time.
_MOST_CHUNKS = 100_000
# Chunks of a PNG that say nothing about colours, or what `decode` overlooks.
_PNG_REMARKS = (b"tEXt", b"zTXt", b"iTXt", b"tIME", b"pHYs", b"oFFs", b"sRGB", b"gAMA", b"cHRM")

# Sources are decoded once; remembering operations would only hold pixels in memory.
pyvips.cache_set_max(0)
# Warnings are what browsers overlook too; a small file may cause millions.
logging.getLogger("pyvips").setLevel(logging.ERROR)
logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # errors are reported once, by us


class UnreadableImage(ValueError):
    """An image that cannot be shown.

    Attributes:
        reason: Why, in one line for the user.
    """

    def __init__(self, reason: str, name: str = "") -> None:
        super().__init__(f"{name}: {reason}" if name else reason)
        self.reason = reason


def decode(source: Path | bytes, *, name: str = "") -> np.ndarray:
    """Decode an image file, given by path or content.

    Of a file with several pages or frames the first is taken. Safe to call from several threads.

    Args:
        source: The path or the content.
        name: Stands for the source in errors; a path names itself.

    Returns:
        (H, W, 3) uint8 RGB, contiguous.

    Raises:
        UnreadableImage: The file is missing, empty, not an image, cut off, corrupt, or larger
            than MAX_DECODED.
    """
    if isinstance(source, Path):
        name = name or str(source)
    try:
        data = _read(source) if isinstance(source, Path) else source
        if not data:
            raise UnreadableImage("the file is empty")
        if not _is_image(data):
            raise UnreadableImage(
                "not an image that can be read (PNG, JPEG, WebP, GIF, BMP, AVIF or TIFF)"
            )
        try:
            return _decode_known(data)
        except UnreadableImage:
            raise
        except MemoryError as error:
            raise UnreadableImage("too large for the memory of this machine") from error
        except (pyvips.Error, OSError, SyntaxError, ValueError, OverflowError) as error:
            raise UnreadableImage("the image is cut off or corrupt") from error
    except UnreadableImage as error:
        raise UnreadableImage(error.reason, name) from error.__cause__


def _read(path: Path) -> bytes:
    if (obstacle := find_obstacle(path)) and obstacle != "there is no such file":
        raise UnreadableImage(obstacle)
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise UnreadableImage(f"the file has {size / 1e9:.1f} GB, too large for one image")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UnreadableImage("there is no such file") from error
    except OSError as error:
        raise UnreadableImage(f"cannot be read: {error.strerror or error}") from error


TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # and BigTIFF


def _is_image(data: bytes) -> bool:
    """Decide by the signature, as browsers do; what else libvips may read (SVG, ...) is refused."""
    others = (_PNG, b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM")
    return (
        data.startswith((*TIFF, *others))
        or (data.startswith(b"RIFF") and data[8:12] == b"WEBP")
        or data[4:12] in (b"ftypavif", b"ftypavis")
    )


def measure_decoded(data: bytes) -> int:
    """Measure by its header how many bytes an image takes when it is decoded.

    Returns:
        At most MAX_DECODED; 0 where only decoding says what is wrong with it.

    Raises:
        UnreadableImage: It would take more.
    """
    if not _is_image(data):
        return 0
    if data.startswith(b"BM"):
        width, height = struct.unpack_from("<ii", data.ljust(26, b"\0"), 18)
        return _check_size(abs(width), abs(height))
    try:
        return _check_image(_open(data))
    except pyvips.Error:  # a TIFF of samples that libvips does not know, or a broken file
        return MAX_DECODED if data.startswith(TIFF) else 0


def _open(data: bytes, **options: Any) -> pyvips.Image:
    """Open an image and read its header. Raises UnreadableImage and pyvips.Error."""
    if data.startswith(_PNG) and len(data) > 12 * _MOST_CHUNKS:
        at, chunks = len(_PNG), 0
        while at + 12 <= len(data):
            at += 12 + int.from_bytes(data[at : at + 4])
            chunks += 1
            if chunks > _MOST_CHUNKS:
                raise UnreadableImage(f"it has more than {_MOST_CHUNKS} parts (chunks)")
    return pyvips.Image.new_from_buffer(data, "", access="sequential", **options)


def _check_image(image: pyvips.Image) -> int:
    sample = np.dtype(DTYPES[image.format]).itemsize
    return _check_size(image.width, image.height, image.bands * sample)


def _check_size(width: int, height: int, samples: int = 3) -> int:
    """The bytes of an image of so many bytes a pixel. Raises UnreadableImage when too many."""
    size = width * height * max(3, samples)
    if size > MAX_DECODED:
        raise UnreadableImage(
            f"{width} × {height} pixels of {max(3, samples)} bytes are {size / 1e9:.1f} GB, and "
            f"{MAX_DECODED / 1e9:.1f} GB can be decoded; cut it into tiles"
        )
    return size


def _decode_known(data: bytes) -> np.ndarray:
    if data.startswith(b"BM"):
        return _decode_bmp(data)
    try:
        return _decode_vips(data)
    except pyvips.Error as error:
        if not data.startswith(TIFF):
            raise
        try:
            return _decode_other_tiff(data)
        except (UnreadableImage, MemoryError):
            raise
        except Exception:  # tifffile raises whatever it stumbles over
            raise error from None


def _decode_other_tiff(data: bytes) -> np.ndarray:
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page: Any = file.pages.first
        if not is_refused_by_vips(page):
            raise ValueError("libvips was right to refuse it")
        sample = page.dtype.itemsize
        _check_size(page.imagewidth, page.imagelength, page.samplesperpixel * sample)
        # A tile or strip is decoded as a whole, however little of it lies in the image.
        if math.prod(page.chunks) * sample > MAX_DECODED:
            raise UnreadableImage("its tiles are too large to be decoded")
        pixels = page.asarray(maxworkers=1)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    return convert_to_rgb(pixels, "srgb") if pixels.dtype == np.uint8 else stretch_contrast(pixels)


def is_refused_by_vips(page: Any) -> bool:
    """Tell whether tifffile reads a page that libvips may not.

    Such a page holds grey values or RGB, upright, with samples of 64 bits (libvips 8.18 refuses
    them), which numerical tools like to write, or in a compression that not every libvips knows,
    such as Zstandard.

    Args:
        page: A page as tifffile opens it.
    """
    if page.dtype is None or page.axes not in ("YX", "YXS"):
        return False
    turned = page.tags.get("Orientation")
    if page.photometric.name not in ("MINISBLACK", "RGB") or (turned and turned.value != 1):
        return False
    return page.dtype.itemsize == 8 or page.compression.name not in _VIPS_COMPRESSIONS


def _decode_bmp(data: bytes) -> np.ndarray:
    """Decode with Pillow: libvips has no BMP reader of its own."""
    from PIL import BmpImagePlugin

    # The format's class and not Image.open, which ultralytics replaces where it is imported.
    with BmpImagePlugin.BmpImageFile(io.BytesIO(data)) as image:
        _check_size(*image.size)
        return np.ascontiguousarray(image.convert("RGB"))


def _decode_vips(data: bytes) -> np.ndarray:
    # "error" refuses cut-off files but, as browsers do, overlooks mere warnings.
    image = _open(data, fail_on="error")
    _check_image(image)
    loader = image.get("vips-loader")
    # Browsers apply the orientation of JPEG, PNG and AVIF and overlook that of WebP.
    turned = image.get_typeof("orientation") and image.get("orientation") > 1
    if turned and loader != "webpload_buffer":
        image = image.copy_memory().autorot()
    if loader == "tiffload_buffer" and image.format != "uchar":
        return stretch_contrast(read_vips_pixels(image))
    image = convert_to_8_bit_srgb(image)
    return convert_to_rgb(read_vips_pixels(image), image.interpretation)


def convert_to_8_bit_srgb(image: pyvips.Image) -> pyvips.Image:
    """Convert to sRGB, where the colour space is known, and to 8 bits; no pixel is read yet."""
    return _to_8_bits(_to_srgb(image))


def convert_to_rgb(pixels: np.ndarray, interpretation: str) -> np.ndarray:
    """Convert 8-bit pixels to RGB: inks are multiplied, alpha is laid over white.

    Args:
        pixels: (H, W, C) uint8, of an image that `convert_to_8_bit_srgb` gave.
        interpretation: Its colour space, as libvips names it.

    Returns:
        (H, W, 3) uint8.
    """
    if interpretation == "cmyk":
        return _convert_rows(pixels, _from_cmyk)
    if pixels.shape[2] in (2, 4):
        return _convert_rows(pixels, _blend_over_white)
    return _to_three_channels(pixels)


def read_vips_pixels(image: pyvips.Image) -> np.ndarray:
    """Read all pixels, (H, W, C), in the image's own number type."""
    pixels = np.frombuffer(image.write_to_memory(), dtype=DTYPES[image.format])
    return pixels.reshape(image.height, image.width, image.bands)


def encode_png(pixels: np.ndarray) -> bytes:
    """Encode RGB pixels, (H, W, 3) uint8, as a PNG file."""
    height, width = pixels.shape[:2]
    image = pyvips.Image.new_from_memory(
        np.ascontiguousarray(pixels).data, width, height, 3, "uchar"
    )
    return image.copy(interpretation="srgb").pngsave_buffer(compression=PNG_LEVEL)


def strip_png(data: bytes) -> bytes | None:
    """Strip a PNG file of everything but its pixels, without decoding it.

    Args:
        data: A file that `decode` can read.

    Returns:
        A file that shows what `decode` gives. None where that is not sure: it is no whole PNG of
        8-bit grey or RGB samples, or it holds a chunk, such as a colour profile, that may change
        what is shown.
    """
    if not data.startswith(_PNG):
        return None
    kept, at = [_PNG], len(_PNG)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        chunk = data[at : at + 12 + length]
        if len(chunk) < 12 + length or zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:]):
            return None
        if kind == b"IHDR" and (chunk[16] != 8 or chunk[17] not in (0, 2)):
            return None
        if kind in (b"IHDR", b"IDAT", b"IEND"):
            kept.append(chunk)
        elif kind not in _PNG_REMARKS or chunk[8:].startswith(b"Raw profile"):
            return None
        if kind == b"IEND":
            return b"".join(kept)
        at += 12 + length
    return None


def _convert_rows(pixels: np.ndarray, convert: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Convert some rows at a time to (H, W, 3) uint8, so that only they are held several times."""
    rows = max(1, _STEP // max(1, math.prod(pixels.shape[1:])))
    if len(pixels) <= rows:
        return _to_three_channels(convert(pixels))
    converted = np.empty((*pixels.shape[:2], 3), np.uint8)
    for start in range(0, len(pixels), rows):
        part = slice(start, start + rows)
        converted[part] = _to_three_channels(convert(pixels[part]))
    return converted


def _to_three_channels(pixels: np.ndarray) -> np.ndarray:
    if pixels.shape[2] < 3:
        pixels = np.repeat(pixels[..., :1], 3, axis=2)
    return np.ascontiguousarray(pixels[..., :3])


DTYPES = {
    "uchar": np.uint8,
    "char": np.int8,
    "ushort": np.uint16,
    "short": np.int16,
    "uint": np.uint32,
    "int": np.int32,
    "float": np.float32,
    "double": np.float64,
    "complex": np.complex64,
    "dpcomplex": np.complex128,
}


def _to_srgb(image: pyvips.Image) -> pyvips.Image:
    """Convert by the embedded profile where it is sound, else by the colour space."""
    if image.get_typeof("icc-profile-data"):
        try:
            return image.icc_transform("srgb", embedded=True, intent="relative")
        except pyvips.Error:
            pass  # a broken profile, or one for another colour space, is overlooked
    return image.colourspace("srgb") if image.interpretation in ("lab", "labs") else image


def _to_8_bits(image: pyvips.Image) -> pyvips.Image:
    return image if image.format == "uchar" else (image / 257).rint().cast("uchar")


def _from_cmyk(pixels: np.ndarray) -> np.ndarray:
    """Without a profile browsers take the inks as ideal: each multiplies what the others leave."""
    left = 255 - pixels.astype(np.uint16)
    return ((left[..., :3] * left[..., 3:4] + 127) // 255).astype(np.uint8)


def _blend_over_white(pixels: np.ndarray) -> np.ndarray:
    """(H, W, C + 1) with alpha last to (H, W, C)."""
    alpha = pixels[..., -1:].astype(np.uint16)
    return ((pixels[..., :-1] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def stretch_contrast(pixels: np.ndarray, limits: tuple[float, float] | None = None) -> np.ndarray:
    """Stretch pixels of any number type to 8-bit RGB, linearly between two limits.

    Args:
        pixels: (H, W, C); the first three channels are shown, or the first alone. NaN is black.
        limits: The values that become black and white, the same for all channels;
            `find_contrast_limits` of the pixels where not given.

    Returns:
        (H, W, 3) uint8.
    """
    pixels = _select_channels(pixels)
    low, high = limits or find_contrast_limits(pixels)
    if pixels.dtype == np.uint16:  # looked up, which is many times as fast
        table = _scale_to_8_bits(np.arange(65536, dtype=np.uint16), low, high)
        return _convert_rows(pixels, lambda rows: table[rows])
    return _convert_rows(pixels, lambda rows: _scale_to_8_bits(rows, low, high))


def find_contrast_limits(pixels: np.ndarray) -> tuple[float, float]:
    """Find the values to show as black and as white: the STRETCH_PERCENTILES of the finite ones."""
    pixels = _select_channels(pixels)
    is_float = pixels.dtype.kind == "f"
    finite = pixels[np.isfinite(pixels)] if is_float else pixels.ravel()
    low, high = (
        np.percentile(finite, STRETCH_PERCENTILES, overwrite_input=is_float)
        if finite.size
        else (0.0, 0.0)
    )
    if high <= low:  # few pixels stand out of an even field, or none does
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return float(low), float(high)


def _select_channels(pixels: np.ndarray) -> np.ndarray:
    """Take the channels that are shown: three colours, or the first; complex numbers by size."""
    pixels = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1]
    return np.abs(pixels) if np.iscomplexobj(pixels) else pixels


def _scale_to_8_bits(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    span = max(high - low, np.finfo(np.float64).tiny)
    with np.errstate(over="ignore"):  # of an even field whatever is brighter is white
        scaled = (pixels.astype(np.float64) - low) / span
    return np.rint(np.clip(np.nan_to_num(scaled, nan=0.0), 0, 1) * 255).astype(np.uint8)
