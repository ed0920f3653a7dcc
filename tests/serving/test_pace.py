"""What may be promised by this machine's pace, and what is refused before any work."""

import asyncio
import re
import time

import pytest
from starlette.requests import Request

from deblur.errors import PhotoError, PhotoTooLarge, ServiceBusy
from deblur.images import megapixels
from deblur.serving.pace import Pace, Promised
from deblur.serving.problems import problem_of
from tests.hostile import all_hostile


def test_the_seconds_of_small_photos_say_nothing_of_large_ones() -> None:
    pace = Pace()
    assert pace.seconds(40) == 0
    pace.note(0.01, 0.1)
    assert pace.seconds_per_megapixel == pytest.approx(10)
    assert pace.seconds(40) == 0
    pace.note(2, 1)
    for _ in range(100):
        pace.note(0.01, 0.1)
    assert pace.seconds(40) == pytest.approx(20)
    for _ in range(50):
        pace.note(2, 4)
    assert pace.seconds(40) == pytest.approx(80, rel=0.01)


def test_a_photo_is_taken_where_it_is_answered_in_time() -> None:
    pace, promised = Pace(), Promised(answer_s=100)
    pace.note(1, 10)
    with pytest.raises(PhotoTooLarge, match=r"about 110 s.* within 100 s. Send at most 10.0 megapixels"):
        promised.photo(11, pace).__enter__()
    with promised.photo(4, pace), promised.photo(4, pace):
        with pytest.raises(ServiceBusy, match=r"already take about 80 s.* Try again in 20 s\.") as busy:
            promised.photo(4, pace).__enter__()
        assert asyncio.run(problem_of(Request({"type": "http"}), busy.value)).headers["retry-after"] == "20"
        with promised.photo(2, pace):
            pass
    with promised.photo(9, pace):
        pass


def test_photos_in_work_share_the_machine_and_those_who_wait_do_not() -> None:
    pace, promised = Pace(), Promised(answer_s=100, slots=2)
    assert promised.sharing == 1
    with promised.photo(1, pace):
        assert promised.sharing == 1
        with promised.photo(1, pace), promised.photo(1, pace):
            assert promised.sharing == 2
    assert promised.sharing == 1


def test_bombs_are_refused_by_their_header_in_20_ms() -> None:
    """The fastest of three: the machine may do something else."""
    told = re.compile(r"scans|pixel|200 .* MB$|50,000 tEXt")
    bombs = [each for each in all_hostile() if not each.size_px and told.search(each.name)]
    assert len(bombs) > 10
    for bomb in bombs:
        took = []
        for _ in range(3):
            started = time.perf_counter()
            try:
                megapixels(bomb.data)
            except PhotoError:
                took.append(time.perf_counter() - started)
        assert min(took, default=9) < 0.02, bomb.name
