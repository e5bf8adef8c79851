"""`OnnxPrune`, a pass for Olive (`pip install onnxprune[olive]`).

Olive finds passes in a package configuration, and one that is given takes the place of its own. So a file with Olive's
passes and this one is written first, and named in the call:

    python -m onnxprune.adapters.olive packages.json
    olive run --config workflow.json --package-config packages.json

and in workflow.json, under "passes":

    {"prune": {"type": "OnnxPrune", "flops": 0.4, "data": "train.npz", "options": {"epochs": 3}}}

The latency is measured, and a latency budget is met, on the execution provider of Olive's accelerator.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from olive.common.config_utils import ParamCategory
from olive.hardware.accelerator import AcceleratorSpec
from olive.model import ONNXModelHandler
from olive.model.utils import resolve_onnx_path
from olive.package_config import OlivePackageConfig
from olive.passes import Pass
from olive.passes.pass_config import BasePassConfig, PassConfigParam
from olive.search.search_parameter import Categorical

import onnxprune
from onnxprune.report.outputs import beside

__all__ = ["OnnxPrune", "main", "package_config"]

Budget = float | str
_PROVIDERS: Mapping[str, str] = {"CPUExecutionProvider": "cpu", "CUDAExecutionProvider": "cuda"}
_ANY = ["*"]


class OnnxPrune(Pass):
    """Prunes an ONNX model to a budget, retrains it from the original where data are given, and proves the result.

    A budget that is a list is searched by Olive, as any of its parameters. Errors are those of `onnxprune.compress`.
    """

    @staticmethod
    def is_accelerator_agnostic(accelerator_spec: AcceleratorSpec) -> bool:
        """Returns False: kept counts suit the provider, and latency is measured on it."""
        return False

    @classmethod
    def _default_config(cls, accelerator_spec: AcceleratorSpec) -> dict[str, PassConfigParam]:
        budgets = {
            "flops": "Bound on multiply-accumulates: a share (0.4, '40%') or a figure ('20M').",
            "params": "Bound on the number of parameters, likewise.",
            "size": "Bound on bytes of weights: a share or a figure ('800kB').",
            "memory": "Bound on bytes of activations alive at once: a share or a figure ('2MB').",
            "latency": "Bound on the time of a run in onnxruntime: a share or a figure ('4ms').",
        }
        files = {
            "recipe": "TOML file of options; what stands here overrides it.",
            "data": "Training data, as `onnxprune compress --data` takes them.",
            "eval_data": "Evaluation data, likewise.",
        }
        return {
            **{
                name: PassConfigParam(
                    type_=Budget, default_value=None, search_defaults=Categorical([0.7, 0.5, 0.3]), description=text
                )
                if name == "flops"
                else PassConfigParam(type_=Budget, default_value=None, description=text)
                for name, text in budgets.items()
            },
            **{
                name: PassConfigParam(type_=str, default_value=None, category=ParamCategory.PATH, description=text)
                for name, text in files.items()
            },
            "options": PassConfigParam(
                type_=dict[str, Any],
                default_value=None,
                description="Further options of `onnxprune compress`, named as in its recipes.",
            ),
        }

    def _run_for_config(
        self, model: ONNXModelHandler, config: type[BasePassConfig], output_model_path: str
    ) -> ONNXModelHandler:
        given = config.model_dump(exclude_none=True)
        further = given.pop("options", {})
        provider = _PROVIDERS.get(str(self.accelerator_spec.execution_provider), "cpu")
        out = Path(resolve_onnx_path(output_model_path, f"{Path(model.model_path).stem}.slim.onnx"))
        onnxprune.compress(model.model_path, out=out, **({"provider": provider} | further | given))
        reports = beside(out.with_name(f"{out.stem}.report.json"))
        return ONNXModelHandler(
            model_path=str(out.parent),
            onnx_file_name=out.name,
            model_attributes={"additional_files": [str(report) for report in reports if report.exists()]},
        )


def package_config() -> dict[str, Any]:
    """Returns Olive's package configuration with this pass in it, as JSON values."""
    config: dict[str, Any] = json.loads(Path(OlivePackageConfig.get_default_config_path()).read_text(encoding="utf-8"))
    config["passes"]["OnnxPrune"] = {
        "module_path": f"{__spec__.name if __spec__ is not None else __name__}.OnnxPrune",
        "supported_providers": _ANY,
        "supported_accelerators": _ANY,
        "supported_precisions": _ANY,
        "supported_algorithms": [],
        "supported_quantization_encodings": [],
    }
    return config


def main(words: list[str]) -> int:
    """Writes the package configuration to the file named, or to stdout; returns the exit code."""
    text = json.dumps(package_config(), indent=2) + "\n"
    if words:
        Path(words[0]).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
