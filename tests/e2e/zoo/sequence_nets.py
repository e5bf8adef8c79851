"""Nets over sequences: WaveNet, TCN, Conformer, CRNN, and a DETR-style encoder-decoder."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from case import BATCH, SEQUENCE, Case, Factory, image_case, make_case
from torch import nn

__all__ = ["SEQUENCE_NETS"]


class WaveNet(nn.Module):
    """Gated dilated causal convolutions with residual and skip paths (van den Oord et al. 2016)."""

    def __init__(self, width: int = 32, layers: int = 4) -> None:
        super().__init__()
        self.enter = nn.Conv1d(1, width, 1)
        self.filters = nn.ModuleList(nn.Conv1d(width, 2 * width, 2, dilation=2**i) for i in range(layers))
        self.residuals = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(layers))
        self.skips = nn.ModuleList(nn.Conv1d(width, 2 * width, 1) for _ in range(layers))
        self.leave = nn.Sequential(nn.ReLU(), nn.Conv1d(2 * width, width, 1), nn.ReLU(), nn.Conv1d(width, 16, 1))

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        x = self.enter(wave)
        total: torch.Tensor | None = None
        for i, (gated, residual, skip) in enumerate(zip(self.filters, self.residuals, self.skips, strict=True)):
            value, gate = gated(F.pad(x, (2**i, 0))).chunk(2, 1)
            out = torch.tanh(value) * torch.sigmoid(gate)
            total = skip(out) if total is None else total + skip(out)
            x = x + residual(out)
        return self.leave(total)


class Tcn(nn.Module):
    """Temporal convolutional net (Bai et al. 2018): causal by padding both ends and cutting one."""

    def __init__(self, widths: tuple[int, ...] = (24, 32, 48)) -> None:
        super().__init__()
        pairs = list(itertools.pairwise((8, *widths)))
        self.first = nn.ModuleList(self._causal(i, o, 2**n) for n, (i, o) in enumerate(pairs))
        self.second = nn.ModuleList(self._causal(o, o, 2**n) for n, (_, o) in enumerate(pairs))
        self.shortcuts = nn.ModuleList(nn.Conv1d(i, o, 1) for i, o in pairs)
        self.leave = nn.Linear(widths[-1], 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for n, (first, second, shortcut) in enumerate(zip(self.first, self.second, self.shortcuts, strict=True)):
            cut = 2 * 2**n
            out = F.relu(first(x)[:, :, :-cut])
            out = F.relu(second(out)[:, :, :-cut])
            x = F.relu(out + shortcut(x))
        return self.leave(x[:, :, -1])

    @staticmethod
    def _causal(inputs: int, outputs: int, dilation: int) -> nn.Conv1d:
        return nn.Conv1d(inputs, outputs, 3, padding=2 * dilation, dilation=dilation)


class ConformerBlock(nn.Module):
    """Half a feed-forward, self-attention, gated depthwise convolution, half a feed-forward (Gulati et al. 2020)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.after = self._feed_forward(width), self._feed_forward(width)
        self.attention_norm = nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.conv_norm = nn.LayerNorm(width)
        self.enter = nn.Conv1d(width, 2 * width, 1)
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.BatchNorm1d(width)
        self.leave = nn.Conv1d(width, width, 1)
        self.last = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + 0.5 * self.before(x)
        x = x + self._attention(self.attention_norm(x))
        y = F.glu(self.enter(self.conv_norm(x).transpose(1, 2)), 1)
        x = x + self.leave(F.silu(self.norm(self.depthwise(y)))).transpose(1, 2)
        return self.last(x + 0.5 * self.after(x))

    def _attention(self, x: torch.Tensor) -> torch.Tensor:
        batch, time, width = x.shape
        q, k, v = (
            part.view(batch, time, self.heads, width // self.heads).transpose(1, 2) for part in self.qkv(x).chunk(3, -1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).reshape(batch, time, width))

    @staticmethod
    def _feed_forward(width: int) -> nn.Sequential:
        return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width))


class Conformer(nn.Module):
    """An audio encoder on spectrograms [batch, time, 40]: two strided convolutions, two blocks."""

    def __init__(self, width: int = 48, heads: int = 4) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 24, 3, 2, 1), nn.Conv2d(24, 32, 3, 2, 1)
        self.project = nn.Linear(32 * 10, width)
        self.blocks = nn.ModuleList(ConformerBlock(width, heads) for _ in range(2))
        self.head = nn.Linear(width, 30)

    def forward(self, spectrum: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.second(F.relu(self.first(spectrum[:, None]))))
        x = self.project(x.transpose(1, 2).flatten(2))
        for block in self.blocks:
            x = block(x)
        return self.head(x).log_softmax(-1)


class Crnn(nn.Module):
    """Convolutions over a text line, then a bidirectional LSTM over its columns (Shi et al. 2015)."""

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 48, 3, padding=1),
            nn.BatchNorm2d(48),
            nn.ReLU(),
            nn.MaxPool2d((2, 1)),
            nn.Conv2d(48, 64, (4, 1)),
            nn.ReLU(),
        )
        self.recurrent = nn.LSTM(64, hidden, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(2 * hidden, 37)

    def forward(self, line: torch.Tensor) -> torch.Tensor:
        columns = self.body(line)[:, :, 0].transpose(1, 2)
        return self.head(self.recurrent(columns)[0])


class Detr(nn.Module):
    """Object queries that attend to a convolutional map (Carion et al. 2020)."""

    def __init__(self, width: int = 64, queries: int = 10, classes: int = 12) -> None:
        super().__init__()
        sizes = (3, 16, 32, 48)
        self.backbone = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(i, o, 3, 2, 1), nn.BatchNorm2d(o), nn.ReLU())
                for i, o in itertools.pairwise(sizes)
            )
        )
        self.project = nn.Conv2d(48, width, 1)
        self.positions = nn.Parameter(torch.randn(1, 64, width))
        self.queries = nn.Parameter(torch.randn(1, queries, width))
        self.transformer = nn.Transformer(width, 4, 2, 2, 2 * width, dropout=0.0, batch_first=True)
        self.classes, self.boxes = (
            nn.Linear(width, classes),
            nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4)),
        )

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        memory = self.project(self.backbone(image)).flatten(2).transpose(1, 2) + self.positions
        found = self.transformer(memory, self.queries.expand(image.shape[0], -1, -1))
        return self.classes(found), self.boxes(found).sigmoid()


def _wavenet() -> Case:
    return make_case(WaveNet(), (torch.randn(2, 1, 64),), {0: "batch", 2: "time"})


def _tcn() -> Case:
    return make_case(Tcn(), (torch.randn(2, 8, 64),), {0: "batch", 2: "time"})


def _conformer() -> Case:
    return make_case(Conformer(), (torch.randn(2, 64, 40),), SEQUENCE)


def _crnn() -> Case:
    return make_case(Crnn(), (torch.randn(2, 1, 16, 64),), BATCH)


def _detr() -> Case:
    return image_case(Detr(), 64, BATCH)


SEQUENCE_NETS: dict[str, Factory] = {
    "wavenet": _wavenet,
    "tcn": _tcn,
    "conformer": _conformer,
    "crnn_lstm": _crnn,
    "detr": _detr,
}
