"""What a teacher is asked for beside its picture: how it weighs colours, and its features."""

from torch import Tensor, nn
from torch.nn import functional


def kl(prediction: Tensor, wanted: Tensor) -> Tensor:
    """Kullback-Leibler divergence of two pictures, each pixel's channels taken through a softmax as a distribution:
    "output distillation" as published systems write it, as classifiers are distilled (Hinton et al. 2015).

    A pixel is no distribution. Brightness that is added to all channels changes nothing, and values in ``[0, 1]`` make
    every distribution nearly even: it sees colour alone, faintly, and needs a term of pixels beside it.
    """
    own, other = (functional.log_softmax(pixels, dim=1) for pixels in (prediction, wanted))
    return (other.exp() * (other - own)).sum(dim=1).mean()


class Features(nn.Module):
    """L1 of a teacher's features and a student's behind a 1x1 convolution, which is trained (Romero et al. 2015,
    "FitNets"). ``channels``: of the student's and of the teacher's."""

    def __init__(self, channels: tuple[int, int]) -> None:
        super().__init__()
        self.projection = nn.Conv2d(*channels, 1)

    def forward(self, own: Tensor, wanted: Tensor) -> Tensor:
        """The student's ``(B, C, h, w)`` and the teacher's, which is resized to ``(h, w)`` -> a scalar."""
        own, wanted = own.float(), wanted.float()
        if wanted.shape[-2:] != own.shape[-2:]:
            wanted = functional.interpolate(wanted, own.shape[-2:], mode="bilinear", align_corners=False)
        return (self.projection(own) - wanted).abs().mean()
