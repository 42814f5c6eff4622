"""Ovi's own promises: published size, what a closed link leaves out, who reads which state, both prompt formats."""

from dataclasses import replace

import pytest
import torch

from phonofilm.architectures.ovi import ByteOvi, Ovi, OviBlock
from phonofilm.cli.describe import parameters
from phonofilm.diffusion.tokens import positions
from phonofilm.encoders import tags
from phonofilm.encoders.features import FeatureEncoder, Filled
from phonofilm.network.blocks import Hidden, State
from phonofilm.network.context import TowerText, without_positions
from phonofilm.network.layers import CrossAttention, Rope, rope
from phonofilm.network.ports import ConvEmbed, Port, StreamConfig, WanTime
from phonofilm.recipes.jova import jova_pocket, jova_study
from phonofilm.recipes.ovi import ovi_paper, ovi_paper_720, ovi_pocket, ovi_seconds, ovi_study
from phonofilm.types import CLOSED, Grid, Links, Prompt, Stream

SIZES = {"width": 32, "heads": 2, "mlp": 48}
ROPE = Rope(sizes=(8, 4, 4))
CONV = StreamConfig(channels=5, rope=ROPE, embed=ConvEmbed(kernel=3, inner=24), time=WanTime(), **SIZES)


def count(network):
    return sum(p.numel() for p in network.parameters())


def randomised(network, std=0.1):
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return network.eval()


def hidden(frames, seed, rows=1):
    generator = torch.Generator().manual_seed(seed)
    grid = Grid(frames, rows, 1, 0.1, 0.1)
    pos = positions(grid).expand(2, -1, -1)
    return Hidden(
        x=torch.randn(2, grid.tokens, 32, generator=generator),
        time=torch.randn(2, 2, 7 * 32, generator=generator),
        given=torch.zeros(2, grid.tokens, dtype=torch.bool),
        rotation=rope(pos, ROPE),
        seconds=pos[..., 0],
        grid=grid,
        ctx=without_positions(torch.randn(2, 3, 32, generator=generator), torch.ones(2, 3, dtype=torch.bool)),
    )


def state(links):
    return State(video=hidden(2, 1, rows=2), audio=hidden(5, 2), links=links)


def test_paper_has_the_releases_parameters():
    with torch.device("meta"):
        backbone = ovi_paper().model.build()
    assert count(backbone) == 11_660_753_108
    counts = parameters(backbone)
    assert counts["conditions"] == 0
    assert (round(counts["video"] / 1e9, 3), round(counts["audio"] / 1e9, 3)) == (5.566, 6.094)


@pytest.mark.parametrize(("ours", "jovas"), [(ovi_pocket, jova_pocket), (ovi_study, jova_study)])
def test_sizes_match_jovas(ours, jovas):
    with torch.device("meta"):
        sizes = [count(recipe().model.build()) for recipe in (ours, jovas)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


def test_towers_may_differ_in_all_but_their_positions():
    """One text for each, so that widths, heads and MLPs are each stream's own; heads meet, so they turn alike."""
    audio = replace(CONV, width=16, heads=1, mlp=24)
    text = TowerText(video=("t", 8), audio=("t", 8))
    backbone = Ovi(video=CONV, audio=audio, text=text, num_blocks=1).build()
    assert (backbone.blocks[0].video.mlp[0].out_features, backbone.blocks[0].audio.mlp[0].out_features) == (48, 24)
    sound = hidden(5, 2)
    narrow = replace(sound, x=sound.x[..., :16], time=sound.time[..., : 7 * 16])
    narrow = replace(narrow, ctx=replace(narrow.ctx, x=narrow.ctx.x[..., :16]))
    given = replace(state(Links(True, True)), audio=narrow)
    done = randomised(backbone.blocks[0])(given)
    assert (done.video.x.shape, done.audio.x.shape) == (given.video.x.shape, (2, 5, 16))
    with pytest.raises(ValueError, match="RoPE sizes"):
        Ovi(video=CONV, audio=replace(CONV, rope=Rope(sizes=(16, 0, 0))), text=text, num_blocks=1)


def test_streams_that_read_one_text_must_be_as_wide_and_turn_alike():
    study = ovi_study().model
    uneven = replace(study, audio=replace(study.audio, mlp=64)).build()
    assert uneven.blocks[0].audio.mlp[0].out_features == 64
    for audio in (
        replace(study.audio, rope=replace(study.audio.rope, theta=9.0)),
        replace(study.audio, width=64, heads=1),
    ):
        with pytest.raises(ValueError, match="one text"):
            ByteOvi(video=study.video, audio=audio, text=study.text, num_blocks=1)


@pytest.mark.parametrize("links", [CLOSED, Links(True, False), Links(False, True), Links(True, True)])
def test_a_closed_link_computes_nothing_of_the_other_stream(links):
    block, ran = randomised(OviBlock(CONV, CONV, CrossAttention)), []
    for name in ("video", "audio"):
        getattr(block, name).other.register_forward_hook(lambda *_, name=name: ran.append(name))
    block(state(links))
    assert ran == [name for name, is_open in zip(("video", "audio"), links) if is_open]


def test_fusion_is_a_second_attention_of_the_same_queries():
    """In closed form: the sum of both attentions goes through one output projection, and only one is rotated."""
    block, given = randomised(OviBlock(CONV, CONV, CrossAttention)), state(Links(True, True))
    video, audio = block.video.self_attention(given.video), block.audio.self_attention(given.audio)
    layer, heads = block.video, 2
    q = layer.text.projection.queries(layer.norm_text(video.x))
    text, other = video.ctx.x, layer.other.norm(audio.x)

    def soft(q, k, v):
        k, v = (part.unflatten(-1, (heads, -1)) for part in (k, v))
        weights = torch.einsum("bshe,blhe->bhsl", q, k).div(16**0.5).softmax(-1)
        return torch.einsum("bhsl,blhe->bshe", weights, v).flatten(2)

    def turned(x, rotation):
        pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
        angle = torch.view_as_complex(rotation).unsqueeze(2)
        return torch.view_as_real(pairs * angle).flatten(-2)

    p = layer.text.projection
    plain = soft(q, p.norm_k(p.k(text)), p.v(text))
    k = turned(layer.other.norm_k(layer.other.k(other)).unflatten(-1, (heads, -1)), audio.rotation).flatten(2)
    fused = soft(turned(q, video.rotation), k, layer.other.v(other))
    expected = video.x + layer.text.out(plain + fused)
    torch.testing.assert_close(layer.fused_cross_attention(video, audio).x, expected, rtol=1e-4, atol=1e-5)


def test_both_directions_read_the_state_after_self_attention():
    """Swapping the streams and the towers swaps the results: no direction sees the other's update."""
    block, given = randomised(OviBlock(CONV, CONV, CrossAttention)), state(Links(True, True))
    swapped = OviBlock(CONV, CONV, CrossAttention)
    swapped.video.load_state_dict(block.audio.state_dict())
    swapped.audio.load_state_dict(block.video.state_dict())
    one, two = block(given), swapped(replace(given, video=given.audio, audio=given.video))
    assert torch.equal(one.video.x, two.audio.x)
    assert torch.equal(one.audio.x, two.video.x)


def test_what_the_other_stream_brings_starts_small():
    torch.manual_seed(0)
    block = ovi_study().model.build().blocks[0]
    for layer in (block.video, block.audio):
        usual = layer.text.projection.k.weight.std().item()
        assert layer.other.k.weight.std().item() == pytest.approx(0.1 * usual, rel=0.1)
        assert layer.other.v.weight.abs().sum() > 0


def angles(experiment, stream, frames, step):
    grid = Grid(frames, 1, 1, 1 / 24 if stream == "video" else step, step)
    config = getattr(experiment.model, stream)
    return positions(grid, experiment.clock)[:, 0] * config.rope.scale[0]


def test_positions_are_the_releases_integers_or_exact_seconds():
    video, audio = angles(ovi_paper(), "video", 31, 4 / 24), angles(ovi_paper(), "audio", 157, 0.032)
    assert video.tolist() == list(range(31))
    torch.testing.assert_close(audio, torch.arange(157) * 0.19676)
    video, audio = angles(ovi_seconds(), "video", 31, 4 / 24), angles(ovi_seconds(), "audio", 157, 0.032)
    assert (video[30] / 6).item() == pytest.approx(119 / 24)
    assert (audio[156] / 6).item() == pytest.approx(156.5 * 0.032)


def test_sound_turns_by_time_alone():
    """The release leaves the channels of rows and columns of sound as they are: at row and column 0 we do too."""
    grid = Grid(5, 1, 1, 0.032, 0.032)
    config = ovi_paper().model.audio
    port = Port(StreamConfig(channels=4, width=256, heads=2, mlp=48, rope=config.rope, time=WanTime()))
    pos = positions(grid, ovi_paper().clock).expand(1, -1, -1)
    empty = torch.zeros(1, 5, 0)
    given = torch.zeros(1, 5, dtype=torch.bool)
    stream = Stream(x=torch.zeros(1, 5, 4), sigma=torch.ones(1), given=given, pos=pos, beside=empty, grid=grid)
    rotation = port.enter(
        stream, without_positions(torch.zeros(1, 1, 256), torch.ones(1, 1, dtype=torch.bool))
    ).rotation
    assert (rotation[0, 1:, :22, 1] != 0).all()
    assert (rotation[..., 22:, 1] == 0).all()
    assert (rotation[..., 22:, 0] == 1).all()


SPOKEN = Prompt(scene="A man  in black.", sound="rain", speech=(("", "Hello."), ("The woman", "Bye.")))


def test_prompts_in_both_formats():
    said = "A man in black. <S>Hello.<E>. The woman says, <S>Bye.<E>."
    assert tags.audcap(SPOKEN) == f"{said} <AUDCAP>rain<ENDAUDCAP>"
    assert tags.audio(SPOKEN) == f"{said} Audio: rain"
    assert tags.audio(Prompt(scene="a man")) == tags.audcap(Prompt(scene="a man")) == "a man"


@pytest.mark.parametrize("scene", ["A man. <AUDCAP>rain,\nwind<ENDAUDCAP>", "A man. Audio: rain,\nwind"])
def test_tags_in_a_scene_are_rewritten(scene):
    assert tags.audcap(Prompt(scene=scene)) == "A man. <AUDCAP>rain, wind<ENDAUDCAP>"
    assert tags.audio(Prompt(scene=scene)) == "A man. Audio: rain, wind"


@pytest.mark.parametrize("scene", ["<S>Hello", "Hello<E>", "<S>a <AUDCAP>b<E>", "<AUDCAP>rain"])
def test_tags_that_do_not_close_are_refused(scene):
    with pytest.raises(ValueError, match="<"):
        tags.audio(Prompt(scene=scene))


def test_padding_counts_as_the_release_has_it(tmp_path):
    from transformers import ByT5Tokenizer, T5Config, T5EncoderModel

    config = T5Config(vocab_size=384, d_model=16, d_ff=16, d_kv=8, num_layers=1, num_heads=2)
    T5EncoderModel(config).save_pretrained(tmp_path)
    ByT5Tokenizer().save_pretrained(tmp_path)
    encoder = FeatureEncoder(str(tmp_path), tags.audio, length=20)
    plain, filled = encoder([Prompt(scene="hi"), Prompt(scene="hello")]), Filled(encoder)([Prompt(scene="hi")])
    assert filled.x.shape == (1, 20, 16)
    assert filled.mask.all()
    torch.testing.assert_close(filled.x[0, :3], plain.x[0, :3])
    assert filled.x[0, 3:].abs().sum() == 0


def test_negatives_of_the_release_and_formats_of_its_weights():
    encoders = ovi_paper().encoders
    fields = {name: encoder.encoder.field for name, encoder in encoders.items()}
    assert fields["video_text.negative"](Prompt()) == "jitter, bad hands, blur, distortion"
    assert fields["video_text.negative"](Prompt(negative="rain")) == "rain"
    assert fields["audio_text.negative"](Prompt(negative="rain")) == "robotic, muffled, echo, distorted"
    assert fields["video_text"](SPOKEN).endswith("Audio: rain")
    assert ovi_paper_720().encoders["audio_text"].encoder.field(SPOKEN).endswith("<ENDAUDCAP>")
    term = ovi_paper().guidance[0]
    assert (term.video_scale, term.audio_scale) == (4.0, 3.0)
