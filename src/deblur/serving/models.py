"""The models that are served, by name: each in a store of its own, the first by default."""

from collections.abc import Mapping

from deblur.errors import RequestError
from deblur.serving.limits import told
from deblur.serving.model_store import ModelStore, Served

NAMELESS = ""


class Models:
    """Stores by name. A single store may have none; its model's own name is its name then.

    Args:
        stores: at least one; the first is taken where a request names none.
    """

    def __init__(self, stores: ModelStore | Mapping[str, ModelStore]) -> None:
        self.stores = {NAMELESS: stores} if isinstance(stores, ModelStore) else dict(stores)

    @property
    def default(self) -> ModelStore:
        """Of requests that name no model."""
        return next(iter(self.stores.values()))

    def named(self, name: str | None) -> Served:
        """The model of a name, opened where it is not yet.

        Raises:
            RequestError: no model has that name.
            ModelError: it cannot be opened.
        """
        if name is None:
            return self.default.serve()
        if name and name in self.stores:
            return self.stores[name].serve()
        if NAMELESS in self.stores and self.default.get().info.name == name:
            return self.default.serve()
        served = ", ".join(key or self.default.get().info.name for key in self.stores)
        raise RequestError(f"model is {told(name)}; served are {served}.")
