"""``python -m function_app``: the same API in a container, on port 8080 (infra/Dockerfile)."""

import logging
import os
import socket
import sys

from starlette.applications import Starlette

from deblur.errors import SettingError
from deblur.serving.api import create_app
from deblur.serving.server import server_of
from deblur.serving.standalone import NO_KEY, Standalone, checked_key
from function_app import stores

PORT, GRACE_S = 8080, 9
"""Docker ends what has not stopped after 10 s."""


def service() -> Starlette:
    """The app; ``DEBLUR_KEY`` and ``DEBLUR_HOOK_SECRET`` are as for 'deblur serve'.

    Raises:
        SettingError: a key that is none.
    """
    key = checked_key(os.environ.get("DEBLUR_KEY", ""), "DEBLUR_KEY")
    if not key:
        logging.getLogger("deblur.serving").warning(NO_KEY)
    return create_app(stores, standalone=Standalone(key, hook_secret=os.environ.get("DEBLUR_HOOK_SECRET", "")))


if __name__ == "__main__":
    try:
        app = service()
    except SettingError as error:
        sys.exit(str(error))
    with socket.create_server(("", PORT)) as listening:
        server_of(app, GRACE_S).run([listening])
