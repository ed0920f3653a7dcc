"""The rows of the ablations: each is a training that can begin, and differs from the one it is compared with."""

from pathlib import Path

import pytest

from experiments.ablations import ROWS, Row, settings_of

NAMED = {row.name: row for row in ROWS}
OWN = {"output_dir", "cache"}


def flat(row: Row) -> dict[str, object]:
    return settings_of(row, Path("data"), Path("out"), Path("teacher")).flat()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_can_begin_and_differs_from_another_in_little(row: Row) -> None:
    settings = flat(row)
    assert (settings["teacher"] is not None) == ("teacher:" in row.flags)
    if row.than:
        other = flat(NAMED[row.than])
        both = settings.keys() & other.keys()
        differs = {name for name in both - OWN if settings[name] != other[name]}
        assert differs
        assert len(differs) <= 3
        assert settings["epoch_images"] == other["epoch_images"]
        assert settings["seed"] == other["seed"]
