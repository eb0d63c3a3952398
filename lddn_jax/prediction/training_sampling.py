"""How training records were sampled: a model counts in samples, so it predicts only records that are sampled alike."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lddn_jax.checks import is_number
from lddn_jax.data.records import Record

LARGEST_DIFFERENCE = 0.01  # of sampling intervals, as a share
_DECIMATED = re.compile(r"decimated by (\d+)")  # a note of `Record.decimate`


@dataclass(frozen=True)
class TrainingSampling:
    """Sampling interval and decimation of the records that a model was fitted to.

    Attributes:
        sample_time: Sampling interval, after decimation; None if the records have no times.
        decimate: Factor that the records were decimated by.
    """

    sample_time: float | None = None
    decimate: int = 1

    @classmethod
    def of(cls, records: Sequence[Record]) -> "TrainingSampling":
        """Returns the sampling of the longest record.

        Example:
            >>> import numpy as np
            >>> t = 0.1 * np.arange(500)
            >>> record = Record({}, {"y": np.sin(t)[:, None]}, time=t)
            >>> TrainingSampling.of([record.decimate(5)])
            TrainingSampling(sample_time=0.5, decimate=5)
        """
        longest = max(records, key=len)
        known = longest.sample_time
        return cls(None if known is None else float(f"{known:.6g}"), _factor(longest))

    def about(self, records: Sequence[Record]) -> str | None:
        """Returns a warning if records are sampled otherwise than those of the training, or None.

        Intervals are compared where both are known, and factors of decimation otherwise.

        Args:
            records: The records to predict.
        """
        other = TrainingSampling.of(records)
        if self.sample_time is not None and other.sample_time is not None:
            if np.isclose(self.sample_time, other.sample_time, rtol=LARGEST_DIFFERENCE, atol=0):
                return None
            given = f"has one sample every {other.sample_time:.6g}"
            trained = f"on one every {self.sample_time:.6g}{self._decimated}"
        elif self.decimate != other.decimate:
            given = f"is decimated by {other.decimate}" if other.decimate > 1 else "is not decimated"
            trained = f"on records decimated by {self.decimate}" if self.decimate > 1 else "without decimation"
        else:
            return None
        return f"the record {given}, and the model was trained {trained}: {self._remedy(other)}"

    @property
    def _decimated(self) -> str:
        return f", after decimation by {self.decimate}" if self.decimate > 1 else ""

    def _remedy(self, other: "TrainingSampling") -> str:
        """What to do, with the factor that gives the interval of the training if there is one."""
        factor = self.decimate
        if self.sample_time is not None and other.sample_time is not None:
            ratio = other.decimate * self.sample_time / other.sample_time
            factor = round(ratio)
            if factor < 1 or abs(ratio - factor) > LARGEST_DIFFERENCE * ratio:
                return "its predictions mean nothing at another rate; sample the record alike"
        if factor == 1:
            return "leave out the decimation"
        return f"decimate it by {factor}, by --decimate {factor} or Reading(decimate={factor})"

    def to_dict(self) -> dict[str, Any]:
        """Returns a dict of plain Python values for `json.dump`."""
        return {"sample_time": self.sample_time, "decimate": self.decimate}

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> "TrainingSampling":
        """Returns the sampling of which `to_dict` returned `given`.

        Raises:
            ValueError: If `given` is something else.
        """
        interval, factor = given["sample_time"], given["decimate"]
        if not (interval is None or is_number(interval, above=0)) or not is_number(factor, int, above=0):
            raise ValueError(f"sampling interval {interval!r}, decimated by {factor!r}")
        return cls(interval, factor)


def _factor(record: Record) -> int:
    """The factor that a record was decimated by, from its notes."""
    return int(np.prod([int(found[1]) for note in record.notes if (found := _DECIMATED.match(note))], initial=1))
