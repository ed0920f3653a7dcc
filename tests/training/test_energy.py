"""Energy read from counters as Linux shows them."""

from pathlib import Path

import pytest
import torch

from deblur.training.energy import EnergyMeter

CPU = torch.device("cpu")


def zone(powercap: Path, folder: str, name: str, microjoules: int) -> Path:
    """A counter that begins again at 1000 J."""
    place = powercap / folder
    place.mkdir(parents=True)
    for file, value in (("name", name), ("energy_uj", microjoules), ("max_energy_range_uj", 10**9)):
        (place / file).write_text(f"{value}\n")
    return place / "energy_uj"


def test_packages_are_added_and_their_parts_are_not(tmp_path: Path) -> None:
    one, two = (zone(tmp_path, f"intel-rapl:{i}", f"package-{i}", 400_000_000) for i in (0, 1))
    others = [zone(tmp_path, "intel-rapl:0:0", "core", 0), zone(tmp_path, "intel-rapl:2", "psys", 0)]
    others.append(zone(tmp_path, "intel-rapl-mmio:0", "package-0", 0))
    meter = EnergyMeter(CPU, tmp_path)
    assert meter.joules() == 0
    for file in others:
        file.write_text("5000000")
    one.write_text("401500000\n")
    two.write_text("100000000\n")
    assert meter.joules() == pytest.approx(1.5 + 700), "the second began again at 0"
    assert meter.joules() == 0


def test_what_cannot_be_read_is_not_told(tmp_path: Path) -> None:
    assert EnergyMeter(CPU, tmp_path / "none").joules() is None
    zone(tmp_path, "intel-rapl:0", "package-0", 1).write_text("no number")
    assert EnergyMeter(CPU, tmp_path).joules() is None
    file = zone(tmp_path, "intel-rapl:1", "package-1", 1)
    meter = EnergyMeter(CPU, tmp_path)
    assert meter.joules() == 0
    file.unlink()
    assert meter.joules() is None
    assert meter.joules() is None
    zone(tmp_path, "intel-rapl:3", "package-3", 1)
    if not torch.cuda.is_available():
        assert EnergyMeter(torch.device("cuda"), tmp_path).joules() is None, "the processors alone would mislead"
