"""The page's files: whole, closed to everything but this service, and small."""

import re
from importlib import resources

import pytest
from starlette.testclient import TestClient

from deblur.errors import ModelError
from deblur.serving.api import create_app
from deblur.serving.model_store import ModelStore
from deblur.serving.page import FILES


def no_model() -> None:
    raise ModelError("There is none.")


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(create_app(ModelStore(no_model), with_post=False))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FILES)
def test_every_file_comes_with_its_type_and_a_strict_policy(client: TestClient, name: str) -> None:
    answer = client.get("/" if name == "index.html" else f"/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(FILES[name])
    policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    assert policy.pop("img-src") == "'self' blob: data:"
    own = {"script-src", "style-src", "connect-src"}
    assert policy == {rule: "'self'" if rule in own else "'none'" for rule in policy}
    assert policy.keys() == own | {"default-src", "base-uri", "form-action", "frame-ancestors"}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert client.post(f"/{name}").status_code in (404, 405)


def test_the_folder_has_what_is_served_and_nothing_else() -> None:
    files = {each.name for each in resources.files("deblur.serving.page").iterdir()}
    assert files - {"__init__.py", "__pycache__"} == set(FILES)


def test_nothing_is_written_for_the_policy_to_refuse(client: TestClient) -> None:
    page = client.get("/").text
    assert not re.search(r"\son\w+=|\sstyle=|<style|<script>", page)
    named = set(re.findall(r'(?:src|href)="(?!data:)([^"]+)"', page))
    assert named <= set(FILES)


def test_every_control_has_a_label(client: TestClient) -> None:
    page = client.get("/").text
    for control in re.findall(r"<(?:input|select|progress)[^>]*>", page):
        name = re.search(r'id="(\w+)"', control)
        assert name
        assert "aria-label=" in control or f'for="{name[1]}"' in page or " hidden" in control, control


def test_the_price_is_of_the_plan_that_is_documented(client: TestClient) -> None:
    price = "USD_PER_GB_SECOND = 0.000026, MEMORY_GB = 2, LEAST_SECONDS = 1"
    assert price in client.get("/page.js").text
