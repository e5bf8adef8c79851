"""Tiny Transformers of the `transformers` library, one configuration per family."""

from __future__ import annotations

from typing import Any

import torch
from case import BATCH, SEQUENCE, Case, Factory, make_case
from torch import nn

__all__ = ["LANGUAGE"]

VOCABULARY = 500
LLAMA_LIKE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "max_position_embeddings": 64,
    "use_cache": False,
}
BERT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
}

GPT2: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "n_embd": 64,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 64,
    "use_cache": False,
    "bos_token_id": 0,
    "eos_token_id": 0,
}


class Logits(nn.Module):
    """A model of tokens, reduced to its logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids=input_ids).logits


class MaskedLogits(nn.Module):
    """A model of tokens and which of them count, reduced to its logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits


class Translated(nn.Module):
    """An encoder-decoder, reduced to the logits of its decoder."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, decoder_input_ids: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids=input_ids, decoder_input_ids=decoder_input_ids, use_cache=False).logits


class Encoded(nn.Module):
    """An audio encoder, reduced to its last hidden state."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.model(features).last_hidden_state


def _family(
    config: str, model: str, options: dict[str, Any], attention: str | None = None, masked: bool = False
) -> Factory:
    def make() -> Case:
        import transformers

        made = getattr(transformers, config)(**options)
        if attention is not None:
            made._attn_implementation = attention
        net = getattr(transformers, model)(made)
        tokens = torch.randint(0, VOCABULARY, (2, 16))
        if masked:
            return make_case(MaskedLogits(net), (tokens, torch.ones_like(tokens)), SEQUENCE, SEQUENCE)
        return make_case(Logits(net), (tokens,), SEQUENCE)

    return make


def _t5() -> Case:
    from transformers import T5Config, T5ForConditionalGeneration

    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=VOCABULARY,
            d_model=64,
            d_kv=16,
            d_ff=128,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
            use_cache=False,
            decoder_start_token_id=0,
        )
    )
    inputs = (torch.randint(0, VOCABULARY, (2, 16)), torch.randint(0, VOCABULARY, (2, 12)))
    return make_case(Translated(model), inputs, SEQUENCE, {0: "batch", 1: "target"})


def _whisper_encoder() -> Case:
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config = WhisperConfig(
        d_model=64,
        encoder_layers=2,
        encoder_attention_heads=4,
        encoder_ffn_dim=128,
        num_mel_bins=20,
        max_source_positions=32,
    )
    return make_case(Encoded(WhisperEncoder(config)), (torch.randn(2, 20, 64),), BATCH)


LANGUAGE: dict[str, Factory] = {
    "bert_eager": _family("BertConfig", "BertForSequenceClassification", BERT, "eager"),
    "bert_sdpa": _family("BertConfig", "BertForSequenceClassification", BERT, "sdpa"),
    "distilbert": _family(
        "DistilBertConfig",
        "DistilBertForSequenceClassification",
        {"vocab_size": VOCABULARY, "dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128},
    ),
    "gpt2": _family("GPT2Config", "GPT2LMHeadModel", GPT2),
    "gpt2_masked": _family("GPT2Config", "GPT2LMHeadModel", GPT2, masked=True),
    "llama_gqa": _family("LlamaConfig", "LlamaForCausalLM", LLAMA_LIKE),
    "llama_gqa_masked": _family("LlamaConfig", "LlamaForCausalLM", LLAMA_LIKE, masked=True),
    "qwen2": _family("Qwen2Config", "Qwen2ForCausalLM", LLAMA_LIKE),
    "mistral": _family("MistralConfig", "MistralForCausalLM", LLAMA_LIKE | {"sliding_window": 8}),
    "t5": _t5,
    "whisper_encoder": _whisper_encoder,
}
