"""Drawing: coverage in closed form, truth that fits the pixels, one clip the same alone and among others."""

from dataclasses import replace

import pytest
import torch
from drawing import LOOK, MAN, play

from phonofilm.puppets import face, paint, sdf, stage

pytestmark = pytest.mark.quick


def near(video, colour, reach=40.0):
    """Which pixels have about this colour."""
    return (video.movedim(-3, -1).float() - torch.tensor(colour, dtype=torch.float32)).norm(dim=-1) < reach


def test_circle_covers_its_area():
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    area = sdf.cover(sdf.circle(x - 19.3, y - 20.1, 11.0), 1.0).sum()
    assert area == pytest.approx(torch.pi * 121, rel=0.005)
    area = sdf.cover(sdf.ellipse(x - 19.3, y - 20.1, 15.0, 8.0), 1.0).sum()
    assert area == pytest.approx(torch.pi * 120, rel=0.01)


@pytest.mark.parametrize("height", [0.1, 0.7, 1.0, 3.4])
def test_band_covers_its_height_even_below_a_pixel(height):
    y = torch.arange(12.0) + 0.5
    top = torch.tensor(4.23)
    assert sdf.band(y, top, top + height, 1.0).sum() == pytest.approx(height, abs=1e-5)
    assert sdf.band(y, top, top - height, 1.0).sum() == 0


def test_box_is_exact_outside_and_inside():
    x, y = torch.tensor([0.0, 7.0, 8.0]), torch.tensor([0.0, 0.0, 7.0])
    assert torch.allclose(sdf.box(x, y, 5.0, 3.0), torch.tensor([-3.0, 2.0, 5.0]))


def test_points_of_the_picture_and_of_the_head_are_inverse():
    head = torch.tensor([[[0.02, -0.01, 0.07], [-0.03, 0.02, -0.05]]])
    pose = face.Pose(head, stage.PAIR[1], stage.PAIR[1].scale * 96 / 128)
    window = face.Window(50, 40, 60, 55)
    own = torch.stack(face.own_points(pose, window), dim=-1).flatten(2, 3)
    back = face.picture_points(pose, own)
    y, x = torch.meshgrid(torch.arange(40, 55) + 0.5, torch.arange(50, 60) + 0.5, indexing="ij")
    assert torch.allclose(back, torch.stack([x, y], dim=-1).flatten(0, 1).expand_as(back), atol=1e-3)


def test_dark_of_the_mouth_grows_in_proportion_and_stays_in_the_box():
    opening = torch.linspace(0, 1, 6)[None]
    moved = torch.tensor([0.02, 0.012, 0.06]).repeat(6, 1)[None]
    drawing = stage.draw([play(LOOK, num_frames=6, opening=opening, head=moved)])
    dark = near(drawing.video[0], paint.MOUTH).sum((1, 2)).float()
    assert dark[0] == 0
    assert torch.corrcoef(torch.stack([dark, opening[0]]))[0, 1] > 0.99
    lips = near(drawing.video[0], paint.LIPS["woman"], 25) | near(drawing.video[0], paint.MOUTH)
    for seen, (x0, y0, x1, y1) in zip(lips, drawing.mouth[0]):
        rows, columns = seen.any(1).nonzero().flatten(), seen.any(0).nonzero().flatten()
        assert x0 <= columns[0] < columns[-1] + 1 <= x1
        assert y0 <= rows[0] < rows[-1] + 1 <= y1
        assert (x1 - x0) * (y1 - y0) < 4 * seen.sum()


def test_width_makes_mouths_wider():
    drawing = stage.draw([play(LOOK, num_frames=2, width=torch.tensor([[0.0, 1.0]]))])
    narrow, wide = near(drawing.video[0], paint.LIPS["woman"], 30).any(1).sum(1)
    assert wide > narrow + 6


def test_looks_have_their_colours_and_face_mask_covers_skin():
    drawing = stage.draw([play(LOOK, num_frames=1)])
    video, mask = drawing.video[0, 0], drawing.face[0, 0]
    assert near(video[:, 5:6, 5:6], paint.BACKGROUND["white"], 40)
    assert near(video[:, 14:15, 64:65], paint.HAIR["red"], 30)
    assert near(video[:, 76:77, 64:65], paint.SKIN["pale"], 60)
    assert mask[76, 64] == pytest.approx(1)
    assert mask[5, 5] == 0
    skin = near(video, paint.SKIN["pale"], 12)
    assert (mask[skin] > 0.9).float().mean() > 0.9


def test_blink_hides_the_iris():
    drawing = stage.draw([play(LOOK, num_frames=2, blink=torch.tensor([[0.0, 1.0]]))])
    open_eyes, shut = near(drawing.video[0], paint.EYES["green"], 30).sum((1, 2))
    assert open_eyes > 20
    assert shut == 0


def test_a_clip_is_the_same_alone_and_in_a_mixed_batch():
    clips = [
        play(LOOK),
        play(stage_name="ball"),
        play(LOOK, MAN, stage_name="dialogue"),
        play(MAN),
        play(stage_name="rain"),
        play(stage_name="keyboard"),
    ]
    together = stage.draw(clips, size=64)
    for i, clip in enumerate(clips):
        alone = stage.draw([clip], size=64)
        assert (together.video[i].int() - alone.video[0].int()).abs().max() <= 1
        assert torch.allclose(together.mouth[i], alone.mouth[0], atol=1e-4)


def test_mouth_box_follows_whoever_speaks():
    turns = torch.tensor([[1.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 1.0]])
    boxes = stage.draw([play(LOOK, MAN, stage_name="dialogue", speaking=turns)]).mouth[0]
    assert (boxes[:3, 2] < 64).all()
    assert (boxes[3:, 0] > 64).all()


def test_ball_touches_down_where_height_is_zero_and_flattens():
    path = torch.tensor([[0.5, 0.3], [0.5, 0.0]])
    drawing = stage.draw([play(stage_name="ball", num_frames=2, ball=path)])
    high, low = near(drawing.video[0], paint.BALL["red"], 60)
    assert low.any(1).nonzero().max() / 128 == pytest.approx(stage.props.GROUND, abs=0.02)
    assert low.any(1).sum() < high.any(1).sum() - 4
    assert low.any(0).sum() > high.any(0).sum() + 3
    assert drawing.mouth.abs().sum() == drawing.face.sum() == 0


def test_struck_key_lights_up_alone():
    keys = torch.zeros(2, 8)
    keys[1, 2] = 1
    dark, light = stage.draw([play(stage_name="keyboard", num_frames=2, keys=keys)]).video[0].float()
    changed = (dark - light).abs().amax(0)[60] > 60
    columns = changed.nonzero().flatten() / 128
    assert 0.25 < columns.min() < columns.max() < 0.41


def test_rain_falls_and_heavy_rain_is_more():
    heavy = play(stage_name="rain")
    light = replace(heavy, script=replace(heavy.script, scenery=heavy.script.scenery._replace(strength="light")))
    videos = stage.draw([heavy, light]).video.float()
    moving = (videos[:, 1:] - videos[:, :-1]).abs().mean((1, 2, 3, 4))
    assert moving[0] > 1.5 * moving[1] > 0


def test_colours_that_do_not_exist_and_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="unknown colour 'mauve'"):
        paint.colours(paint.HAIR, ["mauve"], torch.device("cpu"))
    with pytest.raises(ValueError, match=r"one length, not \[4, 5\]"):
        stage.draw([play(LOOK), play(LOOK, num_frames=4)])
