"""Buckets and shares (spec/evaluation#distribution)."""

import pytest

from ff_proxy.evaluation.bucketing import NO_BUCKET, bucket_of, share_of, thresholds


@pytest.mark.parametrize(
    ("bucket_by", "value", "bucket"),
    [("identifier", "test", 57), ("first name", "José", 32), ("identifier", "日本", 31)],
)
def test_buckets_are_those_of_every_sdk(bucket_by: str, value: str, bucket: int) -> None:
    """The check values that the specification gives."""
    assert bucket_of(bucket_by, value) == bucket


def test_a_lone_surrogate_has_the_bucket_of_its_replacement() -> None:
    """No text is without a bucket."""
    assert bucket_of("identifier", "\udc00") == bucket_of("identifier", "\ufffd")


@pytest.mark.parametrize(
    ("weights", "bucket", "share"),
    [
        ((50, 50), 1, 0),
        ((50, 50), 50, 0),
        ((50, 50), 51, 1),
        ((50, 50), 100, 1),
        ((0, 100), 1, 1),
        ((10, 20), 31, 1),
        ((10, 20, 5), 100, 2),
        ((200, 50), 100, 0),
        ((30, -20, 60), 20, 0),
        ((30, -20, 60), 31, 2),
        ((-5, 5, 50), 1, 2),
        ((7,), 99, 0),
        ((50, 50), NO_BUCKET, 1),
        ((500, 1), NO_BUCKET, 1),
    ],
)
def test_shares(weights: tuple[int, ...], bucket: float, share: int) -> None:
    """The first running total that reaches the bucket wins, the last share where none does."""
    assert share_of(thresholds(weights), bucket) == share
