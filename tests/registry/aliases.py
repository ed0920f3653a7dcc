"""Which aliases a version has."""

from deblur.registry.tracking import connect


def aliases_of(name: str, version: str) -> list[str]:
    aliases = connect().get_registered_model(name).aliases
    return sorted(alias for alias, target in aliases.items() if str(target) == version)
