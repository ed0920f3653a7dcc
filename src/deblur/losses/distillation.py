"""What only a teacher can be asked for: how it weighs colours, and its features."""

from torch import Tensor, nn
from torch.nn import functional

from deblur.data.batches import Batch


class Kl(nn.Module):
    """Kullback-Leibler divergence of two pictures, taken as if each pixel's three channels, through a softmax, were a
    distribution: how published systems write "output distillation", as classifiers are distilled (Hinton et al. 2015).

    A pixel is no distribution. Brightness added to all three channels changes nothing, and values in ``[0, 1]`` make
    every distribution nearly even: it sees colour alone, faintly. It needs a term of pixels beside it.
    """

    def forward(self, prediction: Tensor, batch: Batch) -> Tensor:
        """``(B, 3, H, W)`` float32 -> a scalar, mean over pixels."""
        own, wanted = (functional.log_softmax(pixels, dim=1) for pixels in (prediction, batch.sharp))
        return (wanted.exp() * (wanted - own)).sum(dim=1).mean()


class Features(nn.Module):
    """L1 of the teacher's features and the student's behind a 1x1 convolution, which is trained (Romero et al. 2015,
    "FitNets"). Of different sizes, the teacher's are resized.

    Args:
        channels: of the student's features, and of the teacher's.
    """

    def __init__(self, channels: tuple[int, int]) -> None:
        super().__init__()
        self.projection = nn.Conv2d(*channels, 1)

    def forward(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Of the batch's ``features``; the prediction has no say -> a scalar."""
        assert batch.features is not None, "the teacher's network was asked for its features"
        own, wanted = (part.float() for part in batch.features)
        if wanted.shape[-2:] != own.shape[-2:]:
            wanted = functional.interpolate(wanted, own.shape[-2:], mode="bilinear", align_corners=False)
        return (self.projection(own) - wanted).abs().mean()
