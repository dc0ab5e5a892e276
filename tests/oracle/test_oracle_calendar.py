"""Calendar features against the standard library's dates and pandas."""

from __future__ import annotations

import holidays
import numpy as np
import pandas as pd
import pytest

from training.core.windows import Times
from training.features.added import Block
from training.features.calendar import Calendar

MOMENTS = {
    "quarter hours over a new year": pd.date_range("2019-12-20 00:15", periods=3000, freq="15min"),
    "days before 1970": pd.date_range("1960-02-01", periods=3000, freq="D"),
    "months": pd.date_range("1999-12-01", periods=240, freq="MS"),
}


@pytest.mark.parametrize("name", MOMENTS)
def test_calendar_equals_plain_dates(name: str) -> None:
    index = MOMENTS[name]
    calendar = Calendar(country="FR", year=True)
    times: Times = index.to_numpy()[None]
    block = Block(values=np.empty((1, len(index), 0)), times=times, columns=())
    frame = pd.DataFrame(calendar.compute_added(block)[0], columns=list(calendar.added()))
    public = holidays.country_holidays("FR")
    hour = 2 * np.pi * (index.hour * 60 + index.minute) / (24 * 60)
    expected = {
        "calendar_hour": index.hour,
        "calendar_weekday": index.weekday,
        "calendar_day_of_month": index.day,
        "calendar_month": index.month,
        "calendar_quarter": index.quarter,
        "calendar_weekend": index.weekday >= 5,
        "calendar_hour_sin": np.sin(hour),
        "calendar_hour_cos": np.cos(hour),
        "calendar_weekday_sin": np.sin(2 * np.pi * index.weekday / 7),
        "calendar_weekday_cos": np.cos(2 * np.pi * index.weekday / 7),
        "calendar_month_sin": np.sin(2 * np.pi * (index.month - 1) / 12),
        "calendar_month_cos": np.cos(2 * np.pi * (index.month - 1) / 12),
        "calendar_holiday": [day in public for day in index.date],
        "calendar_day_of_year": index.dayofyear,
        "calendar_year_sin": np.sin(2 * np.pi * (index.dayofyear - 1) / 366),
        "calendar_year_cos": np.cos(2 * np.pi * (index.dayofyear - 1) / 366),
    }
    assert list(frame) == list(expected)
    for column, values in expected.items():
        np.testing.assert_allclose(
            frame[column].to_numpy(), np.asarray(values, dtype=float), atol=1e-15, err_msg=column
        )
