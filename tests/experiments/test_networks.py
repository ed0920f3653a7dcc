"""The table of networks: a row each, with what was counted and timed."""

import pytest

from experiments.networks import main


def test_a_row_for_each_network(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("openvino")
    main(("FastUNet",), rounds=1)
    assert "| FastUNet | 2,392,908 | 2.5 |" in capsys.readouterr().out
