"""Our labels, metric and Sub-PCA are those of the published table: each file's figure is met."""

from __future__ import annotations

import pytest

from benchmarks.nab import PUBLISHED, measured
from benchmarks.nab_series import SERIES, others, public_folder_has

PUBLISHED_SUB_PCA = {6: 0.228, 8: 0.803, 11: 0.877, 15: 0.088, 16: 0.375, 17: 0.408, 20: 0.123, 22: 0.513}
PUBLISHED_SUB_PCA |= {23: 0.603, 24: 0.865, 28: 0.957}
"""TSB-AD's table, by the number of the series."""


@pytest.fixture(autouse=True)
def _public_files() -> None:
    for watched in SERIES:
        if not public_folder_has(f"anomaly/nab/data/{watched.file}"):
            pytest.skip(f"anomaly/nab/data/{watched.file} is not there")


def test_sub_pca_gets_the_published_figure_on_each_file() -> None:
    got = measured("sub_pca", SERIES)
    expected = {watched.name: PUBLISHED_SUB_PCA[watched.number or 0] for watched in SERIES}
    assert got == pytest.approx(expected, abs=0.002)
    assert sum(got.values()) / len(got) == pytest.approx(PUBLISHED["sub_pca"], abs=0.001)


def test_every_labelled_file_is_in_one_of_the_two_sets() -> None:
    rest = others()
    assert (len(SERIES), len(rest)) == (11, 12)
    assert not {watched.file for watched in SERIES} & {watched.file for watched in rest}
    taxi = next(watched for watched in SERIES if watched.name == "nyc_taxi")
    assert taxi.labels(len(taxi.values())).sum() == 1030  # as TSB-AD's table counts
    assert all(watched.panel().series == (watched.name,) for watched in rest)
