"""Image classifiers, segmentation nets and detection heads of torchvision and timm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from case import BATCH, IMAGE, Case, Dims, Factory, image_case
from torch import nn
from torchvision_operators import LIBRARIES

__all__ = ["VISION"]

assert LIBRARIES is not None  # declared before torchvision is imported


class Selected(nn.Module):
    """A module whose outputs are put into a tuple by `select`."""

    def __init__(self, module: nn.Module, select: Callable[[Any], Any]) -> None:
        super().__init__()
        self.module = module
        self.select = select

    def forward(self, image: torch.Tensor) -> Any:
        return self.select(self.module(image))


class Detector(nn.Module):
    """A backbone that gives several maps, and a head that reads them; boxes are not decoded."""

    def __init__(self, backbone: nn.Module, head: nn.Module, with_maps: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.with_maps = with_maps

    def forward(self, image: torch.Tensor) -> Any:
        maps = list(self.backbone(image).values())
        found = self.head(maps)
        if isinstance(found, dict):
            return tuple(found.values())
        return (*(maps if self.with_maps else ()), *(tensor for group in found for tensor in group))


def _torchvision(name: str, size: int = 64, dynamic: Dims = BATCH, **options: Any) -> Factory:
    def make() -> Case:
        import torchvision

        return image_case(torchvision.models.get_model(name, weights=None, **options), size, dynamic)

    return make


def _timm(name: str, size: int = 64, dynamic: Dims = BATCH, **options: Any) -> Factory:
    def make() -> Case:
        import timm

        return image_case(timm.create_model(name, pretrained=False, **options), size, dynamic)

    return make


def _segmentation(name: str, dynamic: Dims) -> Factory:
    def make() -> Case:
        import torchvision

        net = torchvision.models.get_model(name, weights=None, weights_backbone=None)
        return image_case(Selected(net, lambda found: found["out"]), 64, dynamic)

    return make


def _ssdlite_head() -> Case:
    from torchvision.models import detection

    net = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    return image_case(Detector(net.backbone, net.head, with_maps=False), 160)


def _faster_rcnn_heads() -> Case:
    from torchvision.models import detection

    net = detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    return image_case(Detector(net.backbone, net.rpn.head, with_maps=True), 64)


def _vit_b_16() -> Case:
    # the widths of ViT-B/16, three of its twelve layers
    from torchvision.models import VisionTransformer

    return image_case(VisionTransformer(64, 16, num_layers=3, num_heads=12, hidden_dim=768, mlp_dim=3072))


def _maxvit() -> Case:
    from torchvision.models import MaxVit

    net = MaxVit(
        input_size=(64, 64),
        stem_channels=32,
        partition_size=2,
        block_channels=[32, 64, 128],
        block_layers=[1, 2, 1],
        head_dim=16,
        stochastic_depth_prob=0.0,
    )
    return image_case(net)


VISION: dict[str, Factory] = {
    "resnet18": _torchvision("resnet18", dynamic=IMAGE),
    "resnet50": _torchvision("resnet50"),
    "vgg16_bn": _torchvision("vgg16_bn", size=224),  # the old exporter pools adaptively to 7 x 7 only from a multiple
    "mobilenet_v2": _torchvision("mobilenet_v2", dynamic=IMAGE),
    "mobilenet_v3_large": _torchvision("mobilenet_v3_large"),
    "densenet121": _torchvision("densenet121"),
    "efficientnet_b0": _torchvision("efficientnet_b0"),
    "efficientnet_v2_s": _torchvision("efficientnet_v2_s"),
    "convnext_tiny": _torchvision("convnext_tiny"),
    "convnextv2_atto": _timm("convnextv2_atto"),
    "shufflenet_v2": _torchvision("shufflenet_v2_x1_0"),
    "googlenet": _torchvision("googlenet", aux_logits=False, init_weights=False),
    "inception_v3": _torchvision("inception_v3", size=96, aux_logits=False, init_weights=False),
    "regnet_y_400mf": _torchvision("regnet_y_400mf"),
    "regnet_x_400mf": _torchvision("regnet_x_400mf"),
    "resnext50": _torchvision("resnext50_32x4d"),
    "squeezenet1_1": _torchvision("squeezenet1_1"),
    "mnasnet": _torchvision("mnasnet1_0"),
    "fcn_resnet50": _segmentation("fcn_resnet50", IMAGE),
    "deeplabv3_mbv3": _segmentation("deeplabv3_mobilenet_v3_large", BATCH),
    "ssdlite_head": _ssdlite_head,
    "faster_rcnn_fpn_rpn": _faster_rcnn_heads,
    "swin_t": _torchvision("swin_t", size=112),
    "swin_v2_t": _torchvision("swin_v2_t"),
    "vit_b_16": _vit_b_16,
    "deit_tiny": _timm("deit_tiny_patch16_224", img_size=64, depth=4),
    "mixer_s32": _timm("mixer_s32_224", size=128, img_size=128),
    "maxvit": _maxvit,
    "mobilevit_xxs": _timm("mobilevit_xxs"),
    "efficientformer_l1": _timm("efficientformer_l1", size=224),
    "focalnet_tiny": _timm("focalnet_tiny_srf"),
    "poolformer_s12": _timm("poolformer_s12"),
    "repvgg_a0": _timm("repvgg_a0"),
    "ghostnet_100": _timm("ghostnet_100"),
    "hrnet_w18_small": _timm("hrnet_w18_small"),
}
