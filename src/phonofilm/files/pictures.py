"""Single pictures as every viewer shows them, in formats by a list."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from phonofilm.errors import UserError
from phonofilm.files.plain import check_plain

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
READ = "PNG, JPEG, WebP, BMP, GIF, TIFF and PNM are read"
LARGEST = 50_000_000
"""Pixels of the largest picture that is decoded."""
DEEP = ("I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's names for 16 bit grey."""
REFUSED = {
    "F": "a picture of floating-point numbers",
    "I": "a picture with 32 bits a channel",
    "LAB": "a picture in Lab colours",
    "HSV": "a picture in HSV colours",
}
SIGNS = (  # place, bytes, what it is
    (0, b"%!PS", "EPS or PostScript"),
    (0, b"\xc5\xd0\xd3\xc6", "EPS"),
    (0, b"%PDF", "PDF"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\x00\x00\x01\x00", "icon"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL ", "JPEG XL"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"DDS ", "DDS"),
    (0, b"qoif", "QOI"),
    (0, b"SIMPLE  =", "FITS"),
    (0, b"\xd7\xcd\xc6\x9a", "WMF"),
    (0, b"\x0a\x05\x01", "PCX"),
    (0, b"FUJIFILM", "camera raw"),
    (0, b"icns", "icon"),
    (0, b"PF\n", "floating-point PNM"),
    (0, b"Pf\n", "floating-point PNM"),
    (0, b"II*\0", "a TIFF of another kind"),
    (0, b"MM\0*", "a TIFF of another kind"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "SVG or XML"),
)
BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"crx ": "camera raw"} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"
)


def read_image(path: str | os.PathLike[str]) -> UInt8[Tensor, "3 H W"]:
    """A picture as RGB, turned upright, what is transparent on white. Raises ``UserError`` for what is none."""
    path = Path(path)
    check_plain(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # sizes are checked below
            Image.init()  # else some of the formats are not there
            with Image.open(path, formats=FORMATS) as image:
                pixels = np.array(_in_rgb(path, image))
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(f"{path}: {_kind(path)}; {READ}") from error
    except Exception as error:  # noqa: BLE001  Pillow's readers raise whatever a damaged file leads them to
        raise UserError(f"{path}: cannot be read as a picture ({error}); {READ}") from error
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _in_rgb(path: Path, image: Image.Image) -> Image.Image:
    if image.width * image.height > LARGEST:
        raise UserError(f"{path}: {image.width} x {image.height} pixels; at most {LARGEST:,} are read: scale it down")
    upright = ImageOps.exif_transpose(image)
    if upright.mode in DEEP or (upright.mode == "I" and image.format in ("PNG", "PPM")):
        grey = np.asarray(upright).astype(np.float32) * (255 / 65535)
        return Image.fromarray(grey.round().astype(np.uint8)).convert("RGB")
    if upright.mode in REFUSED:
        raise UserError(f"{path}: {REFUSED[upright.mode]}; save it with 8 or 16 bits a channel, in RGB or grey")
    if not upright.has_transparency_data:
        return upright.convert("RGB")
    clear = upright.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")


def _kind(path: Path) -> str:
    """What a file is that Pillow does not read, by its first bytes."""
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        return "the file is empty"
    if head[4:8] == b"ftyp":
        brand = BRANDS.get(head[8:12], "")
        return f"a picture in {brand}, which is not read" if brand else "a video, not a picture"
    name = next((name for place, sign, name in SIGNS if head[place:].startswith(sign)), "")
    return f"{name}, which is not read" if name else "not a picture"
