"""What a run was trained on, as the tracker's own client reads it back from a real store."""

import json
from pathlib import Path

from mlflow.entities import DatasetInput

from deblur.registry.record import FINISHED, SHIPPED_FILE, RunRecord
from deblur.registry.tracking import connect, ship


def dataset(name: str, digest: str, context: str) -> dict[str, object]:
    told = {"name": name, "source": f"/data/{name}", "digest": digest, "context": context}
    return told | {"images": 12, "licence": "CC0 (12)"}


def read_back(run_id: str) -> dict[str, DatasetInput]:
    """By context, each once."""
    inputs = connect().get_run(run_id).inputs.dataset_inputs
    found = {tag.value: each for each in inputs for tag in each.tags if tag.key == "mlflow.data.context"}
    assert len(found) == len(inputs)
    return found


def test_datasets_are_named_once_with_their_contexts(tmp_path: Path) -> None:
    record = RunRecord.begin(tmp_path, "run", {"seed": 0}, {"git_commit": "abc"})
    run_id = ship(record)
    assert read_back(run_id) == {}, "a record from before datasets were noted"
    contexts = ("training", "validation", "promotion")
    record.log_datasets([dataset("gopro", f"{number:016x}", context) for number, context in enumerate(contexts)])
    assert ship(record) == run_id
    found = read_back(run_id)
    assert found.keys() == set(contexts)
    training = found["training"].dataset
    assert (training.name, training.digest, training.source_type) == ("gopro", "0" * 16, "local")
    assert json.loads(training.source) == {"uri": "/data/gopro"}
    assert json.loads(training.profile) == {"images": 12, "licence": "CC0 (12)"}
    record.end(FINISHED)
    (tmp_path / SHIPPED_FILE).unlink()
    assert ship(record) == run_id
    assert read_back(run_id).keys() == set(contexts), "sent again, none is there twice"


def test_one_dataset_in_two_contexts_is_told_with_both(tmp_path: Path) -> None:
    record = RunRecord.begin(tmp_path, "run", {}, {"git_commit": "abc"})
    record.log_datasets([dataset("x" * 600, "leaves", context) for context in ("training", "validation")])
    (both,) = read_back(ship(record)).items()
    assert both[0] == "training, validation"
    assert both[1].dataset.name == "x" * 500
