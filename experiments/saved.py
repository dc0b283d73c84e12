"""A run's settings, read back from its folder into its experiment's dataclass."""

import dataclasses
from types import ModuleType
from typing import Any

from experiments import (
    forecasting,
    gan,
    image_classification,
    language_model,
    sequence_to_sequence,
    tabular,
    text_classification,
    vae,
)
from jaxdl.runs.flagfile import read_flagfile
from jaxdl.runs.folder import RunFolder, read_json

EXPERIMENTS: dict[str, ModuleType] = {
    forecasting.NAME: forecasting,
    gan.NAME: gan,
    image_classification.NAME: image_classification,
    language_model.NAME: language_model,
    sequence_to_sequence.NAME: sequence_to_sequence,
    tabular.NAME: tabular,
    text_classification.NAME: text_classification,
    vae.NAME: vae,
}

_BOOLEANS = {"true": True, "false": False}


def experiment_of(folder: RunFolder) -> ModuleType:
    """The module of the experiment that a folder's run is of.

    Raises:
      FileNotFoundError, ValueError: the folder does not say, or it is none of
        ``EXPERIMENTS``.
    """
    about = read_json(folder.model)
    name = about.get("experiment") if isinstance(about, dict) else None
    if name not in EXPERIMENTS:
        raise ValueError(
            f"{folder.model} names the experiment {name!r}: known are "
            f"{', '.join(EXPERIMENTS)}."
        )
    return EXPERIMENTS[name]


def settings_of(folder: RunFolder, settings_class: type) -> Any:
    """The settings in ``flags.txt``; those it leaves out have their defaults.

    Raises:
      FileNotFoundError: there is no ``flags.txt``.
      ValueError: it holds a flag that the experiment has not, or a value that is
        none of the flag's type.
    """
    fields = {field.name: field for field in dataclasses.fields(settings_class)}
    values: dict[str, Any] = {}
    for name, text in read_flagfile(folder.flags).items():
        if name not in fields:
            raise ValueError(f"{folder.flags} holds --{name}, which is no flag here.")
        kind: Any = type(fields[name].default)
        try:
            values[name] = _BOOLEANS[text] if kind is bool else kind(text)
        except (ValueError, KeyError):
            raise ValueError(
                f"{folder.flags} holds --{name}={text}: {kind.__name__} is expected."
            ) from None
    return settings_class(**values)
