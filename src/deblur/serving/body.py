"""From the body of a request to an image's bytes and the options beside them, never more than are allowed."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from deblur.errors import PhotoTooLarge, RequestError, SlowBody, UnsupportedPhoto
from deblur.images import EMPTY
from deblur.serving.limits import Limits, told
from deblur.serving.wish import OPTIONS

RAW_TYPES = ("application/octet-stream", "application/x-www-form-urlencoded", "")
"""Besides ``image/*``: what clients send with raw bytes (curl --data-binary says x-www-form-urlencoded)."""

PLAIN_CODINGS = {"Content-Encoding": ("identity",), "Content-Transfer-Encoding": ("7bit", "8bit", "binary")}
STANDARD_ALPHABET = str.maketrans("-_", "+/")
JSON_FORM = f'Send {{"image": "<base64 of the image>"}}, and beside it what you like of {", ".join(OPTIONS)}.'
CHARSETS = (b"utf-8", b"utf8", b"us-ascii", b"iso-8859-1")
"""Of a form. Its texts are decoded in the event loop by the codec of that name; Python's punycode is quadratic."""
MOST_FIELD_BYTES = 1000
"""Of a form's text: an option."""
MOST_JSON_PARTS = 100
"""Commas and brackets: base64 has none, so the JSON of a photo has few, and no other is worth parsing."""


@dataclass(frozen=True)
class Sent:
    """What a request's body holds: an image's bytes, and options beside it as (name, value) texts, unchecked.

    Raises:
        RequestError: the image is empty.
    """

    image: bytes
    options: list[tuple[str, str]] = field(default_factory=list)
    as_json: bool = False

    def __post_init__(self) -> None:
        if not self.image:
            raise RequestError(EMPTY)


async def read_body(request: Request, limits: Limits, room: Callable[[int], None] = lambda count: None) -> Sent:
    """The image of a request and what stands beside it; ``room`` is told the bytes that come, and may refuse them.

    Raises:
        RequestError, UnsupportedPhoto, PhotoTooLarge: the body is none of an image, or too large.
        SlowBody: it did not come in time.
    """
    _check_coding(request.headers)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        return await _form(request, limits, room)
    if media_type == "application/json":
        return await run_in_threadpool(_json, await body_within(request, limits, room))
    if not media_type.startswith("image/") and media_type not in RAW_TYPES:
        raise UnsupportedPhoto(
            f"Content-Type is {told(media_type)}; send image/*, application/octet-stream, multipart/form-data (field "
            'image) or application/json ({"image": base64}).'
        )
    return Sent(await body_within(request, limits, room))


def _check_coding(headers: Headers) -> None:
    """Of a request, or of a part of a form: bytes come as they are."""
    for name, plain in PLAIN_CODINGS.items():
        coding = ", ".join(headers.getlist(name)).strip()
        if coding and coding.lower() not in plain:
            raise UnsupportedPhoto(f"{name} is {told(coding)}; send the image as it is, without {name}.")


async def body_within(request: Request, limits: Limits, room: Callable[[int], None] = lambda count: None) -> bytes:
    """The body.

    Raises:
        PhotoTooLarge: as soon as it is too large.
        SlowBody: it did not come in time.
    """
    async with _in_time(limits):
        return b"".join([chunk async for chunk in _chunks_within(request, limits, room)])


@asynccontextmanager
async def _in_time(limits: Limits) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(limits.body_s):
            yield
    except TimeoutError as error:
        raise SlowBody(f"The body did not come within {limits.body_s:g} s. Send it again.") from error


async def _chunks_within(request: Request, limits: Limits, room: Callable[[int], None]) -> AsyncGenerator[bytes, None]:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limits.body_bytes:
        raise _too_large(limits)
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limits.body_bytes:
            raise _too_large(limits)
        room(len(chunk))
        yield chunk


async def _form(request: Request, limits: Limits, room: Callable[[int], None]) -> Sent:
    charset = parse_options_header(request.headers["content-type"])[1].get(b"charset", b"utf-8")
    if charset.lower() not in CHARSETS:
        raise RequestError(f"The form's charset is {told(charset.decode('latin-1'))}; send it as utf-8.")
    chunks = _chunks_within(request, limits, room)
    parser = MultiPartParser(request.headers, chunks, max_files=1, max_fields=10, max_part_size=MOST_FIELD_BYTES)
    parser.spool_max_size = limits.body_bytes  # nothing of a user's image on disk
    try:
        async with _in_time(limits):
            form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        raise RequestError(
            "The form cannot be read. Send one file in the field image, and each option in at most 1 kB."
        ) from error
    try:
        upload = form.get("image")
        if upload is None or isinstance(upload, str):
            raise RequestError("The form has no file field named image.")
        _check_coding(upload.headers)
        options = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
        if any(name == "image" for name, _ in options):
            raise RequestError("image is given more than once. Give it once.")
        return Sent(await upload.read(), options)
    finally:
        await form.close()


def _json(body: bytes) -> Sent:
    if sum(map(body.count, (b",", b"[", b"{"))) > MOST_JSON_PARTS:
        raise RequestError(f"The JSON holds more than a photo and its options. {JSON_FORM}")
    try:
        pairs = json.loads(body, object_pairs_hook=tuple)  # ((name, value), ...): a dict would hide what came twice
        if not isinstance(pairs, tuple):
            raise TypeError("no object")
        named = [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in pairs]
    except (ValueError, TypeError, RecursionError) as error:
        raise RequestError(f"The JSON cannot be read. {JSON_FORM}") from error
    images = [value for name, value in pairs if name == "image"]
    if len(images) > 1:
        raise RequestError("image is given more than once. Give it once.")
    if not images or not isinstance(images[0], str):
        raise RequestError(f"The JSON has no text named image. {JSON_FORM}")
    return Sent(_from_base64(images[0]), [pair for pair in named if pair[0] != "image"], as_json=True)


def _from_base64(text: str) -> bytes:
    """As clients write it: perhaps a data URL, with line breaks, in the alphabet of URLs, without padding."""
    if text[:5].lower() == "data:":
        kind, _, text = text.partition(",")
        if not kind.lower().endswith(";base64"):
            raise RequestError("The image is a data URL that is not base64; send data:image/jpeg;base64,...")
    text = "".join(text.split()).translate(STANDARD_ALPHABET).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise RequestError(f"The image in the JSON is not base64. {JSON_FORM}") from error


def _too_large(limits: Limits) -> PhotoTooLarge:
    return PhotoTooLarge(f"The body is larger than the {limits.body_mb:g} MB that are allowed.")
