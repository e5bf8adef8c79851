"""prune_tiles: puts channels in the order that the plan's tiling gives them, and empties the tiles that go.

The weights keep their shapes, with zeros where tiles went, so that training can go on; `use_block_sparse`
packs them in the end. That another order of channels changes nothing is shown in onnxruntime, and
becomes part of the certificate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from onnxprune.core.certificate import Certificate
from onnxprune.core.plan import Plan
from onnxprune.core.stage import Bench, Pass
from onnxprune.core.tiling import Tiling
from onnxprune.graph import Model
from onnxprune.groups import FreeOrders, reordered
from onnxprune.passes.certify import check_rows, compared
from onnxprune.passes.plan_tiles import take_free_orders

__all__ = ["PruneTiles"]


@dataclass(frozen=True)
class PruneTiles(Pass):
    """Gives "tiling"; edits "slim", "working" and "certificate".

    Attributes:
        seed: Draws the inputs of the check.
    """

    seed: int = 0

    name = "prune_tiles"
    needs = ("working", "analysis", "plan", "slim", "feeds", "certificate")
    gives = ("tiling",)
    edits = ("slim", "working", "certificate")

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Orders and empties.

        Raises:
            CertificateError: when the model in another order gives something else.
        """
        slim, working = bench.take("slim", Model), bench.take("working", Model)
        tiling, certificate = bench.take("plan", Plan).tiling, bench.take("certificate", Certificate)
        orders = {name: np.array(order, dtype=np.int64) for name, order in tiling.orders.items()}
        # an earlier phase has ordered the weights that this one was cut from
        if orders and bench.find("tiling", Tiling) is None:
            # what `plan_tiles` found, unless the plan was read from a file
            view = bench.find("free_orders", FreeOrders) or take_free_orders(bench)
            moved = reordered(slim, view.analysis, view.lowered(orders), view.counts)
            rows = compared("slim model = the same in the order of its tiles", slim, moved, bench, self.seed)
            check_rows(rows, certificate.tolerance)
            certificate = replace(certificate, rows=(*certificate.rows, *rows))
            slim, working = moved, reordered(working, view.analysis, orders)
        emptied = slim.copy()
        for name, mask in tiling.masks().items():
            values = slim.read(name)
            emptied.replace(name, np.where(mask, values, values.dtype.type(0)))
        return {"tiling": tiling, "slim": emptied, "working": working, "certificate": certificate}
