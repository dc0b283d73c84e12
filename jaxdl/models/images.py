"""What every model of images asks of its input."""

from jaxtyping import Array, Shaped


def check_images(x: Shaped[Array, "..."]) -> None:
    """Refuse whatever is not [batch, height, width, channels].

    Raises:
      ValueError: unless there are four axes.
    """
    if x.ndim != 4:
        raise ValueError(
            "a model of images takes [batch, height, width, channels], but the input "
            f"is {x.shape}: use mlp or logistic_regression for other data"
        )
