"""Which model: what was asked for must be had; where a registry fails to give another, the next is taken and told."""

from pathlib import Path

import pytest

from deblur.errors import ModelError
from deblur.inference.locating import bundled_model, locate_model


def down(uri: str) -> Path:
    raise ModelError(f"{uri} is not to be had.")


def test_where_a_registry_fails_the_next_model_is_taken_and_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DEBLUR_MODEL", "models:/set@champion")
    assert locate_model(None, down, lambda: str(tmp_path)) == tmp_path
    assert caplog.messages == [f"models:/set@champion is not to be had. Going on with {tmp_path}."]
    caplog.clear()
    assert locate_model(None, down, lambda: "models:/own@champion") == bundled_model()
    assert len(caplog.messages) == 1
    monkeypatch.setattr("deblur.inference.locating.bundled_model", lambda: None)
    with pytest.raises(ModelError, match=r"models:/set@champion is not to be had"):
        locate_model(None, down)


def test_a_model_that_was_asked_for_by_name_is_that_one_or_an_error() -> None:
    with pytest.raises(ModelError, match=r"models:/asked@champion is not to be had"):
        locate_model("models:/asked@champion", down, lambda: "models:/own@champion")


def test_the_model_of_the_package_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert locate_model("bundled", down) == bundled_model()
    monkeypatch.setattr("deblur.inference.locating.bundled_model", lambda: None)
    with pytest.raises(ModelError, match="No model comes with this installation"):
        locate_model("bundled", down)
