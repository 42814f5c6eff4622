"""A ball and its contacts are read back from drawn, blurred and smeared pictures; what does not bounce has none."""

from dataclasses import replace

import pytest
import torch
from drawing import blurred, play

from phonofilm.evaluate.readers import events
from phonofilm.puppets import bounces, looks, stage
from phonofilm.puppets.performance import perform
from phonofilm.puppets.script import Scenery, write_script


def fall(contacts, num_frames=49, fps=24.0):
    """Heights of a ball that touches the floor at these seconds."""
    seconds = (torch.arange(num_frames) + 0.5) / fps
    marks = [-0.5, *contacts, contacts[-1] + 0.6]
    index = torch.bucketize(seconds, torch.tensor(marks), right=True) - 1
    before, after = torch.tensor(marks)[index], torch.tensor(marks)[index + 1]
    return torch.stack([0.3 + 0.1 * seconds, 1.6 * (seconds - before) * (after - seconds)], dim=-1)


def drawn(path, background="green"):
    """A red ball on a grey floor."""
    performance = play(stage_name="ball", num_frames=len(path), ball=path)
    script = replace(performance.script, scenery=Scenery(background, colour="red", floor="grey"))
    return stage.draw([replace(performance, script=script)]).video[0]


def smeared(video, seed=0):
    """Pixel frames mixed in fours, as codecs mix them that pack four into one, on a wall of patches that flicker."""
    g = torch.Generator().manual_seed(seed)
    groups = [video[:1], *video[1:].split(4)]
    mixed = torch.cat([0.4 * part + 0.6 * part.float().mean(0, keepdim=True) for part in groups])
    patches = torch.nn.functional.interpolate(12 * torch.randn(len(mixed), 1, 8, 8, generator=g), scale_factor=16)
    return (mixed + patches).round().clamp(0, 255).to(torch.uint8)


@pytest.mark.parametrize("spoil", [lambda video: video, blurred, smeared], ids=["drawn", "blurred", "smeared"])
def test_ball_and_its_contacts_are_read_back(spoil):
    contacts = (0.31, 0.88, 1.37, 1.79)
    path = fall(contacts)
    video = spoil(drawn(path))
    assert (bounces.read_path(video).middle[:, 0] - path[:, 0]).abs().max() < 0.01
    assert bounces.read_contacts(video, 24.0) == pytest.approx(contacts, abs=0.02)


def test_rate_and_size_make_no_difference():
    contacts = (0.31, 0.88, 1.37, 1.79)
    path = fall(contacts, num_frames=51, fps=25.0)
    large = torch.nn.functional.interpolate(drawn(path).float(), scale_factor=2).to(torch.uint8)
    assert bounces.read_contacts(large, 25.0) == pytest.approx(contacts, abs=0.02)


def test_contact_at_the_very_end_counts():
    """The clip ends at 2.04 s, and its last pixel frame shows the ball as it is at 2.02 s."""
    assert bounces.read_contacts(drawn(fall((0.5, 1.2, 2.02))), 24.0) == pytest.approx((0.5, 1.2, 2.02), abs=0.02)
    assert bounces.read_contacts(drawn(fall((0.5, 1.2, 2.03))), 24.0) == pytest.approx((0.5, 1.2, 2.03), abs=0.03)


def test_contacts_of_the_corpus_are_found_on_every_wall_however_smeared():
    """White walls were the hard ones: what flickers there is nearer to a white ball than to the wall."""
    scripts = [write_script(seed, split="train", stage="ball") for seed in range(24)]
    assert {script.scenery.background for script in scripts} == set(looks.BACKGROUNDS)
    found = true = pairs = 0
    for script in scripts:
        seen = bounces.read_contacts(smeared(stage.draw([perform(script)]).video[0]), 24.0)
        told = [event.seconds for event in script.events]
        found, true = found + len(seen), true + len(told)
        pairs += events.match(told, seen, 0.04).pairs
    assert 2 * pairs / (found + true) > 0.95


@pytest.mark.parametrize("height", [0.0, 0.3], ids=["at rest", "in the air"])
@pytest.mark.parametrize("spoil", [lambda video: video, blurred, smeared], ids=["drawn", "blurred", "smeared"])
def test_ball_that_does_not_bounce_has_no_contacts(spoil, height):
    path = torch.stack([torch.linspace(0.3, 0.6, 49), torch.full((49,), height)], dim=-1)
    video = spoil(drawn(path, background="white"))
    assert bounces.read_path(video).weight.min() > 0.5
    assert bounces.read_contacts(video, 24.0) == ()


def test_ball_that_only_falls_touches_the_floor_at_most_once():
    path = torch.stack([torch.full((49,), 0.4), torch.linspace(0.6, 0.3, 49)], dim=-1)
    assert len(bounces.read_contacts(drawn(path), 24.0)) <= 1


def test_where_there_is_no_ball_nothing_is_seen():
    wall = torch.full((20, 3, 64, 64), 200, dtype=torch.uint8)
    path = bounces.read_path(wall)
    assert torch.isnan(path.middle).all()
    assert not path.weight.any()
    assert bounces.read_contacts(wall, 24.0) == ()
    assert bounces.read_contacts(drawn(fall((0.1,), num_frames=5)), 24.0) == ()


def test_what_is_no_clip_is_refused():
    with pytest.raises(ValueError, match="shape"):
        bounces.read_contacts(torch.zeros(0, 3, 8, 8, dtype=torch.uint8), 24.0)
    with pytest.raises(ValueError, match="fps must be positive"):
        bounces.read_contacts(torch.zeros(3, 3, 8, 8, dtype=torch.uint8), 0.0)
