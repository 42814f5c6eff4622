"""Prompts to conditions."""

import pytest
import torch

from phonofilm.encoders import features, text
from phonofilm.encoders.features import FeatureEncoder
from phonofilm.encoders.trained_speaker import TrainedSpeaker
from phonofilm.errors import UserError
from phonofilm.types import Audio, Prompt

pytestmark = pytest.mark.quick

PROMPT = Prompt(scene="A woman,  red hair", sound="a high voice", speech=(("left", "Hi."), ("right", "Bye.")))


def test_bytes_end_with_the_end():
    tokens = text.ByteEncoder(text.scene)([PROMPT, Prompt(scene="hi")])
    assert tokens.x.shape == tokens.mask.shape == (2, len("a woman, red hair") + 1)
    assert tokens.x[1, :3].tolist() == [ord("h") + 2, ord("i") + 2, text.END]
    assert tokens.mask.sum(dim=1).tolist() == [18, 3]
    assert bytes(int(i) - 2 for i in tokens.x[0, :-1]).decode() == "a woman, red hair"


def test_an_empty_text_is_the_end_alone():
    tokens = text.ByteEncoder(text.nothing)([PROMPT])
    assert tokens.x.tolist() == [[text.END]]


def test_speakers_are_named_when_there_are_names():
    assert text.speech(PROMPT) == "left: Hi.; right: Bye."
    assert text.speech(Prompt(speech=(("", "set white"),))) == "set white"


def test_letters_that_no_model_read_are_refused():
    with pytest.raises(ValueError, match="plain English letters"):
        text.ByteEncoder(text.speech)([Prompt(speech=(("", "grüße"),))])


def test_t5_features_and_their_mask(tmp_path):
    """A tiny T5 with random weights through the same loader as the published one."""
    from transformers import ByT5Tokenizer, T5Config, T5EncoderModel

    config = T5Config(vocab_size=384, d_model=16, d_ff=16, d_kv=8, num_layers=1, num_heads=2)
    T5EncoderModel(config).save_pretrained(tmp_path)
    ByT5Tokenizer().save_pretrained(tmp_path)
    tokens = FeatureEncoder(str(tmp_path), text.render)([PROMPT, Prompt()])
    assert tokens.x.shape[-1] == 16
    assert tokens.mask.sum(dim=1)[0] > tokens.mask.sum(dim=1)[1]
    assert not tokens.x.requires_grad
    with pytest.raises(ValueError, match="shorten"):
        FeatureEncoder(str(tmp_path), text.render, length=4)([PROMPT])
    assert torch.equal(tokens.x, FeatureEncoder(str(tmp_path), text.render)([PROMPT, Prompt()]).x)


def test_a_text_encoder_that_is_not_whole_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file
    from transformers import ByT5Tokenizer, UMT5Config, UMT5EncoderModel

    config = UMT5Config(vocab_size=384, d_model=16, d_ff=16, d_kv=8, num_layers=1, num_heads=2)
    UMT5EncoderModel(config).bfloat16().save_pretrained(tmp_path / "text_encoder")
    ByT5Tokenizer().save_pretrained(tmp_path / "tokenizer")
    encoder = FeatureEncoder("google/umt5-xxl", text.scene).at(tmp_path)
    path = tmp_path / "text_encoder" / "model.safetensors"
    whole, tensors, lost = path.read_bytes(), load_file(path), "encoder.block.0.layer.0.SelfAttention.k.weight"
    save_file({name: tensor for name, tensor in tensors.items() if name != lost}, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=f"1 missing weights, the first is {lost}"):
        encoder([PROMPT])
    path.write_bytes(whole[:-1])
    with pytest.raises(UserError, match="truncated: '"):
        encoder([PROMPT])
    path.write_bytes(whole)
    assert encoder([PROMPT]).x.dtype == torch.float32


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_speaker_encoder_in_torchscript(tmp_path):
    class Loudness(torch.nn.Module):
        def forward(self, wave):
            return wave.square().mean(dim=1, keepdim=True).expand(-1, 3)

    torch.jit.trace(Loudness(), torch.ones(1, 16)).save(tmp_path / "speaker.pt")
    voice = Audio(torch.full((2, 48000), 0.5), 48000)
    hear = TrainedSpeaker(3, str(tmp_path))
    torch.testing.assert_close(hear(voice), torch.full((3,), 0.25), atol=1e-3, rtol=0)
    with pytest.raises(UserError, match="vectors of 3 numbers, this model reads 192"):
        TrainedSpeaker(192, str(tmp_path))(voice)
    with pytest.raises(UserError, match="no speaker encoder in .*: put speaker.pt there"):
        TrainedSpeaker(3).at(tmp_path)(voice)


@pytest.fixture
def tiny_t5(tmp_path):
    """A folder with a tiny T5 of random weights, stored in bfloat16."""
    from transformers import ByT5Tokenizer, T5Config, T5EncoderModel

    torch.manual_seed(0)
    config = T5Config(vocab_size=384, d_model=16, d_ff=16, d_kv=8, num_layers=1, num_heads=2)
    T5EncoderModel(config).bfloat16().save_pretrained(tmp_path / "t5")
    ByT5Tokenizer().save_pretrained(tmp_path / "t5")
    return tmp_path / "t5"


def test_kept_features_are_made_once_and_are_those_of_the_network(tiny_t5, tmp_path, monkeypatch):
    plain = FeatureEncoder(str(tiny_t5), text.scene)
    kept = plain.on("cpu", str(tmp_path / "features"))
    encoded = []
    made = FeatureEncoder.made
    monkeypatch.setattr(FeatureEncoder, "made", lambda self, texts: encoded.extend(texts) or made(self, texts))
    prompts = [PROMPT, Prompt(scene="hi"), PROMPT]
    first, again = kept(prompts), kept(prompts)
    assert encoded == [PROMPT.scene, "hi"]
    assert torch.equal(first.x, again.x)
    monkeypatch.setattr(FeatureEncoder, "made", made)
    for row, prompt in enumerate(prompts):
        alone = plain([prompt])
        count = int(first.mask[row].sum())
        assert torch.equal(first.x[row, :count], alone.x[0])
    filled = features.Filled(plain).on("cpu", str(tmp_path / "features"))
    assert torch.equal(filled([PROMPT]).x, features.Filled(plain)([PROMPT]).x)


def test_another_network_at_the_same_place_is_not_mistaken_for_the_first(tiny_t5, tmp_path):
    from safetensors.torch import load_file, save_file

    kept = FeatureEncoder(str(tiny_t5), text.scene).on("cpu", str(tmp_path / "features"))
    first = kept([PROMPT]).x
    path = tiny_t5 / "model.safetensors"
    save_file({name: 2 * tensor for name, tensor in load_file(path).items()}, path, metadata={"format": "pt"})
    features.load_text_encoder.cache_clear()
    features.content_hash.cache_clear()
    assert not torch.equal(kept([PROMPT]).x, first)


def test_kept_features_that_are_damaged_are_named(tiny_t5, tmp_path):
    kept = FeatureEncoder(str(tiny_t5), text.scene).on("cpu", str(tmp_path / "features"))
    kept([PROMPT])
    (path,) = (tmp_path / "features").rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(UserError, match=f"{path.name} is damaged.*delete it"):
        kept([PROMPT])
