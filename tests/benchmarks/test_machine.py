"""The machine's limit is a number that a machine can reach, and its description has what a reader needs."""

import torch

from deblur.benchmarks.machine import describe_machine, matmul_flops_per_s


def test_the_machine_is_described() -> None:
    assert {"processor", "cores", "threads", "python", "torch", "system"} <= describe_machine().keys()


def test_the_matrix_peak_is_a_rate() -> None:
    assert 1e8 < matmul_flops_per_s(torch.float32, side=256) < 1e14
