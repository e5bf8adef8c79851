"""A model that learns under masks: which samples it sees, what moves, what is put back."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from bridging import convnet
from pruning import Analysed, analysed

from onnxprune.bridge import to_torch
from onnxprune.core.errors import OnnxPruneError
from onnxprune.core.search import SearchOptions
from onnxprune.train import TrainOptions, open_data
from onnxprune.trial.gates import find_gates
from onnxprune.trial.search import search
from onnxprune.trial.supernet import Supernet, SupernetOptions

SAMPLES = 200


class Rows:
    """Sees which samples are fed."""

    def __init__(self, net: Supernet) -> None:
        self.fed: list[set[int]] = []
        for name in ("_learned", "_judged"):
            setattr(net, name, self._watched(getattr(net, name)))

    def _watched(self, batches):
        seen: set[int] = set()
        self.fed.append(seen)
        for fed in batches:
            seen.update(int(value) for value in fed.inputs["x"][:, 0, 0, 0])
            yield fed


def numbered(count: int = SAMPLES) -> np.ndarray:
    """Images whose first pixel is their number."""
    x = np.random.default_rng(0).standard_normal((count, 3, 8, 8)).astype(np.float32)
    x[:, 0, 0, 0] = np.arange(count)
    return x


@cache
def known() -> Analysed:
    """The net of all tests, which none of them changes."""
    return analysed(convnet())


def supernet(x: np.ndarray, *, epochs: float = 1.0, source=None, **train) -> Supernet:
    item = known()
    data = open_data({"x": x} if source is None else source, item.model.inputs(), outputs=item.model.outputs())
    gates = find_gates(item.model, item.analysis, {"x": x[:4]})
    options = SupernetOptions(TrainOptions(**{"batch_size": 16, "device": "cpu", **train}), epochs)
    return Supernet(to_torch(item.model), to_torch(item.model), gates, data, options)


def whole(net: Supernet) -> dict[str, torch.Tensor]:
    sizes = known().analysis.sizes
    return {name: torch.ones(sizes[name]) for name in net.groups}


def halves(net: Supernet) -> dict[str, torch.Tensor]:
    return {name: (torch.arange(len(mask)) % 2).float() for name, mask in whole(net).items()}


@pytest.mark.slow
def test_weights_and_masks_see_different_samples():
    net = supernet(numbered(), epochs=1.0)
    rows = Rows(net)
    with net:
        for _ in range(net.steps):
            net.learn(whole(net))
            net.loss(whole(net))
    learned, judged = rows.fed
    assert not learned & judged
    assert len(learned) == net.steps * 16
    assert len(judged) == SAMPLES // 10


def test_steps_are_passes_of_what_the_weights_see():
    assert supernet(numbered(), epochs=2.0).steps == round(2.0 * 180 / 16)
    assert supernet(numbered(), epochs=1e-6).steps == 1


def test_nothing_is_lost_when_all_channels_are_there():
    net = supernet(numbered())
    with net:
        assert float(net.loss(whole(net)).detach()) < 1e-3 * float(net.loss(halves(net)).detach())


def test_weights_learn_to_do_without():
    net = supernet(numbered() * 0.01, epochs=5.0, lr=0.02)
    with net:
        losses = [net.learn(halves(net)) for _ in range(net.steps)]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:5])


def test_the_loss_of_masks_moves_no_weight_and_has_their_gradient():
    net = supernet(numbered())
    before = {name: tensor.clone() for name, tensor in net._student.named_parameters()}
    masks = {name: mask.requires_grad_() for name, mask in halves(net).items()}
    with net:
        grads = torch.autograd.grad(net.loss(masks), list(masks.values()))
    assert all((grad != 0).any() for grad in grads)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net._student.named_parameters())


def test_rewinding_undoes_what_was_learned():
    net = supernet(numbered())
    with net:
        net.learn(whole(net))
        before, state = net.score(halves(net), 2), net.snapshot()
        for _ in range(3):
            net.learn(halves(net))
        assert net.score(halves(net), 2) != before
        net.rewind(state)
        assert net.score(halves(net), 2) == before


def test_the_same_seed_learns_the_same():
    found = []
    for _ in range(2):
        net = supernet(numbered())
        with net:
            found.append([net.learn(halves(net)) for _ in range(4)])
        assert not net._student.training
    assert found[0] == found[1]


def test_random_numbers_of_the_caller_stay_as_they_were():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    net = supernet(numbered())
    with net:
        net.learn(whole(net))
    assert torch.equal(torch.rand(1), expected)


def test_a_stream_gives_its_first_batches_to_the_masks():
    x = numbered()

    def batches():
        for start in range(0, SAMPLES, 16):
            yield {"x": x[start : start + 16]}

    net = supernet(x, source=batches, epochs=0.5)
    rows = Rows(net)
    with net:
        for _ in range(net.steps):
            net.learn(whole(net))
            net.loss(whole(net))
    learned, judged = rows.fed
    assert judged
    assert not learned & judged


def test_few_samples_fill_a_batch():
    net = supernet(numbered(12))
    with net:
        assert np.isfinite(net.learn(whole(net)))
        assert torch.isfinite(net.loss(whole(net)))


def test_divergence_is_said():
    net = supernet(numbered(), lr=1e12, grad_clip=0.0, epochs=5.0)

    def learn() -> None:
        for _ in range(net.steps):
            net.learn(halves(net))

    with net, pytest.raises(OnnxPruneError, match="diverged"):
        learn()


def test_a_search_on_a_model_keeps_what_its_outputs_need():
    net = supernet(numbered() * 0.01, epochs=2.0)
    sizes = known().analysis.sizes

    class Free:
        values = np.full(len(sizes), 0.9)

        def step(self, gradient, scale, rate):
            self.gradient = gradient

        def settle(self, scale):
            self.scale = scale

        def used(self):
            return {"flops": 1.0}

    ratios = Free()
    importances = {name: np.linspace(1, 2, size) for name, size in sizes.items()}
    with net:
        record = search(net, importances, ratios, SearchOptions())
    assert record.steps == net.steps
    assert ratios.gradient.shape == (len(sizes),)
    assert (ratios.gradient != 0).any()
