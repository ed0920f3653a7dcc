"""The models that are served, by name: each in a store of its own, the first by default."""

from collections.abc import Mapping

from deblur.errors import RequestError
from deblur.inference.model_folder import Model
from deblur.serving.limits import told
from deblur.serving.model_store import ModelStore

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

    def named(self, name: str | None) -> tuple[ModelStore, Model]:
        """The store of a name, and the model in it, which is opened where it is not yet.

        Raises:
            RequestError: no model has that name.
            ModelError: it cannot be opened.
        """
        store = self.default if name is None else self.stores.get(name) if name != NAMELESS else None
        if store is None and NAMELESS in self.stores and self.default.get().info.name == name:
            store = self.default
        if store is None:
            served = ", ".join(key or self.default.get().info.name for key in self.stores)
            raise RequestError(f"model is {told(str(name))}; served are {served}.")
        return store, store.get()
