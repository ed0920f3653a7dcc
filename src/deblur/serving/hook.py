"""MLflow's registry webhook: "something changed, ask at once". Believed only with a signature and a fresh time."""

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping

FRESH_S = 300


def is_signed(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether MLflow signed this delivery with ``secret`` in the last minutes.

    Its signature is ``v1,`` and the base64 of HMAC-SHA256 over ``ID.TIME.BODY``.
    """
    ident, stamp = headers.get("x-mlflow-delivery-id", ""), headers.get("x-mlflow-timestamp", "")
    digest = hmac.digest(secret.encode(), f"{ident}.{stamp}.".encode() + body, hashlib.sha256)
    expected = f"v1,{base64.b64encode(digest).decode('ascii')}"
    signed = hmac.compare_digest(headers.get("x-mlflow-signature", "").encode(), expected.encode())
    return signed and stamp.isdecimal() and abs(time.time() - int(stamp)) <= FRESH_S
