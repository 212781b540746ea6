"""Networks of timm (``timm:NAME``), taken apart into stem, macro blocks, tail and head.

| timm's class | macro blocks | block | routed by SpotTune |
| --- | --- | --- | --- |
| ResNet | its stages | branch, shortcut and activation apart | all |
| EfficientNet, MobileNetV3 | its stages | whole | those that begin below 1/8 of the image's side |
| ConvNeXt | its stages; the first block holds the reduction before it | whole | all |
| VisionTransformer | a quarter of its blocks each | whole | all |

A vision transformer has no stages. Quarters let "the last macro block" mean as much of it as of
the others. MobileNetV3's last stage is a single 1x1 convolution without shortcut, so it belongs to
the tail, as EfficientNet's ``conv_head`` does.

Layers keep timm's names inside stem, block and tail. Dropout and drop path are off: a method's
recipe says how to regularise, the same for all networks.
"""

import copy
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from decathlon.common.errors import UsageError, nearest
from decathlon.models.networks import Families, Family, Input
from decathlon.models.residual import Block, ResidualNetwork, WholeBlock
from decathlon.models.torchvision_resnet import POLICY, STEM_CHANNELS
from decathlon.suites.papers import WIGHTMAN_2019

try:
    import timm
    from timm.models import convnext, efficientnet, mobilenetv3, resnet, vision_transformer
    from timm.models._efficientnet_blocks import ConvBnAct
except ModuleNotFoundError as error:
    if error.name != "timm":
        raise
    raise ImportError("timm is not installed; pip install 'decathlon[timm]'") from None

NARROW = 0.25
"""Width of ResNet-10 as the policy network of networks with less than ResNet-50's computation."""

FINE = 8
"""SpotTune leaves stages to the source whose output has at least 1/8 of the image's side. In
EfficientNet-Lite0 these are the first three stages, blocks 0 to 4."""


@dataclass(frozen=True)
class Parts:
    """A network of timm in parts.

    Attributes:
        stem: All before the first block.
        macros: The macro blocks.
        tail: All between the last block and the classifier.
        head: The classifier.
        fixed_macros: Macro blocks that SpotTune leaves to the source.
        policy_width: Width of the ResNet-10 that decides for SpotTune.
    """

    stem: nn.Module
    macros: Sequence[Sequence[Block]]
    tail: nn.Module
    head: nn.Linear
    fixed_macros: int = 0
    policy_width: float = NARROW


def family(name: str) -> Family:
    """Returns a network of timm.

    Args:
        name: A name of ``timm.create_model``; after a dot, it may name published weights, which
            only select the images' normalisation.

    Raises:
        UsageError: There is no such network, or it is of a class that is not supported.
    """
    with torch.device("meta"):
        kind = type(_create(name, 1))
        if kind not in _SUPPORTED:
            known = ", ".join(one.__name__ for one in _SUPPORTED)
            raise UsageError(
                f"network 'timm:{name}' is a {kind.__name__} of timm; supported are {known}"
            )
        model = _undisturbed(name, 1)
        parts = _parts(name, model)
    blocks = tuple(map(len, parts.macros))
    config = model.pretrained_cfg
    whole = isinstance(model, vision_transformer.VisionTransformer)
    return Family(
        text=f"{name} of timm, of class {kind.__name__}",
        build=partial(_build, name),
        blocks=blocks,
        policy=POLICY,
        fixed_macros=parts.fixed_macros,
        policy_width=parts.policy_width,
        input=Input(
            side=config["input_size"][-1],
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
            fixed=whole and not model.dynamic_img_size,
        ),
        scalable=False,
        initialise=_drawn_by_timm,
        names=partial(_names, name),
    )


def _undisturbed(name: str, num_classes: int) -> Any:
    """Creates a network without dropout and drop path."""
    return _create(name, num_classes, drop_rate=0.0, drop_path_rate=0.0)


def _create(name: str, num_classes: int, **options: float) -> Any:
    """Creates a network of one of timm's classes, with timm's initial weights."""
    base = name.split(".", maxsplit=1)[0]
    if not timm.is_model(base) or name == f"{base}.":  # timm takes the dot for nothing
        raise UsageError(
            f"unknown network 'timm:{name}'{nearest(base, timm.list_models())}; timm"
            f" {timm.__version__} lists its names with timm.list_models()"
        )
    try:
        return timm.create_model(name, pretrained=False, num_classes=num_classes, **options)
    except Exception as error:  # timm's functions raise what they like
        raise UsageError(f"timm cannot build its network '{name}': {error}") from error


def _build(name: str, width: float, blocks: Sequence[int], num_classes: int) -> ResidualNetwork:
    """Builds a network of ours; width and blocks are those that it has."""
    return _network(_parts(name, _undisturbed(name, num_classes)))


def _network(parts: Parts) -> ResidualNetwork:
    head = parts.head
    network = ResidualNetwork(
        parts.stem, parts.macros, parts.tail, head.in_features, head.out_features
    )
    network.head = head
    return network


def _names(name: str) -> dict[str, str]:
    """Returns the names of tensors here by timm's: the same tensor stands under both."""
    with torch.device("meta"):
        model = _undisturbed(name, 1)
        theirs = model.state_dict(keep_vars=True)
        ours = _network(_parts(name, model)).state_dict(keep_vars=True)
    ours_of = {id(tensor): key for key, tensor in ours.items()}
    return {key: ours_of[id(tensor)] for key, tensor in theirs.items()}


def _parts(name: str, model: nn.Module) -> Parts:
    """Takes a network of timm apart."""
    parts: Parts = _SUPPORTED[type(model)](model)
    if not isinstance(parts.head, nn.Linear):
        raise UsageError(
            f"network 'timm:{name}' ends in a {type(parts.head).__name__}; supported are networks"
            " that end in one linear layer"
        )
    return parts


def _named(model: nn.Module, *names: str, **more: nn.Module) -> nn.Sequential:
    """Returns children of a network, one after the other, under their names."""
    children = {name: getattr(model, name) for name in names}
    return nn.Sequential(OrderedDict(more | children))


def _of_resnet(model: resnet.ResNet) -> Parts:
    stages = [model.layer1, model.layer2, model.layer3, model.layer4]
    bottlenecks = isinstance(model.layer1[0], resnet.Bottleneck)
    wide = bottlenecks and len(model.bn1.weight) >= STEM_CHANNELS  # it may be a GroupNorm
    return Parts(
        _named(model, "conv1", "bn1", "act1", "maxpool"),
        [[_residual(block) for block in stage] for stage in stages],
        _named(model, "global_pool"),
        model.fc,
        policy_width=1.0 if wide else NARROW,
    )


def _residual(block: nn.Module) -> Block:
    """Returns a block of a ResNet: all children up to the last activation are its branch."""
    children = dict(block.named_children())
    shortcut = children.pop("downsample", nn.Identity())
    last = max(name for name in children if name.startswith("act"))
    activation = children.pop(last)
    return Block(nn.Sequential(OrderedDict(children)), shortcut, activation)


def _of_efficientnet(model: efficientnet.EfficientNet) -> Parts:
    return Parts(
        _named(model, "conv_stem", "bn1"),
        [[WholeBlock(block) for block in stage] for stage in model.blocks],
        _named(model, "conv_head", "bn2", "global_pool"),
        model.classifier,
        fixed_macros=_fine_stages(model.feature_info),
    )


def _of_mobilenetv3(model: mobilenetv3.MobileNetV3) -> Parts:
    stages, last = list(model.blocks), {}
    if all(isinstance(block, ConvBnAct) for block in stages[-1]):
        last = {"last_stage": stages.pop()}
    return Parts(
        _named(model, "conv_stem", "bn1"),
        [[WholeBlock(block) for block in stage] for stage in stages],
        _named(model, "global_pool", "conv_head", "norm_head", "act2", "flatten", **last),
        model.classifier,
        fixed_macros=_fine_stages(model.feature_info),
    )


def _fine_stages(feature_info: Sequence[dict[str, int]]) -> int:
    """Returns how many stages end at 1/8 of the image's side or more."""
    return max((at["stage"] for at in feature_info if at["reduction"] <= FINE), default=0)


def _of_convnext(model: convnext.ConvNeXt) -> Parts:
    def blocks(stage: convnext.ConvNeXtStage) -> Iterator[nn.Module]:
        first, *others = stage.blocks
        if isinstance(stage.downsample, nn.Identity):
            yield first
        else:
            yield nn.Sequential(OrderedDict(downsample=stage.downsample, block=first))
        yield from others

    head = dict(model.head.named_children())
    classifier = head.pop("fc")
    return Parts(
        model.stem,
        [[WholeBlock(block) for block in blocks(stage)] for stage in model.stages],
        nn.Sequential(OrderedDict({"norm_pre": model.norm_pre} | head)),
        classifier,
    )


class Embedding(nn.Module):
    """What a vision transformer does before its blocks: patches, tokens and their positions."""

    def __init__(self, transformer: vision_transformer.VisionTransformer) -> None:
        """Takes over a transformer of which only this is left."""
        super().__init__()
        self.transformer = transformer

    def forward(self, images: Tensor) -> Tensor:
        """Maps N x 3 x H x W to N x tokens x channels."""
        tokens: Tensor = self.transformer.forward_features(images)
        return tokens


class Pooling(nn.Module):
    """What a vision transformer does after its blocks: normalisation and pooling of tokens."""

    def __init__(self, transformer: vision_transformer.VisionTransformer) -> None:
        """Takes over a transformer of which only this is left."""
        super().__init__()
        self.transformer = transformer

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps N x tokens x channels to N x channels."""
        normalised = self.transformer.norm(tokens)
        features: Tensor = self.transformer.forward_head(normalised, pre_logits=True)
        return features


def _of_transformer(model: vision_transformer.VisionTransformer) -> Parts:
    blocks, head = list(model.blocks), model.head
    model.blocks, model.head = nn.Sequential(), nn.Identity()
    # What is left is needed twice, each time with half of its layers.
    end = copy.deepcopy(model)
    end.norm, end.attn_pool, end.fc_norm = model.norm, model.attn_pool, model.fc_norm
    end.patch_embed, end.norm_pre = nn.Identity(), nn.Identity()
    end.cls_token = end.reg_token = end.pos_embed = None
    model.norm, model.attn_pool, model.fc_norm = nn.Identity(), None, nn.Identity()
    quarter = -(-len(blocks) // 4)
    return Parts(
        Embedding(model),
        [
            [WholeBlock(block) for block in blocks[start : start + quarter]]
            for start in range(0, len(blocks), quarter)
        ],
        Pooling(end),
        head,
    )


def _drawn_by_timm(network: nn.Module) -> None:
    """Leaves the weights alone: timm has drawn them."""


_SUPPORTED = {
    resnet.ResNet: _of_resnet,
    efficientnet.EfficientNet: _of_efficientnet,
    mobilenetv3.MobileNetV3: _of_mobilenetv3,
    vision_transformer.VisionTransformer: _of_transformer,
    convnext.ConvNeXt: _of_convnext,
}

TIMM = Families(
    text="ResNets, EfficientNets, MobileNets, VisionTransformers and ConvNeXts of timm",
    find=family,
    examples=(
        "resnet18",
        "resnet50",
        "mobilenetv3_small_050",
        "tf_efficientnet_lite0",
        "vit_tiny_patch16_224",
        "convnext_atto",
    ),
    bibtex=WIGHTMAN_2019,
)
