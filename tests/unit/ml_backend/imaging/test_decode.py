"""Files are written here in every format and compared with Pillow and with a real browser."""

from __future__ import annotations

import base64
import io
import shutil
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from ml_backend.imaging.decode import (
    MAX_BYTES,
    UnreadableImage,
    decode,
    stretch_contrast,
    strip_png,
)

HEIGHT, WIDTH = 48, 64
Y, X = np.mgrid[:HEIGHT, :WIDTH]
RGBA = np.stack([X * 4, Y * 5, 255 - X * 3, np.clip(X * 8, 0, 255)], -1).astype(np.uint8)
RGB = np.ascontiguousarray(RGBA[..., :3])
GREY = np.ascontiguousarray(RGBA[..., 1])
GREY_ALPHA = np.ascontiguousarray(RGBA[..., [1, 3]])
RGBA16 = RGBA.astype(np.uint16) * 257


def pillow(image: Image.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def vips(pixels: np.ndarray, interpretation: str, ending: str, **options: object) -> bytes:
    image = pyvips.Image.new_from_array(pixels).copy(interpretation=interpretation)
    return image.write_to_buffer(ending, **options)


def profiled(profile: str, ending: str) -> bytes:
    image = pyvips.Image.new_from_array(RGB).copy(interpretation="srgb")
    options = {} if ending == ".png" else {"Q": 95}
    return image.icc_transform(profile).write_to_buffer(ending, **options)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def files() -> dict[str, bytes]:
    colour, grey = Image.fromarray(RGB), Image.fromarray(GREY)
    palette = colour.quantize(16)
    made = {
        "png grey": pillow(grey, "PNG"),
        "png 1 bit": pillow(Image.fromarray(GREY > 99), "PNG"),
        "png grey alpha": pillow(Image.fromarray(GREY_ALPHA, "LA"), "PNG"),
        "png palette": pillow(palette, "PNG"),
        "png palette transparent": pillow(palette, "PNG", transparency=3),
        "png rgb": pillow(colour, "PNG"),
        "png rgb one transparent colour": pillow(colour, "PNG", transparency=(4, 5, 252)),
        "png rgba": pillow(Image.fromarray(RGBA), "PNG"),
        "png grey 16 bit": pillow(Image.fromarray(RGBA16[..., 0].copy()), "PNG"),
        "png grey alpha 16 bit": vips(RGBA16[..., [1, 3]].copy(), "grey16", ".png", bitdepth=16),
        "png rgb 16 bit": vips(RGBA16[..., :3].copy(), "rgb16", ".png", bitdepth=16),
        "png rgba 16 bit": vips(RGBA16, "rgb16", ".png", bitdepth=16),
        "png sRGB profile": profiled("srgb", ".png"),
        "png P3 profile": profiled("p3", ".png"),
        "png broken profile": pillow(colour, "PNG", icc_profile=b"nonsense" * 40),
        "png turned": pillow(colour, "PNG", exif=turned(6)),
        "jpeg grey": pillow(grey, "JPEG", quality=95),
        "jpeg P3 profile": profiled("p3", ".jpg"),
        "jpeg cmyk, Adobe's": pillow(Image.fromarray(RGBA, "CMYK"), "JPEG", quality=95),
        "jpeg cmyk": vips(RGBA, "cmyk", ".jpg", Q=95),
        "jpeg cmyk profile": profiled("cmyk", ".jpg"),
        "webp": pillow(colour, "WEBP", lossless=True),
        "webp alpha": pillow(Image.fromarray(RGBA), "WEBP", lossless=True),
        "webp turned": pillow(colour, "WEBP", lossless=True, exif=turned(6)),
        "gif": pillow(palette, "GIF"),
        "bmp": pillow(colour, "BMP"),
        "bmp palette": pillow(palette, "BMP"),
        "avif": pillow(colour, "AVIF", quality=95),
        "avif turned": pillow(colour, "AVIF", quality=95, exif=turned(6)),
    }
    for orientation in range(1, 9):
        exif = turned(orientation)
        made[f"jpeg {orientation}"] = pillow(colour, "JPEG", quality=95, exif=exif)
    return made


FILES = files()

# Loose where the standard is: chroma upsampling of AVIF, gamut mapping of printing inks.
TOLERANCE = {"avif": 2.0, "avif turned": 2.0, "jpeg cmyk profile": 5.0}

# Where Pillow does not do what browsers do, the browser alone is the oracle.
NOT_PILLOWS = ("profile", "16 bit", "webp turned")


@pytest.mark.parametrize("name", [n for n in FILES if not any(p in n for p in NOT_PILLOWS)])
def test_shows_what_pillow_shows(name: str) -> None:
    with Image.open(io.BytesIO(FILES[name])) as image:
        image = ImageOps.exif_transpose(image)
        if image.has_transparency_data:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA"))
        expected = np.asarray(image.convert("RGB"), np.int16)
    pixels = decode(FILES[name])
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).mean() <= TOLERANCE.get(name, 1.0)


def test_shows_what_a_browser_shows() -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    script = """async (url) => {
        const image = new Image(); image.src = url; await image.decode();
        const canvas = document.createElement('canvas');
        canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
        const context = canvas.getContext('2d');
        context.fillStyle = 'white'; context.fillRect(0, 0, canvas.width, canvas.height);
        context.drawImage(image, 0, 0);
        const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
        return [canvas.height, canvas.width, Array.from(pixels.data)];
    }"""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        off = {}
        for name, data in FILES.items():
            url = "data:;base64," + base64.b64encode(data).decode()
            height, width, values = page.evaluate(script, url)
            shown = np.array(values, np.int16).reshape(height, width, 4)[..., :3]
            pixels = decode(data)
            difference = np.inf
            if pixels.shape == shown.shape:
                difference = np.abs(pixels - shown).mean()
            if difference > TOLERANCE.get(name, 1.0):
                off[name] = difference
        browser.close()
    assert not off


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "CMYK", "LA", "RGBA"])
def test_tiff_of_8_bits_is_taken_as_it_is(mode: str) -> None:
    pixels = {"LA": GREY_ALPHA, "RGBA": RGBA, "CMYK": RGBA, "L": GREY, "1": GREY > 99}
    image = Image.fromarray(RGB).quantize(16) if mode == "P" else None
    image = image or Image.fromarray(pixels.get(mode, RGB), mode)
    expected = image
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        expected = Image.alpha_composite(white, image.convert("RGBA"))
    difference = decode(pillow(image, "TIFF")) - np.asarray(expected.convert("RGB"), np.int16)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(
    "dtype", [np.uint16, np.int16, np.uint32, np.int32, np.float32, float, np.int64]
)
def test_tiff_of_more_bits_is_stretched(dtype: type) -> None:
    ramp = np.linspace(100, 3000, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(dtype)
    out = io.BytesIO()
    tifffile.imwrite(out, ramp, compression="zlib")
    pixels = decode(out.getvalue())
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert pixels.min() == 0 and pixels.max() == 255
    assert (np.diff(pixels[..., 0].ravel().astype(int)) >= 0).all()


def test_stretching_keeps_hues_and_ignores_a_few_hot_pixels() -> None:
    scene = np.full((200, 200, 3), 1000, np.uint16)
    scene[50:150, 50:150] = (3000, 2000, 1000)
    scene[0, :3] = 65535
    pixels = decode(vips(scene, "rgb16", ".tif"))
    assert tuple(pixels[100, 100]) == (255, 128, 0)


@pytest.mark.parametrize("value", [0.0, 7.5, np.nan])
def test_an_even_float_image_has_one_even_shade(value: float) -> None:
    even = np.full((HEIGHT, WIDTH), value, np.float32)
    pixels = decode(pyvips.Image.new_from_array(even).write_to_buffer(".tif"))
    assert len(np.unique(pixels)) == 1


def test_missing_values_do_not_spoil_the_stretch() -> None:
    ramp = np.linspace(0, 1, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
    ramp[0, :5] = np.nan, np.inf, -np.inf, np.nan, np.nan
    pixels = decode(pyvips.Image.new_from_array(ramp).write_to_buffer(".tif"))
    assert pixels[0, 0, 0] == 0 and pixels[0, 1, 0] == 255 and pixels[-1, -1, 0] == 255


def test_the_first_page_stands_for_all() -> None:
    first, second = Image.fromarray(GREY), Image.fromarray(255 - GREY)
    for format in ("TIFF", "GIF"):
        data = pillow(first, format, save_all=True, append_images=[second])
        np.testing.assert_allclose(decode(data)[..., 0], GREY, atol=1)


def png_of_size(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    content = b"IDAT" + zlib.compress(b"\0" * 1000)
    chunks = [header, content, b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks
    )


def bmp_of_size(width: int, height: int) -> bytes:
    data = bytearray(FILES["bmp"])
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


BAD = {
    "empty": (b"", "empty"),
    "text": (b"not an image at all", "not an image"),
    "html": (b"<!doctype html><title>Log in</title>", "not an image"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "not an image"),
    "a signature alone": (b"\x89PNG\r\n\x1a\n", "corrupt"),
    "a bitmap's signature alone": (b"BM", "corrupt"),
    "zero-sized": (png_of_size(0, 10), "corrupt"),
    "a decompression bomb": (png_of_size(100_000, 100_000), "100000 × 100000 pixels"),
    "a bitmap too large": (bmp_of_size(60_000, 60_000), "pixels"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_in_one_clear_line(name: str) -> None:
    data, reason = BAD[name]
    with pytest.raises(UnreadableImage, match=reason) as caught:
        decode(data, name="slide 7")
    assert str(caught.value).startswith("slide 7: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_a_tiff_cut_off_is_refused(dtype: type) -> None:
    out = io.BytesIO()
    tifffile.imwrite(out, np.random.default_rng(1).integers(0, 256, (256, 256)).astype(dtype))
    with pytest.raises(UnreadableImage, match="cut off or corrupt"):
        decode(out.getvalue()[:-20_000])


@pytest.mark.parametrize("compression", ["zstd", "lzma"])
def test_a_tiff_in_a_compression_that_libvips_may_lack(compression: str) -> None:
    out = io.BytesIO()
    tifffile.imwrite(out, RGB, photometric="rgb", compression=compression)
    np.testing.assert_array_equal(decode(out.getvalue()), RGB)
    cut = out.getvalue()[: len(out.getvalue()) * 9 // 10]
    with pytest.raises(UnreadableImage, match="cut off or corrupt"):
        decode(cut)


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("name", ["png rgb", "jpeg 1", "webp", "gif", "bmp", "avif"])
def test_a_file_cut_off_is_refused(name: str, share: float) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (256, 256, 3), np.uint8)
    format = name.split()[0].upper()
    data = pillow(Image.fromarray(noise), format)
    with pytest.raises(UnreadableImage, match="cut off or corrupt"):
        decode(data[: int(len(data) * share)])


@pytest.mark.parametrize("at", [0.3, 0.6])
def test_a_png_with_flipped_bits_is_refused(at: float) -> None:
    data = bytearray(FILES["png rgb"])
    data[int(len(data) * at)] ^= 0xFF
    with pytest.raises(UnreadableImage, match="corrupt"):
        decode(bytes(data))


def remarked() -> bytes:
    """With remarks of all kinds, as microscopes write them."""
    told = PngInfo()
    told.add_text("Operator", "somebody")
    told.add_itxt("Sample", "Wurzel")
    told.add(b"gAMA", struct.pack(">I", 100000))
    told.add(b"tIME", bytes(7))
    return pillow(Image.fromarray(RGB), "PNG", pnginfo=told, dpi=(300, 300))


@pytest.mark.parametrize("name", [*FILES, "png remarked"])
def test_a_plain_png_shows_the_same_or_is_not_made(name: str) -> None:
    data = FILES.get(name) or remarked()
    plain = strip_png(data)
    assert (plain is not None) == (name in ("png rgb", "png grey", "png remarked"))
    if plain is not None:
        np.testing.assert_array_equal(decode(plain), decode(data))
        assert b"somebody" not in plain and len(plain) <= len(data)
        assert strip_png(data[:-1]) is None
        flipped = bytearray(data)
        flipped[len(data) // 2] ^= 1
        assert strip_png(bytes(flipped)) is None


def test_an_orientation_within_a_text_is_no_remark() -> None:
    told = PngInfo()
    told.add_text("Raw profile type exif", "\nexif\n8\n4578696600000000")
    assert strip_png(pillow(Image.fromarray(RGB), "PNG", pnginfo=told)) is None


def test_paths_are_named_in_errors(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match=r"none\.png: there is no such file"):
        decode(tmp_path / "none.png")
    with pytest.raises(UnreadableImage, match="cannot be read"):
        decode(tmp_path)
    (tmp_path / "empty.png").touch()
    with pytest.raises(UnreadableImage, match=r"empty\.png: the file is empty"):
        decode(tmp_path / "empty.png")


def test_a_path_may_hold_what_libvips_takes_for_options(tmp_path: Path) -> None:
    path = tmp_path / "Zelle [page=3] ü.png"
    path.write_bytes(FILES["png rgb"])
    np.testing.assert_array_equal(decode(path), RGB)


@pytest.mark.filterwarnings("error")
def test_what_is_brighter_than_an_even_scan_is_white() -> None:
    pixels = np.array([[[100], [99], [65535]]], np.uint16)
    assert stretch_contrast(pixels, (100.0, 100.0))[0, :, 0].tolist() == [0, 0, 255]


def test_a_file_too_large_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # sparse: takes no room
    with pytest.raises(UnreadableImage, match="too large"):
        decode(path)


def test_many_threads_get_the_same_pixels() -> None:
    names = [name for name in FILES if "avif" not in name] * 4
    with ThreadPoolExecutor(8) as pool:
        for name, pixels in zip(names, pool.map(decode, map(FILES.get, names)), strict=True):
            np.testing.assert_array_equal(pixels, decode(FILES[name]))
