"""From the body of a request to the bytes of an image, never more than are allowed."""

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncGenerator

from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from deblur.errors import PhotoTooLarge, RequestError, SlowBody, UnsupportedPhoto
from deblur.serving.limits import Limits

RAW_TYPES = ("application/octet-stream", "application/x-www-form-urlencoded", "")
"""Besides ``image/*``: what clients send with raw bytes (curl --data-binary says x-www-form-urlencoded)."""


async def image_of(request: Request, limits: Limits) -> tuple[bytes, bool]:
    """The image bytes of a request, and whether it asked in JSON.

    Raises:
        RequestError, UnsupportedPhoto, PhotoTooLarge: the body is none of an image, or too large.
        SlowBody: it did not come in time.
    """
    try:
        async with asyncio.timeout(limits.body_s):
            return await _read(request, limits)
    except TimeoutError as error:
        raise SlowBody(f"The body did not come within {limits.body_s:g} s. Send it again.") from error


async def _read(request: Request, limits: Limits) -> tuple[bytes, bool]:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        return await _multipart_image(request, limits), False
    is_json = media_type == "application/json"
    if not is_json and not media_type.startswith("image/") and media_type not in RAW_TYPES:
        raise UnsupportedPhoto(
            f"Content-Type is {media_type}; send image/*, application/octet-stream, multipart/form-data (field image) "
            'or application/json ({"image": base64}).'
        )
    body = await _body_within(request, limits)
    return (_json_image(body), True) if is_json else (body, False)


async def _body_within(request: Request, limits: Limits) -> bytes:
    """The body, refused as soon as it is too large."""
    return b"".join([chunk async for chunk in _chunks_within(request, limits)])


async def _chunks_within(request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limits.body_bytes:
        raise _too_large(limits)
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limits.body_bytes:
            raise _too_large(limits)
        yield chunk


async def _multipart_image(request: Request, limits: Limits) -> bytes:
    parser = MultiPartParser(request.headers, _chunks_within(request, limits), max_files=1, max_fields=10)
    parser.spool_max_size = limits.body_bytes  # nothing of a user's image on disk
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        raise RequestError("The form cannot be read. Send one file in the field image.") from error
    try:
        upload = form.get("image")
        if upload is None or isinstance(upload, str):
            raise RequestError("The form has no file field named image.")
        return await upload.read()
    finally:
        await form.close()


def _json_image(body: bytes) -> bytes:
    try:
        encoded = json.loads(body)["image"]
        return base64.b64decode(encoded, validate=True)
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise RequestError('The JSON must be {"image": "<base64 of the image>"}.') from error


def _too_large(limits: Limits) -> PhotoTooLarge:
    return PhotoTooLarge(f"The body is larger than the {limits.body_mb:g} MB that are allowed.")
