"""UniVerse-1's own promises: who reads whom and when, where gradients stop, published size, its sound and its words."""

import json
from dataclasses import replace

import pytest
import torch
from universe1_small import network

from phonofilm.architectures.universe1 import Heard, StitchedBlock, by_time
from phonofilm.codecs.ace_audio import AceAudioCodec
from phonofilm.diffusion.tokens import positions
from phonofilm.encoders.lyrics import NOTHING, LyricEncoder
from phonofilm.errors import UserError
from phonofilm.files.resample import resample
from phonofilm.network.ace import AceLayer, linear_attention, turn_unpaired
from phonofilm.network.alignment import MaskedWindow, SameFrame
from phonofilm.network.blocks import Context, Hidden, State
from phonofilm.network.layers import Rope, rope, rotate
from phonofilm.recipes.jova import jova_pocket, jova_study
from phonofilm.recipes.universe1 import said, universe1_paper, universe1_pocket, universe1_study
from phonofilm.types import AVInput, Grid, Links, Prompt, Stream, Tokens

ROPE = Rope(sizes=(12, 0, 0))


def count(recipe):
    with torch.device("meta"):
        return sum(p.numel() for p in recipe().model.build().parameters())


def test_published_size():
    """Towers and texts of the release, less what it never reads (tests/golden/universe1_official.md)."""
    assert count(universe1_paper) == 6_299_957_952


@pytest.mark.parametrize(("ours", "jovas"), [(universe1_pocket, jova_pocket), (universe1_study, jova_study)])
def test_sizes_match_jovas(ours, jovas):
    assert count(ours) == pytest.approx(count(jovas), rel=0.01)


def hidden(frames, rows, width, seed):
    generator = torch.Generator().manual_seed(seed)
    grid = Grid(frames, rows, 1, 0.1, 0.1)
    pos = positions(grid).expand(2, -1, -1)
    return Hidden(
        x=torch.randn(2, grid.tokens, width, generator=generator),
        time=torch.randn(2, 2, 7 * width, generator=generator),
        given=torch.zeros(2, grid.tokens, dtype=torch.bool),
        rotation=rope(pos, ROPE),
        seconds=pos[..., 0],
        grid=grid,
        ctx=Context(
            x=torch.randn(2, 3, width, generator=generator), mask=None, rotation=rope(torch.zeros(2, 3, 3), ROPE)
        ),
    )


@pytest.fixture
def block():
    torch.manual_seed(0)
    made = StitchedBlock(network(), AceLayer)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made.eval()


def state():
    return State(video=hidden(4, 2, 24, 1), audio=hidden(4, 1, 36, 2), links=Links())


def test_no_gradient_passes_from_tower_to_tower(block):
    """The other tower's tokens matter, but nothing is learned about them: only what carries them over learns."""
    given = state()
    given.video.x.requires_grad_()
    given.audio.x.requires_grad_()
    done = block(given)
    by_video = torch.autograd.grad(done.video.x.sum(), given.audio.x, allow_unused=True, retain_graph=True)[0]
    by_audio = torch.autograd.grad(done.audio.x.sum(), given.video.x, allow_unused=True, retain_graph=True)[0]
    assert by_video is None
    assert by_audio is None
    done.video.x.sum().backward()
    assert block.a2v[0].weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in block.audio.parameters())


def test_beside_self_attention_a_frame_reads_the_sound_of_its_own_time_alone(block):
    """With one audio token a frame every token of the frame gets the same vector, whatever its query (section 2.2)."""
    video, time = hidden(4, 2, 24, 1), rope(by_time(hidden(4, 2, 24, 1).seconds), ROPE)
    audio = hidden(4, 1, 24, 3)
    heard = Heard(audio.x, audio.given, rope(by_time(audio.seconds), ROPE), audio.grid)
    plain = block.video.attend_and_hear(video, None, time).x
    added = (block.video.attend_and_hear(video, heard, time).x - plain).unflatten(1, (4, 2))
    torch.testing.assert_close(added[:, :, 0], added[:, :, 1])
    other = replace_frame(heard, 2)
    moved = (block.video.attend_and_hear(video, other, time).x - plain).unflatten(1, (4, 2)) - added
    assert [frame.abs().max().item() > 1e-5 for frame in moved.unbind(1)] == [False, False, True, False]


def replace_frame(heard, frame):
    x = heard.x.clone()
    x[:, frame] += torch.randn(24, generator=torch.Generator().manual_seed(9))
    return heard._replace(x=x)


def test_sound_sees_the_mean_of_a_frame(block):
    """Tokens of one frame may change places: the sound cannot tell."""
    given = state()
    normed = block.seen(given.video)
    swapped = replace(given.video, x=given.video.x.unflatten(1, (4, 2)).flip(2).flatten(1, 2))
    torch.testing.assert_close(block.seen(swapped).x, normed.x)
    assert normed.x.shape == (2, 4, 36)


def test_references_are_refused(block):
    given = state()
    longer = replace(given.video, grid=given.video.grid._replace(frames=3))
    with pytest.raises(ValueError, match="no references"):
        block(replace(given, video=longer))


def test_linear_attention_is_a_mean_weighted_by_products():
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.rand(2, 5, 3, 4, generator=generator) for _ in range(3))
    weight = torch.einsum("bshe,blhe->bhsl", q, k)
    wanted = torch.einsum("bhsl,blhe->bshe", weight / weight.sum(dim=-1, keepdim=True), v)
    torch.testing.assert_close(linear_attention(q, k, v), wanted.flatten(2))
    assert linear_attention(torch.zeros_like(q), k, v).abs().max() == 0


def test_the_releases_angles_are_no_rotation():
    """Each pair of channels has two different angles, but for heads of two channels, which have one frequency."""
    x = torch.randn(1, 3, 2, 12, generator=torch.Generator().manual_seed(0))
    turns = rope(torch.tensor([[[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]]), ROPE)
    turned = turn_unpaired(x, turns)
    torch.testing.assert_close(turned[:, 0], x[:, 0])
    cos, sin = turns[0, 1, [2, 3], 0], turns[0, 1, [2, 3], 1]
    pair = x[0, 1, 0, 2:4]
    wanted = torch.stack((pair[0] * cos[0] - pair[1] * sin[0], pair[1] * cos[1] + pair[0] * sin[1]))
    torch.testing.assert_close(turned[0, 1, 0, 2:4], wanted)
    narrow = rope(torch.tensor([[[3.0, 0, 0]]]), Rope(sizes=(2, 0, 0)))
    torch.testing.assert_close(turn_unpaired(x[:, :1, :, :2], narrow), rotate(x[:, :1, :, :2], narrow))


def test_frames_hear_by_number_or_by_the_clock():
    video, audio = Grid(3, 1, 1, 1 / 25, 4 / 25), Grid(3, 1, 1, 0.16, 0.16)
    assert SameFrame()(video, audio).tokens == [[0], [1], [2]]
    with pytest.raises(ValueError, match="as many"):
        SameFrame()(video, audio._replace(frames=4))
    heard = MaskedWindow(around=0.0)(video, audio)
    assert [[t for t, real in zip(*row) if real] for row in zip(heard.tokens, heard.mask)] == [[0], [0, 1], [1, 2]]


ACE = {
    f"{side}_{name}": [value] * 4
    for side in ("encoder", "decoder")
    for name, value in (
        ("layers_per_block", 1),
        ("block_out_channels", 8),
        ("block_types", "ResBlock"),
        ("qkv_multiscales", []),
    )
}
ACE |= {"in_channels": 2, "latent_channels": 2, "decoder_norm_types": "rms_norm", "decoder_act_fns": "silu"}
ACE |= {"downsample_block_type": "Conv", "upsample_block_type": "interpolate"}


def test_sound_has_a_latent_for_four_pixel_frames():
    """125 pixel frames at 25 fps are 32 latent frames and 32 audio latents, as in the release."""
    torch.manual_seed(0)
    codec, geometry = AceAudioCodec.build(ACE, {"iterations": 1}).eval(), universe1_paper().geometry
    samples = geometry.num_samples(codec.sample_rate)
    assert (samples, codec.hop, codec.channels) == (80_000, 2560, 32)
    wave = torch.randn(1, 1, samples, generator=torch.Generator().manual_seed(0)) * 0.1
    with torch.no_grad():
        latents = codec.encode(wave)
        sound = codec.decode(latents)
    assert latents.shape == (1, 32, 32)
    assert sound.shape == (1, 2, 32 * 2560)
    assert sound.isfinite().all()


def test_the_codec_only_changes_scales_around_its_autoencoder():
    """With an autoencoder that passes latents on, decoding undoes encoding down to the mels."""
    torch.manual_seed(0)
    codec = AceAudioCodec.build(ACE, {"iterations": 1}).eval()
    kept = {}
    codec.vae.encode = lambda mel: kept.update(mel=mel) or type("E", (), {"latent": mel[:, :, ::8, ::8]})
    codec.vae.decode = lambda raw: kept.update(raw=raw) or type("D", (), {"sample": kept["mel"]})
    codec.vocoder.forward = lambda mel: kept.update(out=mel) or type("S", (), {"sample": mel[:, :1, :1]})
    wave = torch.randn(1, 2, 5120, generator=torch.Generator().manual_seed(0)) * 0.1
    with torch.no_grad():
        codec.decode(codec.encode(wave))
        torch.testing.assert_close(kept["out"], codec.mel(resample(wave[0], 16000, 25600)))
    torch.testing.assert_close(kept["raw"], kept["mel"][:, :, ::8, ::8])


@pytest.fixture
def lyrics(tmp_path):
    words = {"[UNK]": 0, "[en]": 5, "one": 6, "[SPACE]": 7}
    split = {"type": "Split", "pattern": {"Regex": r"\[\w+\]|\w+"}, "behavior": "Isolated", "invert": False}
    content = {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": split, "post_processor": None}
    content |= {"decoder": None, "truncation": None, "padding": None}
    content |= {"model": {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"}}
    (tmp_path / "vocab.json").write_text(json.dumps(content))
    return LyricEncoder(said, length=8).at(tmp_path)


def test_lyrics_stand_between_marks(lyrics):
    made = lyrics([Prompt(speech=(("anna", "One"), ("", "one"))), Prompt()])
    assert made.x[0, :6].tolist() == [261, 5, 6, 7, 6, 2]
    assert made.mask.sum(dim=1).tolist() == [6, len(NOTHING)]
    assert made.x[1].tolist() == list(NOTHING)


@pytest.mark.parametrize(("text", "says"), [("1", "write numbers as words"), ("one " * 9, "at most 8")])
def test_lyrics_that_cannot_be_read_are_refused(lyrics, text, says):
    with pytest.raises(UserError, match=says):
        lyrics.ids(text)


def test_a_missing_tokenizer_is_named(tmp_path):
    with pytest.raises(UserError, match=r"vocab\.json from"):
        replace(LyricEncoder(said), path=str(tmp_path / "vocab.json")).ids("one")


def empty(channels):
    nothing, grid = torch.zeros(1, 0), Grid(0, 1, 1, 0.1, 0.1)
    return Stream(
        x=torch.zeros(1, 0, channels),
        sigma=torch.ones(1),
        given=nothing.bool(),
        pos=torch.zeros(1, 0, 3),
        beside=torch.zeros(1, 0, 0),
        grid=grid,
    )


def test_padding_of_lyrics_and_captions_changes_nothing():
    """A text alone and the same text beside a longer one leave the same context."""
    torch.manual_seed(0)
    context = network().build().context.eval()
    for parameter in context.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    cond = {"scene": torch.randn(1, 3, 12), "sound": torch.randn(1, 2, 10), "speech": torch.tensor([[3, 4, 5]])}
    tokens = {name: Tokens(x=x, mask=torch.ones(1, x.shape[1], dtype=torch.bool)) for name, x in cond.items()}

    def read(cond):
        return context(AVInput(video=empty(12), audio=empty(32), cond=cond))[1]

    plain, padded = read(tokens), read({name: part.padded(part.mask.shape[1] + 2) for name, part in tokens.items()})
    assert padded.mask[0].tolist() == [True, True, False, False, True, True, True, False, False]
    torch.testing.assert_close(padded.x[:, padded.mask[0]], plain.x)
    torch.testing.assert_close(padded.rotation[:, padded.mask[0]], plain.rotation)
