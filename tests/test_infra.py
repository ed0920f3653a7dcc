"""What is deployed with: files that no test can deploy. Their names and numbers must at least agree."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.test_walls import pins

ROOT = Path(__file__).resolve().parents[1]
INFRA = ROOT / "infra"
BICEP = (INFRA / "main.bicep").read_text(encoding="utf-8")


def parameters() -> set[str]:
    return set(re.findall(r"^param (\w+) ", BICEP, re.MULTILINE))


def test_the_template_takes_what_the_guide_and_the_tool_give_it() -> None:
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    assert given.keys() <= parameters()
    required = set(re.findall(r"^param (\w+) \w+$", BICEP, re.MULTILINE))
    assert required <= given.keys()
    guide = (ROOT / "documentation" / "deployment.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", guide, re.MULTILINE)) == parameters()


def test_every_template_can_be_parsed() -> None:
    """No compiler runs here."""
    pycep = pytest.importorskip("pycep", reason="pycep-parser is not installed (dev.py installs it)")
    for file in INFRA.glob("**/*.bicep"):
        assert pycep.BicepParser().parse(text=file.read_text(encoding="utf-8"))["resources"]


def test_what_a_name_in_the_template_stands_for_is_there() -> None:
    declared = set(re.findall(r"^(?:param|var|resource) (\w+) ", BICEP, re.MULTILINE))
    used = set(re.findall(r"\b(\w+)\.(?:id|name|identity|properties)\b", BICEP))
    assert used <= declared
    assert "siteUpdateStrategy: { type: 'Recreate' }" in BICEP
    assert "allowSharedKeyAccess: false" in BICEP


def test_the_tool_finds_the_app_by_its_tag_and_the_folder_that_is_staged() -> None:
    project = yaml.safe_load((INFRA / "azure.yaml").read_text(encoding="utf-8"))
    (service,) = project["services"].items()
    assert f"'azd-service-name': '{service[0]}'" in BICEP
    assert (INFRA / service[1]["project"]).resolve() == ROOT / "build" / "azure"
    assert (INFRA / project["infra"]["path"] / f"{project['infra']['module']}.bicep").is_file()


def test_the_image_installs_the_server_that_is_tested() -> None:
    (pin,) = re.findall(r"uvicorn==\S+", (INFRA / "Dockerfile").read_text(encoding="utf-8"))
    assert pins(ROOT / "requirements.txt")["uvicorn"] == {pin}
