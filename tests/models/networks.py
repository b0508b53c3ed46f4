"""Small networks that do what makes tracing and cutting hard. Input: float32[N, 3, 16, 16]."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import nn


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.again = nn.Conv2d(8, 8, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(8, 5)

    def answer(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(x.mean((2, 3)))
        return y


class WritesWhatIsReadLater(Base):
    """Its activation overwrites a tensor that the shortcut reads after it, and the sum overwrites again."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        y = self.again(self.relu(x))
        x += y
        z = functional.relu_(self.again(x))
        return self.answer(self.relu(x.mul_(0.5)) + z + functional.leaky_relu(x, 0.1, True))


class OverwritesWhatOthersHaveRead(Base):
    """Its activation works in place on a tensor that another branch has read before."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        y = self.again(x)
        return self.answer(self.relu(x) + y)


class ActivatesAPiece(Base):
    """Its activation reads a view of a tensor that others read too."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        a, b = x.chunk(2, dim=1)
        pieces = torch.cat([functional.relu(a), functional.silu(b)], dim=1)
        return self.answer(self.again(pieces) + x)


class ActivatesByTorchsOwn(Base):
    """Its activations are `torch.relu` and its like: by name functional ones, and without their `inplace`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.answer(torch.relu(self.again(torch.selu(self.conv(x)))) + torch.celu(self.conv(x), 0.5))


@torch.fx.wrap
def silu(x: torch.Tensor, slope: float) -> torch.Tensor:
    return x * torch.sigmoid(slope * x)


class ActivatesByItsOwn(Base):
    """Its activation is a function of the user's that has a functional one's name, and other arguments."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.answer(silu(self.again(silu(self.conv(x), 1.5)), 0.5))


class SharesOneReLU(Base):
    """One module is called three times."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.norm(self.conv(x)))
        return self.answer(self.relu(self.again(x) + self.relu(x - 1)))


class OverwritesThroughAView(Base):
    """An in-place operator on a view changes the tensor behind it: no graph of values can say that."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        x.flatten(1).mul_(3)
        return self.answer(x)


class ReadsTheBatchSizeLate(Base):
    """The batch size and other sizes are read from an early tensor, and used far behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, _, h, w = x.shape
        x = self.relu(self.again(self.norm(self.conv(x))))
        x = x.view(n, 8, h * w).permute(2, 0, 1)
        tokens = self.token.expand(n, -1, -1).permute(1, 0, 2) * 2
        x = torch.cat([tokens, x], dim=0)
        offsets = torch.arange(x.size(0), device=x.device).view(-1, 1, 1) / 100
        x = (x + offsets).permute(1, 0, 2).reshape(n * (h * w + 1), 8)
        y: torch.Tensor = self.head(x).view(n, h * w + 1, 5).mean(1)
        return y


class TakesPieces(Base):
    """It chunks, splits, unbinds, and has operators that yield several tensors at once."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 4, bidirectional=True, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        a, b = x.chunk(2, dim=1)
        c = torch.split(self.relu(self.again(torch.cat([b, a], 1))), [2, 6], dim=1)
        first = torch.cat([c[1], c[0] * 2], 1)
        values, places = first.flatten(2).max(dim=2)
        sequence, (hidden, _) = self.lstm(values.unsqueeze(1) + places.unsqueeze(1) / 256)
        both: torch.Tensor = self.head(sequence[:, 0] + torch.cat(hidden.unbind(0), dim=1))
        return both


class GoesThroughComplexNumbers(Base):
    """A spectrum is complex, and complex tensors never cross."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        spectrum = torch.fft.rfft2(x)
        strength = spectrum.abs() - spectrum.abs().mean((2, 3), keepdim=True)
        gain = functional.relu(strength) - strength
        return self.answer(self.again(torch.fft.irfft2(spectrum * gain, s=(16, 16))))


class FlattensByView(Base):
    """The usual `view` before the linear layer, which a channels-last tensor refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(8 * 8 * 8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(self.relu(self.conv(x)), 2)
        y: torch.Tensor = self.wide(functional.dropout(x.view(-1, 8 * 8 * 8), training=self.training))
        return y


class MeasuresATensorOtherwiseUnused(Base):
    """A tensor is made, its shape is read, and it is dropped."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = functional.avg_pool2d(x, 4)
        x = functional.interpolate(self.conv(x), size=pooled.shape[2:])
        return self.answer(x)


class DecidesByValues(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.answer(self.conv(x) if x.sum() > 0 else self.conv(-x))


class ReturnsADictionary(Base):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"out": self.answer(self.conv(x))}


class ReturnsAnImage(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.conv(x)
        return y


class NeedsTwoInputs(Base):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.answer(self.conv(x + y))


class LooksUpWhatIsNotThere(Base):
    """Its shapes fit; that a table ends before the places that are looked up shows only with values."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = self.conv(x).mean((2, 3)).long() + 1000
        y: torch.Tensor = self.head(self.table(places).mean(1))
        return y


class CountsTheBatch(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.answer(functional.pad(self.conv(x), (0, x.shape[0] + 1)))
