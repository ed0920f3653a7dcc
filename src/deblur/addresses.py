"""Addresses of trackers and registries: their secrets are for the server, and for nobody who reads a line of ours."""

import os
import re
from urllib.parse import unquote

ADDRESS = re.compile(r"\b[A-Za-z][\w+.-]*://\S*")
SECRET_SETTINGS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
ADDRESS_SETTINGS = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
LEAST_SECRET = 4
"""Characters; a shorter word is too likely to be one of the message's own."""


def shown(address: str) -> str:
    """An address as people, logs and records may see it: no user, no password, and nothing from ``?`` on."""
    scheme, found, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}" if found else address


def login_of(address: str) -> tuple[str, str, str]:
    """``http://user:password@host`` -> (``http://host``, user, password), both "" where it has none."""
    scheme, _, rest = address.partition("://")
    authority, slash, path = rest.partition("/")
    login, _, host = authority.rpartition("@")
    user, _, password = login.partition(":")
    return f"{scheme}://{host}{slash}{path}", unquote(user), unquote(password)


def without_secrets(text: str) -> str:
    """Words of other programs: addresses as :func:`shown` has them, and no password or token of this environment."""
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, "***")
    return ADDRESS.sub(lambda found: shown(found[0]), text)


def _secrets() -> set[str]:
    """What may stand in an error: passwords as given, decoded, and the pieces in which a parser may have cut them."""
    whole = [os.environ.get(name, "") for name in SECRET_SETTINGS]
    for name in ADDRESS_SETTINGS:
        login, _, _ = os.environ.get(name, "").partition("://")[2].rpartition("@")
        user, colon, password = login.partition(":")
        whole.append(password if colon else user)
    pieces = [piece for secret in whole for piece in (secret, unquote(secret), *re.split(r"[/?#@:\s]", secret))]
    return {piece for piece in pieces if len(piece) >= LEAST_SECRET}
