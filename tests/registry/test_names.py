"""Names of registered models, tried with MLflow itself: what is allowed is found again, what is not is told at once."""

from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from deblur.errors import SettingError
from deblur.inference.locating import parse_model_uri
from deblur.registry.names import is_name
from deblur.training.existing import register_checkpoint
from deblur.training.registering import ship_record
from deblur.training.settings import TrainSettings

GOOD = ["deblur_v4", "a b", "a%b", "a%20b", "a&b=c+d;e,f", "Übung", "3", "latest", "-a", ".a", "a..b", "x" * 256]
REFUSED = ["", " ", ".", "..", "...", "..a", "a/b", "a:b"]
LOST = ["a@b", "a?b", "a\nb", "a\tb"]
UNSEEN = [" a", "a ", "a#b", "a\x00b", "a\u200bb", "x" * 257]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    folder = tmp_path_factory.mktemp("names")
    (folder / "model").mkdir()
    (folder / "model" / "model.json").write_text("{}")
    return MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


def found_again(client: MlflowClient, name: str, tmp_path: Path) -> bool:
    store = Path(client.tracking_uri.removeprefix("sqlite:///"))
    mlflow.set_tracking_uri(client.tracking_uri)
    try:
        client.create_registered_model(name)
        version = client.create_model_version(name, (store.parent / "model").as_uri()).version
        client.set_registered_model_alias(name, "champion", version)
        for end in (f"/{version}", "@champion"):
            mlflow.artifacts.download_artifacts(f"models:/{name}{end}/model.json", dst_path=str(tmp_path))
    except MlflowException:
        return False
    return parse_model_uri(f"models:/{name}@champion") == (name, "champion", "")


@pytest.mark.parametrize("name", GOOD + REFUSED + LOST)
def test_what_is_allowed_is_what_mlflow_finds_again(client: MlflowClient, name: str, tmp_path: Path) -> None:
    assert is_name(name) == found_again(client, name, tmp_path) == (name in GOOD)


@pytest.mark.parametrize("name", REFUSED + LOST + UNSEEN)
def test_a_name_that_is_not_allowed_is_told_before_any_work(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"registered_model_name is .* it must be 1 to 256 printable"):
        TrainSettings().but(registered_model_name=name).resolved()
    with pytest.raises(SettingError, match=r"name is .* it must be 1 to 256 printable"):
        register_checkpoint(tmp_path / "not looked for", name)
    (tmp_path / "run.json").write_text('{"settings": {}, "status": "FINISHED"}')
    with pytest.raises(SettingError, match=r"name is .* it must be 1 to 256 printable"):
        ship_record(tmp_path, name)
