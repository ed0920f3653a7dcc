"""How far photos are, by an id that the client chose: for a page that shows a bar while it waits for its answer."""

import re
from collections import OrderedDict
from collections.abc import Callable

from deblur.errors import RequestError
from deblur.serving.limits import told

KEPT = 256
ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


class Progress:
    """(Tiles done, tiles in all) by id, of the last ``KEPT`` photos; (0, 0) until the first tile is done."""

    def __init__(self) -> None:
        self._photos: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def begin(self, ident: str) -> Callable[[int, int], None]:
        """Follow a photo; returns what is to be told (done, total) after each tile, from any thread.

        Raises:
            RequestError: ``ident`` is no id.
        """
        if not ID.fullmatch(ident):
            raise RequestError(f"progress is {told(ident)}; allowed are 8 to 64 letters, digits, - and _.")
        self._photos.pop(ident, None)
        self._photos[ident] = (0, 0)
        while len(self._photos) > KEPT:
            self._photos.popitem(last=False)

        def tell(done: int, total: int) -> None:
            if ident in self._photos:
                self._photos[ident] = (done, total)

        return tell

    def of(self, ident: str) -> tuple[int, int] | None:
        """How far the photo is; None where nobody knows of it."""
        return self._photos.get(ident)
