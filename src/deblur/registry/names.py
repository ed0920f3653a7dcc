"""Names of registered models: what MLflow stores and finds again, tried with MLflow 3.17 on sqlite and over HTTP.

It stores names with ``@ ? #`` or a line break, and reads another name out of ``models:/NAME/3`` later. Its SQL stores
have columns of 256 characters. A space at an end would work, but nobody sees it.
"""

from deblur.errors import SettingError

LONGEST_NAME = 256
ALLOWED_NAME = (
    f"1 to {LONGEST_NAME} printable characters without / : @ ? #, without a space at an end, and not '.' or with '..' "
    "at its beginning"
)


def is_name(name: str) -> bool:
    """Whether MLflow stores a model under ``name`` and finds it again."""
    return (
        1 <= len(name) <= LONGEST_NAME
        and name.isprintable()
        and not set("/:@?#") & set(name)
        and name == name.strip()
        and name != "."
        and not name.startswith("..")
    )


def check_name(name: str) -> None:
    """Refuse a name before work is spent on what is to be registered under it.

    Raises:
        SettingError: MLflow does not take it, or does not find it again.
    """
    if not is_name(name):
        raise SettingError(f"name is {name!r}; it must be {ALLOWED_NAME}.")
