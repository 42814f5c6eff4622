"""Whisper and CLAP of random weights in transformers' own folders, so small that a test can run them."""

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapProcessor,
    GenerationConfig,
    RobertaTokenizer,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

END, START = "<|endoftext|>", "<|startoftranscript|>"
SPECIAL = (END, START, "<|en|>", "<|transcribe|>", "<|notimestamps|>")
LONGEST = 24
LETTERS = sorted(ByteLevel.alphabet())


def whisper(folder):
    """Write the folder; returns the ids of the tokens with which English transcription begins, and of the end."""
    tokenizer = WhisperTokenizer(vocab={c: i for i, c in enumerate(LETTERS)} | {END: len(LETTERS)}, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL[1:])})
    end, *begin = (tokenizer.convert_tokens_to_ids(token) for token in SPECIAL)
    ids = {"decoder_start_token_id": begin[0], "eos_token_id": end, "pad_token_id": end, "bos_token_id": end}
    layers = {f"{side}_{what}": n for side in ("encoder", "decoder") for what, n in (("layers", 1), ("ffn_dim", 16))}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    config = WhisperConfig(
        vocab_size=len(tokenizer), num_mel_bins=8, d_model=16, max_target_positions=LONGEST, init_std=1.0,
        **layers, **heads, **ids,
    )  # fmt: skip
    torch.manual_seed(0)
    net = WhisperForConditionalGeneration(config).eval()
    net.generation_config = GenerationConfig(
        is_multilingual=True,
        lang_to_id={"<|en|>": begin[1]},
        task_to_id={"transcribe": begin[2]},
        no_timestamps_token_id=begin[3],
        max_length=LONGEST,
        **ids,
    )
    net.save_pretrained(folder)
    WhisperProcessor(WhisperFeatureExtractor(feature_size=8), tokenizer).save_pretrained(folder)
    return begin, end


def clap(folder):
    """Write the folder, of the kind that does not fuse, as laion/clap-htsat-unfused."""
    names = ("<s>", "<pad>", "</s>", "<unk>", "<mask>", *LETTERS)
    tokenizer = RobertaTokenizer(vocab={name: i for i, name in enumerate(names)}, merges=[])
    audio = {"depths": [1, 1], "num_hidden_layers": 2, "num_attention_heads": [2, 2], "patch_embeds_hidden_size": 8}
    audio |= {"hidden_size": 16, "projection_dim": 8, "enable_fusion": False}
    text = {"vocab_size": len(names), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"intermediate_size": 16, "projection_dim": 8, "max_position_embeddings": 70}
    torch.manual_seed(0)
    ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=8)).eval().save_pretrained(folder)
    ClapProcessor(ClapFeatureExtractor(truncation="rand_trunc"), tokenizer).save_pretrained(folder)
