"""A discriminative RBM in PyTorch, its gradient written out: no graph of operations, updates in place."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class LabelledParameters(NamedTuple):
    """Machine with p(y | v) proportional to exp(d_y + sum_j softplus(c_j + U_yj + W_j v))."""

    W: np.ndarray
    c: np.ndarray
    U: np.ndarray
    d: np.ndarray


def fit(
    X: np.ndarray, y: np.ndarray, n_hidden: int, batch: int, rate: float, seed: int, threads: int
) -> LabelledParameters:
    """Pass once over shuffled rows of float32."""
    import torch

    torch.set_num_threads(threads)
    with torch.inference_mode():
        generator = torch.Generator().manual_seed(seed)
        rows, labels = torch.from_numpy(X), torch.from_numpy(y)
        n, n_classes = rows.shape[1], int(labels.max()) + 1
        W = torch.randn(n_hidden, n, generator=generator) * (2 / (n_hidden + n)) ** 0.5
        U = torch.randn(n_classes, n_hidden, generator=generator) * (2 / (n_hidden + n_classes)) ** 0.5
        c, d = torch.zeros(n_hidden), torch.zeros(n_classes)
        order = torch.randperm(len(rows), generator=generator)
        for first in range(0, len(rows), batch):
            at = order[first : first + batch]
            v, t = rows[at], labels[at]
            o = torch.addmm(c, v, W.T)[:, None] + U
            p = torch.softmax(torch.nn.functional.softplus(o).sum(2).add_(d), 1)
            residual = p.neg_()
            residual[torch.arange(len(t)), t] += 1
            residual *= rate / len(t)
            pulls = torch.sigmoid_(o).mul_(residual[:, :, None])
            of_hidden = pulls.sum(1)
            W.addmm_(of_hidden.T, v)
            c += of_hidden.sum(0)
            U += pulls.sum(0)
            d += residual.sum(0)
        return LabelledParameters(*(x.numpy() for x in (W, c, U, d)))
