"""The picture of tiles in the documentation is of the tiles that are taken today."""

from pathlib import Path

from experiments.plan import drawing

DOCUMENTATION = Path(__file__).resolve().parents[2] / "documentation"


def test_the_documentation_shows_the_plan_of_today() -> None:
    picture = (DOCUMENTATION / "plan.svg").read_text(encoding="utf-8")
    assert picture == drawing(), "python -m experiments.plan documentation/plan.svg"
    assert "6 tiles of" in picture
