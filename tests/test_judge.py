"""The judge: tables of hits, intervals, paired tests, Holm's rule."""

from __future__ import annotations

import itertools

import pytest
import torch

from hyperrank import evaluation
from hyperrank.evaluation import bootstrap_interval, holm, sign_flip_test, top_k_hits
from hyperrank.pairs import pair_set
from hyperrank.scorers import Constant


def pairs_of(mask):
    query, candidate = mask.nonzero().unbind(1)
    return pair_set(query, candidate, n_queries=mask.shape[0], n_candidates=mask.shape[1])


def test_hits_of_queries_with_truth_only():
    truth = pair_set(torch.tensor([1, 1, 3]), torch.tensor([0, 4, 2]), n_queries=5, n_candidates=5)
    known = pair_set(torch.tensor([1]), torch.tensor([3]), n_queries=5, n_candidates=5)
    hits = top_k_hits(Constant(torch.arange(5.0)), truth, 2, known=known)
    assert hits.query.tolist() == [1, 3]
    assert hits.candidates.tolist() == [[4, 2], [4, 3]]
    assert hits.hit.tolist() == [[True, False], [False, False]]
    assert hits.n_truth.tolist() == [2, 1]


def test_ended_lists_hold_no_hits():
    """Place -1 must not be read as the last candidate of the query before."""
    truth = pair_set(torch.tensor([0, 1]), torch.tensor([2, 0]), n_queries=2, n_candidates=3)
    known = pairs_of(torch.tensor([[False] * 3, [True] * 3]))
    hits = top_k_hits(Constant(torch.zeros(3)), truth, 3, known=known)
    assert hits.candidates[1].tolist() == [-1, -1, -1]
    assert not hits.hit[1].any()


def test_intervals_cover(seeded):
    """300 samples of 60 skewed values at level 0.9: 270 expected, standard deviation 5.2; the
    bootstrap at this size is a little narrow, so 240 means a defect and not bad luck."""
    inside = 0
    for number in range(300):
        values = torch.rand(60, 1, generator=seeded(number), dtype=torch.float64).square()
        low, high = bootstrap_interval(
            values, generator=seeded(1000 + number), resamples=200, level=0.9
        )
        inside += bool(low < 1 / 3 < high)
    assert 240 <= inside <= 290


def test_interval_width_is_that_of_theory(seeded):
    values = torch.randn(2000, 2, generator=seeded(0), dtype=torch.float64)
    low, high = bootstrap_interval(values, generator=seeded(1), resamples=4000)
    wanted = 2 * 1.96 * values.std(0) / 2000**0.5
    torch.testing.assert_close(high - low, wanted, rtol=0.06, atol=0)


def test_undefined_values_are_left_out(seeded):
    values = torch.rand(50, 1, generator=seeded(0), dtype=torch.float64)
    holes = torch.cat([values, torch.full((50, 1), torch.nan, dtype=torch.float64)])
    low, high = bootstrap_interval(holes, generator=seeded(1))
    plain_low, plain_high = bootstrap_interval(values, generator=seeded(1))
    torch.testing.assert_close(high - low, plain_high - plain_low, rtol=0.2, atol=0)
    both = torch.cat([holes, torch.full((100, 1), torch.nan, dtype=torch.float64)], dim=1)
    assert bootstrap_interval(both, generator=seeded(1)).low.isnan().tolist() == [False, True]


def test_weights_count_like_repeats_drawn_together(seeded):
    values = torch.rand(40, 2, generator=seeded(0), dtype=torch.float64)
    times = torch.randint(1, 5, (40,), generator=seeded(1))
    low, high = bootstrap_interval(values, generator=seeded(2), weights=times, resamples=4000)
    mean = (values * times[:, None]).sum(0) / times.sum()
    assert ((low < mean) & (mean < high)).all()
    # the delta method's variance of a ratio of sums over queries
    spread = (((values - mean) * times[:, None]) ** 2).sum(0).sqrt() / times.sum()
    torch.testing.assert_close(high - low, 2 * 1.96 * spread, rtol=0.1, atol=0)
    even = bootstrap_interval(values, generator=seeded(2), weights=torch.full((40,), 3.0))
    plain = bootstrap_interval(values, generator=seeded(2))
    torch.testing.assert_close(torch.stack(even), torch.stack(plain))


def test_blocks_do_not_change_what_one_value_shows(monkeypatch, seeded):
    values = torch.full((30, 1), 0.25, dtype=torch.float64)
    monkeypatch.setattr(evaluation, "CELLS_AT_ONCE", 100)
    assert torch.stack(bootstrap_interval(values, generator=seeded(0))).tolist() == [[0.25]] * 2


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_queries_have_no_interval(n, seeded):
    low, high = bootstrap_interval(torch.rand(n, 3).double(), generator=seeded(0))
    assert low.isnan().all()
    assert high.isnan().all()


def test_bad_levels_and_draws_are_refused(seeded):
    values = torch.rand(4, 1).double()
    with pytest.raises(ValueError, match=r"level must lie between 0 and 1, got 95"):
        bootstrap_interval(values, generator=seeded(0), level=95.0)
    with pytest.raises(ValueError, match="resamples must be at least 2, got 1"):
        bootstrap_interval(values, generator=seeded(0), resamples=1)
    with pytest.raises(ValueError, match="flips must be at least 1, got 0"):
        sign_flip_test(values, generator=seeded(0), flips=0)


def test_few_differences_are_tested_exactly(seeded):
    values = [0.3, -0.1, 0.25, 0.4, 0.0, 0.15]
    flips = list(itertools.product([1, -1], repeat=len(values)))
    sums = [abs(sum(s * v for s, v in zip(signs, values, strict=True))) for signs in flips]
    wanted = sum(s >= abs(sum(values)) - 1e-12 for s in sums) / len(sums)
    found = sign_flip_test(torch.tensor(values).double()[:, None], generator=seeded(0))
    assert found.tolist() == pytest.approx([wanted])


def test_many_differences_are_tested_by_draws(seeded):
    from scipy import stats

    values = torch.randn(300, 3, generator=seeded(0), dtype=torch.float64)
    values += torch.tensor([0.0, 0.1, 0.5])
    found = sign_flip_test(values, generator=seeded(1))
    wanted = stats.ttest_1samp(values.numpy(), 0.0).pvalue
    assert found.tolist() == pytest.approx(wanted.tolist(), abs=0.015)
    assert found[2] == pytest.approx(1 / 10_001)


def test_no_difference_is_no_evidence(seeded):
    assert sign_flip_test(torch.zeros(50, 2).double(), generator=seeded(0)).tolist() == [1.0, 1.0]
    nothing = torch.full((50, 1), torch.nan).double()
    assert sign_flip_test(nothing, generator=seeded(0)).tolist() == [1.0]


def test_p_values_are_uniform_without_a_difference(seeded):
    """400 null tests at 0.05: 20 expected, standard deviation 4.4; budget three of them."""
    values = torch.randn(80, 400, generator=seeded(3), dtype=torch.float64)
    found = sign_flip_test(values, generator=seeded(4), flips=2000)
    assert 7 <= int((found <= 0.05).sum()) <= 33


def test_holm_by_hand():
    """Sorted 0.01, 0.02, 0.03, 0.2 times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.2; never falling."""
    found = holm(torch.tensor([0.03, 0.01, 0.2, 0.02], dtype=torch.float64))
    assert found.tolist() == pytest.approx([0.06, 0.04, 0.2, 0.06])
    assert holm(torch.tensor([0.6, 0.9]).double()).tolist() == [1.0, 1.0]
    assert holm(torch.tensor([]).double()).tolist() == []
