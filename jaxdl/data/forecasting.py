"""What a forecaster does to windows of a series, and to its network's outputs."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxdl.data import series as series_room
from jaxdl.data.series import Series, SeriesColumns


@dataclasses.dataclass(frozen=True)
class Forecasting:
    """What is done to windows before a network, and to its outputs after it.

    Attributes:
      columns: how a table becomes features.
      mean, deviation: of each feature on the training part.
      window: how many rows a window holds.
      sampling_rate: rows of the series from one in it to the next.
      horizons: how many rows after a window's last the forecast values lie.
      change: whether networks tell the change from the window's last value, else
        the value.
      relative: whether they see every feature relative to the window's last, beside
        that last (NLinear, Zeng et al. 2023; like reversible normalisation, Kim et
        al. 2022, it takes a slowly moving level out), else the feature.
      scale: the deviation, on the training part, of what networks tell.
    """

    columns: SeriesColumns
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    window: int
    sampling_rate: int
    horizons: tuple[int, ...]
    change: bool
    relative: bool
    scale: float

    @property
    def span(self) -> int:
        """Rows of the series from a window's first to its last."""
        return (self.window - 1) * self.sampling_rate + 1

    @property
    def input_shape(self) -> tuple[int, int]:
        """Of what networks see."""
        return self.window, len(self.mean) * (2 if self.relative else 1)

    def standardised(
        self, inputs: Float[ArrayLike, "*batch features"]
    ) -> Float[Array, "*batch features"]:
        """Features in deviations from their mean; the mean where none is known yet."""
        mean, deviation = np.array([self.mean, self.deviation], np.float32)
        found = (jnp.asarray(inputs, jnp.float32) - mean) / deviation
        return jnp.where(jnp.isnan(found), 0.0, found)

    def apply(self, inputs: Any) -> Float[Array, "batch time inputs"]:
        """Stored windows [batch, time, features] as networks see them; of a table
        (column name to cells), the window that ends with its last row."""
        found = self.standardised(self._stored(inputs))
        if not self.relative:
            return found
        last = jnp.broadcast_to(found[:, -1:], found.shape)
        return jnp.concatenate([found - last, last], axis=-1)

    def restore(
        self, outputs: Float[Array, "batch horizons"], inputs: Any
    ) -> Float[Array, "batch horizons"]:
        """A network's outputs for such inputs, in the target's own unit."""
        mean = jnp.float32(self.mean[0])
        if not self.change:
            return mean + self.scale * outputs
        last = jnp.asarray(self._stored(inputs), jnp.float32)[:, -1, :1]
        return jnp.where(jnp.isnan(last), mean, last) + self.scale * outputs

    def latest(self, series: Series) -> Float[np.ndarray, "1 window features"]:
        """The window that ends with a series' last row.

        Raises:
          ValueError: the series is shorter than a window.
        """
        if len(series) < self.span:
            raise ValueError(
                f"there are {len(series)} rows, but a window reaches over {self.span}"
            )
        return series.values[-self.span :: self.sampling_rate][None]

    def _stored(self, inputs: Any) -> Any:
        """Stored windows as they are; that of a table."""
        if isinstance(inputs, Mapping):
            return self.latest(self.columns.encode(inputs))
        return inputs

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, which ``from_json`` turns back exactly."""
        return {"kind": "forecasting", **dataclasses.asdict(self)}


def from_json(values: Mapping[str, Any]) -> Forecasting:
    """What ``Forecasting.to_json`` wrote.

    Raises:
      ValueError: a part is missing.
    """
    try:
        return Forecasting(
            columns=series_room.columns_from_json(values["columns"]),
            mean=tuple(values["mean"]),
            deviation=tuple(values["deviation"]),
            window=int(values["window"]),
            sampling_rate=int(values["sampling_rate"]),
            horizons=tuple(values["horizons"]),
            change=bool(values["change"]),
            relative=bool(values["relative"]),
            scale=float(values["scale"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"the forecasting windows are broken: {error!r}") from error
