"""The table of networks: a row each, with what was counted and timed."""

import pytest

from experiments import networks


def test_a_row_for_each_network(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(networks, "FULL_HD", (270, 480))
    networks.main(("FastUNet",), rounds=1)
    heads, _, row = capsys.readouterr().out.splitlines()[-3:]
    assert row.startswith("| FastUNet | 2,392,908 | 2.5 |")
    for way in ("torch f32", "torch bf16", "onnxruntime f32", "openvino f32", "openvino bf16"):
        assert f"| {way} 256 |" in heads
        assert f"| {way} 1080p |" in heads
    assert row.count("|") == heads.count("|")
