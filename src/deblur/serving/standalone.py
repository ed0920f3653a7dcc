"""What a server of one's own needs and a function app leaves to its host: a key, whose pages may call, and the rest."""

import hmac
import re
from dataclasses import dataclass

from starlette.requests import Request

from deblur.errors import SettingError

KEY = re.compile(r"[!-~]{16,}")
NO_KEY = "No key is set and the service can be reached from elsewhere, so anybody may send photos. Set DEBLUR_KEY."


def checked_key(text: str, where: str) -> str:
    """A key as ``where`` has it, without the line break of a file; where there is no text at all: none.

    Raises:
        SettingError: it is short or blank, or holds what no header can.
    """
    key = text.strip()
    if text and not KEY.fullmatch(key):
        raise SettingError(
            f"The key in {where} must be 16 or more letters, digits and signs without spaces; 'python -c \"import "
            "secrets; print(secrets.token_urlsafe())\"' makes one."
        )
    return key


@dataclass(frozen=True)
class Standalone:
    """Settings of an app that is its own host.

    Args:
        key: that photos and metrics need, as ``Authorization: Bearer KEY`` (or ``x-functions-key``, as on Azure);
            empty: none.
        origins: of pages elsewhere that may call the API from a browser (CORS).
        hook_secret: that the registry signs its webhook with; empty: no webhook.
    """

    key: str = ""
    origins: tuple[str, ...] = ()
    hook_secret: str = ""

    def admits(self, request: Request) -> bool:
        """Whether the request has the key, or none is needed; compared in constant time."""
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        given = bearer.strip() if scheme.lower() == "bearer" else request.headers.get("x-functions-key", "")
        return not self.key or hmac.compare_digest(given.encode(), self.key.encode())
