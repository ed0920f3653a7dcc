"""Kinds of image that are not read everywhere, told by their first bytes: what to do with them instead."""

from PIL import features

from deblur.errors import UnsupportedPhoto

BRANDS = {"RAW": {b"crx "}, "AVIF": {b"avif", b"avis"}, "HEIC": {b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1"}}
STARTS = {
    "JPEG XL": (b"\xff\x0a", b"\0\0\0\x0cJXL "),
    "JPEG 2000": (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "),
    "RAW": (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb"),
}
READ, READ_TOO = "JPEG, PNG, WebP, TIFF, BMP and GIF", "JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF and HEIC"
"""What is read everywhere, and where ``heif`` says so."""
RAW = "A camera's RAW file is not restored. Develop it to JPEG, PNG or TIFF first."


def heif_format(data: bytes, heif: bool) -> str | None:
    """Pillow's format for what is read only where ``heif`` says so: HEIF or AVIF. None: one of the usual formats.

    Raises:
        UnsupportedPhoto: another kind, or one that is not read here.
    """
    kind = kind_of(data)
    if not kind:
        return None
    if heif and kind == "AVIF" and features.check("avif"):
        return "AVIF"
    if heif and kind == "HEIC" and _reads_heic():
        return "HEIF"
    if kind == "RAW":
        raise UnsupportedPhoto(RAW)
    way_out = "Save it as JPEG, PNG, WebP or TIFF."
    if heif and kind == "HEIC":
        way_out = "Install what reads it (pip install pillow-heif), or save it as JPEG."
    raise UnsupportedPhoto(f"The image is {kind}, which is not read here. {way_out}")


def kind_of(data: bytes) -> str:
    """HEIC, AVIF, JPEG XL, JPEG 2000 or RAW; empty for all else."""
    if data[4:8] == b"ftyp":
        box = data[8 : min(int.from_bytes(data[:4]), 256)]
        brands = {box[at : at + 4] for at in range(0, len(box), 4)}
        return next((kind for kind, known in BRANDS.items() if brands & known), "")
    return next((kind for kind, starts in STARTS.items() if data.startswith(starts)), "")


def _reads_heic() -> bool:
    """Pillow reads HEIC once pillow-heif, where it is installed, has registered itself."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True
