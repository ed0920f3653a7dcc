"""The model card: it says what is recorded, and no more."""

from dataclasses import replace

from deblur.evaluation.card import card
from deblur.inference.locating import bundled_model
from deblur.inference.model_folder import CARD_FILE, read_info


def test_the_bundled_card_is_what_its_record_says() -> None:
    folder = bundled_model()
    assert folder
    assert (folder / CARD_FILE).read_text(encoding="utf-8") == card(read_info(folder))


def test_a_reach_without_end_is_said_in_a_sentence() -> None:
    folder = bundled_model()
    assert folder
    info = read_info(folder)
    assert "depends on what lies up to 136 px away." in card(info)
    assert "depends on what lies in its tile." in card(replace(info, reach_px=None))


def test_to_look_for_harms_and_find_none_is_not_to_look() -> None:
    folder = bundled_model()
    assert folder
    info = replace(read_info(folder), reported=None)
    assert "Nobody has looked for any." in card(info)
    machine = {"processor": "one", "cores": 2}
    looked = replace(info, reported={"machine": machine, "ssim": "rgb", "sets": [], "summaries": []})
    assert "None was found on these sets." in card(looked)
    assert "Nobody" not in card(looked)


def test_pairs_have_no_severity_of_synthetic_blur() -> None:
    folder = bundled_model()
    assert folder
    info = read_info(folder)
    assert info.trained
    for sources, synthetic in ((["gopro"], False), (["gopro", "photos:holiday=2"], True), (["leaves"], True)):
        settings = info.trained["settings"] | {"train_data": sources}
        told = card(replace(info, trained=info.trained | {"settings": settings}))
        assert ("severity of synthetic blur" in told) == synthetic
