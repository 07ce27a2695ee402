"""The published evaluation of a PyTorch network, where PyTorch is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import syfr as sy
from syfr.errors import InputTypeError, UnsupportedLayerError
from syfr.importing.torch_import import import_module

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F = torch.nn.functional

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
    """The published network."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = torch.nn.Linear(784, 500)
        self.fc2 = torch.nn.Linear(500, 10)

    def forward(self, x: Any) -> Any:
        """784-500-10."""
        x = x.view(-1, 784)
        x = F.relu(self.fc1(x))
        return self.fc2(x)


class Images(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Convolutions, both poolings, normalisation and a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(2, 4, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(4)
        self.second = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.pool = torch.nn.MaxPool2d(2)
        self.last = torch.nn.Linear(4 * 2 * 2, 3)

    def forward(self, x: Any) -> Any:
        """From (2, 8, 8) to 3."""
        x = F.relu(self.norm(self.first(x)))
        x = self.pool(x + torch.sigmoid(self.second(x)))
        x = F.avg_pool2d(x, 2)
        return F.log_softmax(self.last(torch.flatten(x, 1)), dim=1)


def workers() -> list[sy.VirtualWorker]:
    """Alice, Bob and Carol."""
    return [sy.VirtualWorker(id=name) for name in ("alice", "bob", "carol")]


def test_the_published_network_is_evaluated_on_shares() -> None:
    hook = sy.TorchHook(torch)
    torch.manual_seed(1)
    alice, bob, carol = (sy.VirtualWorker(hook, id=name) for name in ("alice", "bob", "carol"))
    model, data = Net(), torch.rand(6, 1, 28, 28)
    target = model(data).argmax(dim=1).float()
    target[0] = (target[0] + 1) % 10
    private = model.fix_precision().share(alice, bob, crypto_provider=carol)
    images = data.fix_precision().share(alice, bob, crypto_provider=carol)
    labels = target.fix_precision().share(alice, bob, crypto_provider=carol)
    pred = private(images).argmax(dim=1)
    correct = pred.eq(labels.view_as(pred)).sum()
    assert (0 + correct).copy().get().float_precision().long().item() == 5


def test_a_network_of_images_gives_torchs_classes() -> None:
    sy.TorchHook(torch)
    torch.manual_seed(2)
    model, data = Images().eval(), torch.rand(5, 2, 8, 8)
    a, b, c = workers()
    output = model.fix_precision().share(a, b, crypto_provider=c)(data.fix_precision().share(a, b, crypto_provider=c))
    with torch.no_grad():
        plain = model(data).numpy()
    found = output.get()
    found = found - np.log(np.exp(found).sum(1, keepdims=True))
    assert np.abs(found - plain).max() < 0.02


def test_what_cannot_be_traced_is_refused() -> None:
    class Branching(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return x if x.sum() > 0 else -x

    with pytest.raises(UnsupportedLayerError, match="cannot be traced"):
        import_module(Branching(), (4,), (0.0, 1.0))
    with pytest.raises(UnsupportedLayerError, match="cosine"):
        import_module(torch.nn.CosineSimilarity(), (4,), (0.0, 1.0))
    with pytest.raises(InputTypeError, match="not a torch"):
        import_module(object(), (4,), (0.0, 1.0))
