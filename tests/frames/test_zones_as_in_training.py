"""Times of new rows say their offset from UTC where those of the training did, in a frame as in a file."""

import pandas as pd
import pytest
from conftest import TINY, make_series

from anomaly import Detector, read_csv
from anomaly.errors import DataError


@pytest.fixture(scope="module")
def frame():
    made = make_series(n=200, spike=None).to_frame()
    return made if made.index.tz is not None else made.tz_localize("UTC")


@pytest.fixture(scope="module")
def detectors(frame, tmp_path_factory):
    """One of a frame, and one of a file, whose times say their offset."""
    path = tmp_path_factory.mktemp("zoned") / "zoned.csv"
    frame.to_csv(path, date_format="%Y-%m-%dT%H:%M:%SZ")
    fitted = [Detector(**TINY).fit(rows) for rows in (frame, read_csv(path))]
    for detector in fitted:
        detector.save(path.with_suffix(".anomaly"))
    return [*fitted, Detector.load(path.with_suffix(".anomaly"))]


def as_column(frame):
    return frame.reset_index()


# A frame without a zone, and the code that the message proposes.
NAIVE = {
    "an index": lambda frame: frame.tz_localize(None),
    "a column": lambda frame: as_column(frame.tz_localize(None)),
    "text": lambda frame: frame.set_axis(frame.index.strftime("%Y-%m-%d %H:%M:%S")),
    "periods": lambda frame: frame.tz_localize(None).to_period("h"),
    "datetimes": lambda frame: frame.set_axis(pd.Index([t.to_pydatetime() for t in frame.tz_localize(None).index], dtype=object)),
}


@pytest.mark.parametrize("naive", NAIVE.values(), ids=NAIVE)
def test_times_without_a_zone_are_refused_with_what_mends_them(frame, detectors, naive):
    for detector in detectors:
        given = naive(frame)
        with pytest.raises(DataError, match=r"^Times must say their offset from UTC, as in training\.") as refused:
            detector.score(given)
        code = str(refused.value).partition("Say it: ")[2].removesuffix(", or their own zone.")
        exec(code, {"pd": pd, "frame": given})  # as somebody would type it
        assert len(detector.score(given)) == len(frame)


def test_a_file_is_refused_where_a_frame_taught_that(frame, detectors, tmp_path):
    frame.tz_localize(None).to_csv(tmp_path / "naive.csv")
    for detector in detectors:
        with pytest.raises(DataError, match="Times must say their offset from UTC, as in training"):
            detector.score(str(tmp_path / "naive.csv"))


def test_other_zones_and_trainings_without_one_are_as_before(frame, detectors):
    assert len(detectors[0].score(frame.tz_convert("Asia/Tokyo"))) == len(frame)
    plain = Detector(**TINY).fit(frame.tz_localize(None))
    assert len(plain.score(frame.tz_localize(None))) == len(plain.score(frame)) == len(frame)
    counted = frame.reset_index(drop=True).assign(time=frame.index.as_unit("s").astype("int64"))
    assert len(Detector(**TINY).fit(counted).score(frame.tz_localize(None))) == len(frame)  # as of a file
    assert len(detectors[0].score(counted)) == len(frame)
    local = Detector(**TINY, timezone="Asia/Tokyo").fit(frame)
    assert local.score(frame.tz_convert("Asia/Tokyo").tz_localize(None)).times.tolist() == local.score(frame).times.tolist()
    assert frame.index[0].tzinfo is not None
