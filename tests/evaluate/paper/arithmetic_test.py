"""The papers' arithmetic against cases that were worked by hand."""

import math

import numpy as np
import pytest
import torch
from extras import needed

from phonofilm.evaluate.paper import classes, desync, frechet, speakers, sync

needed("scipy")

pytestmark = pytest.mark.quick


def walk(length, seed=0, size=8):
    """Vectors that differ from one another."""
    return torch.randn(length, size, generator=torch.Generator().manual_seed(seed))


def test_distances_are_those_of_the_definition():
    mouths, speech = walk(4), walk(4, 1)
    found = sync.distances(mouths, speech, shift=2)
    for i in range(4):
        for k in range(5):
            j = i + k - 2
            heard = speech[j] if 0 <= j < 4 else torch.zeros(8)
            wanted = torch.nn.functional.pairwise_distance(mouths[i][None], heard[None])
            assert float(found[i, k]) == pytest.approx(float(wanted), rel=1e-5)


def test_sync_score_by_hand():
    # Means over the two windows: 5, 3, 1, 4, 4. Median 4, least 1, at index 2 of -2..2: no offset.
    apart = torch.tensor([[4.0, 2.0, 0.0, 4.0, 3.0], [6.0, 4.0, 2.0, 4.0, 5.0]])
    assert sync.sync_score(apart) == sync.SyncScore(confidence=3.0, distance=1.0, offset=0)


@pytest.mark.parametrize("late", [-4, 0, 3])
def test_a_constant_delay_moves_the_offset_and_nothing_else(late):
    speech = walk(60)
    mouths = speech.roll(-late, 0)  # what is seen at i is heard at i + late
    found = sync.sync_score(sync.distances(mouths, speech))
    assert found.offset == -late
    assert found.sound_late == pytest.approx(late / 25)
    matched = sync.sync_score(sync.distances(speech, speech))
    assert found.confidence > 0.8 * matched.confidence  # blind to delay: hence always the offset beside it


def test_shuffled_or_frozen_mouths_lose_confidence():
    speech = walk(60)
    matched = sync.sync_score(sync.distances(speech, speech))
    for other in (walk(60, 5), speech[:1].expand(60, -1)):
        worse = sync.sync_score(sync.distances(other, speech))
        assert worse.confidence < 0.5 * matched.confidence
        assert worse.distance > matched.distance + 1


def test_variants_of_one_name_differ():
    tracks = [sync.SyncScore(6.0, 9.0, 0), sync.SyncScore(4.0, 6.0, 2)]
    assert sync.mova(tracks) == tracks[1]  # -2 against -3
    assert sync.wav2lip_lrs(tracks) == tracks[0]
    assert sync.verse_bench(tracks) == 5.0
    assert sync.verse_bench([*tracks, sync.SyncScore(1.0, 9.0, -14)]) is None
    assert (sync.mova([]), sync.verse_bench([])) == (None, None)


def test_vectors_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match="as many vectors of each"):
        sync.distances(walk(3), walk(4))


def test_frechet_of_gaussians_by_hand():
    one, two = np.array([[1.0]]), np.array([[4.0]])
    assert frechet.gaussian_frechet(np.zeros(1), one, np.array([3.0]), two) == pytest.approx(9 + (2 - 1) ** 2)
    a, b = np.diag([1.0, 9.0]), np.diag([4.0, 1.0])
    assert frechet.gaussian_frechet(np.zeros(2), a, np.zeros(2), b) == pytest.approx(1 + 4)


def test_frechet_where_covariances_do_not_commute():
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(0)
    a, b = (m @ m.T for m in rng.standard_normal((2, 5, 5)))
    wanted = np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    assert frechet.gaussian_frechet(np.zeros(5), a, np.zeros(5), b) == pytest.approx(wanted, rel=1e-6)


def test_frechet_of_sets():
    points = np.random.default_rng(0).standard_normal((40, 3))
    assert frechet.frechet(points, points) == pytest.approx(0, abs=1e-9)
    assert frechet.frechet(points, points + [1.0, 2.0, 0.0]) == pytest.approx(5)
    assert frechet.frechet(points, points * 1.5) > 0.1
    with pytest.raises(ValueError, match="at least 2 clips"):
        frechet.frechet(points[:1], points)


def test_cosines_and_what_verse_bench_calls_fd():
    left, right = np.array([[3.0, 4.0], [1.0, 0.0], [1.0, 1.0]]), np.array([[4.0, 3.0], [0.0, 2.0], [-2.0, -2.0]])
    assert frechet.cosines(left, right) == pytest.approx([0.96, 0.0, -1.0])
    assert frechet.verse_bench_fd(left, right) == pytest.approx([0.08, 2.0, 4.0])
    with pytest.raises(ValueError, match="zeros"):
        frechet.cosines(np.zeros((1, 2)), left[:1])


def test_kl_by_hand():
    reference, generated = np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([[0.25, 0.75], [0.5, 0.5]])
    wanted = [0.5 * math.log(2) + 0.5 * math.log(2 / 3), math.log(2)]
    assert classes.kl(reference, generated, eps=0.0) == pytest.approx(wanted)
    assert classes.kl(reference, reference, eps=0.0) == pytest.approx([0, 0])
    assert classes.kl(reference, generated) == pytest.approx(wanted, abs=1e-5)
    assert (classes.kl(reference, generated) != wanted).all()


def test_softmax():
    assert classes.softmax(np.array([[0.0, math.log(3.0)], [1000.0, 1000.0]])) == pytest.approx(
        np.array([[0.25, 0.75], [0.5, 0.5]])
    )


def test_inception_score_by_hand():
    sure, unsure = np.eye(4), np.full((4, 4), 0.25)
    assert classes.inception_score(sure) == (pytest.approx(4.0), pytest.approx(0.0))
    assert classes.inception_score(unsure)[0] == pytest.approx(1.0)
    assert classes.inception_score(np.tile(np.eye(4)[0], (6, 1)))[0] == pytest.approx(1.0)
    # Two splits in order: classes {0, 1} and {2, 3} of one split each.
    assert classes.inception_score(sure, splits=2) == (pytest.approx(2.0), pytest.approx(0.0))
    # (0.75, 0.25) and its mirror: mean 0.5 each, KL = 0.75 ln 1.5 + 0.25 ln 0.5.
    mixed = np.array([[0.75, 0.25], [0.25, 0.75]])
    assert classes.inception_score(mixed)[0] == pytest.approx(math.exp(0.75 * math.log(1.5) + 0.25 * math.log(0.5)))
    with pytest.raises(ValueError, match="splits"):
        classes.inception_score(sure, splits=5)


def test_splits_are_shuffled_by_the_seed():
    some = classes.softmax(np.random.default_rng(0).standard_normal((40, 5)))
    assert classes.inception_score(some, splits=4, seed=2020) == classes.inception_score(some, splits=4, seed=2020)
    assert classes.inception_score(some, splits=4, seed=1) != classes.inception_score(some, splits=4, seed=2020)


@pytest.mark.parametrize(
    ("left", "right", "wanted"), [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("abc", "abc", 0)]
)
def test_edit_distance(left, right, wanted):
    assert speakers.edit_distance(left, right) == wanted == speakers.edit_distance(right, left)


def test_speakers_are_assigned_at_least_cost():
    reference = speakers.words_by_speaker([("a", "Hello there."), ("b", "Good morning, sir!"), ("a", "It's me")])
    assert reference == {"a": ["hello", "there", "it's", "me"], "b": ["good", "morning", "sir"]}
    swapped = {"1": reference["b"], "2": reference["a"]}
    assert speakers.cp_errors(reference, swapped) == (0, 7)
    wrong = {"1": ["good", "morning"], "2": ["hello", "here", "it's", "me"]}
    assert speakers.cp_errors(reference, wrong) == (2, 7)
    assert speakers.cp_errors(reference, wrong).rate == pytest.approx(2 / 7)


def test_a_speaker_too_few_or_too_many_faces_silence():
    reference = {"a": ["one", "two"], "b": ["three"]}
    assert speakers.cp_errors(reference, {"x": ["one", "two"]}) == (1, 3)
    assert speakers.cp_errors(reference, {"x": ["one", "two"], "y": ["three"], "z": ["four", "five"]}) == (2, 3)
    assert speakers.cp_errors(reference, {}) == (3, 3)
    assert math.isnan(speakers.cp_errors({}, {}).rate)


def test_words_of_the_wrong_speaker_count():
    reference = {"a": ["one", "two"], "b": ["three", "four"]}
    assert speakers.cp_errors(reference, {"x": ["one", "two", "three"], "y": ["four"]}) == (2, 4)


def test_characters_as_mova_counts_them():
    assert speakers.characters_by_speaker([("a", "Ha, ni hao!")]) == {"a": list("hanihao")}
    assert speakers.characters_by_speaker([("a", "你好。")]) == {"a": ["你", "好"]}


def _logits(*indices):
    return np.eye(21)[list(indices)] * 5


def test_desync_by_hand():
    assert desync.CLASSES[[0, 10, 20]].tolist() == [-2.0, 0.0, 2.0]
    # First windows say +0.2 and -0.4, last windows -0.2 and 0.
    found = desync.desync(_logits(11, 8), _logits(9, 10))
    assert found == pytest.approx([0.2, 0.2])
    assert desync.verse_bench_av_a(_logits(11, 9)) == pytest.approx(0.0)  # errors that cancel
    assert desync.windows(20) == (slice(0, 14), slice(6, 20))
    with pytest.raises(ValueError, match=r"4\.8 s"):
        desync.windows(13)
    with pytest.raises(ValueError, match="21"):
        desync.offsets(np.zeros((1, 5)))
