"""Let a trained language model write on from a prompt.

--temperature below 1 keeps to what is likely, above 1 dares more; --greedy always
takes the likeliest; --top_k and --top_p leave the unlikely out.
"""

import dataclasses
import json
import math

from experiments import flags, language_model
from experiments.flags import option
from jaxdl import runs
from jaxdl.data.symbols import Symbols
from jaxdl.runs import language
from jaxdl.runs.text import printable_lines

NAME = "generate"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What ``generate`` lets one set."""

    run: str = option("", "folder of a language_model run")
    prompt: str = option("", "the text to begin with")
    length: int = option(400, "tokens to write: characters, or words")
    temperature: float = option(0.8, "how random; 0 is greedy")
    top_k: int = option(0, "draw from so many of the likeliest; 0: all")
    top_p: float = option(1.0, "draw from the likeliest that add up to this share")
    greedy: bool = option(False, "always the likeliest; nothing is drawn")
    seed: int = option(0, "of what is drawn")
    json: bool = option(False, "print JSON, and nothing else, on stdout")
    traceback: bool = option(False, "show the traceback of an error")


def generate(settings: Settings) -> dict[str, str]:
    """What the run writes: ``run``, ``prompt`` and ``text``, what follows the prompt.

    Raises:
      FileNotFoundError, ValueError: in one line, for a run, a prompt or a number
        that cannot be used.
    """
    _check(settings)
    loaded = runs.load(settings.run)
    known = loaded.preprocess
    if loaded.experiment != language_model.NAME or not isinstance(known, Symbols):
        raise ValueError(
            f"{settings.run} is a run of {loaded.experiment}, which writes no text: "
            f"give one of {language_model.NAME}."
        )
    prompt = language.check_prompt(settings.prompt, known)
    (text,) = language.continued(
        loaded.model,
        loaded.params,
        known,
        prompt,
        settings.length,
        seed=settings.seed,
        temperatures=(0.0 if settings.greedy else settings.temperature,),
        top_k=settings.top_k,
        top_p=settings.top_p,
    )
    return {"run": str(loaded.folder.path), "prompt": prompt, "text": text}


def _check(settings: Settings) -> None:
    if not settings.run:
        raise ValueError("--run is missing: give the folder of a run.")
    for name, least in (("length", 1), ("top_k", 0), ("temperature", 0), ("seed", 0)):
        number = getattr(settings, name)
        if not (number >= least and math.isfinite(number)):
            raise ValueError(f"--{name} is {number}: give {least} or more.")
    if not 0 < settings.top_p <= 1:
        raise ValueError(f"--top_p is {settings.top_p}: give a share above 0, up to 1.")


def main(settings: Settings) -> int:
    """Print the prompt and what the run writes after it."""
    runs.prepare()
    written = generate(settings)
    if settings.json:
        print(json.dumps(written, indent=2, ensure_ascii=False))
    else:
        print(printable_lines(f"{written['prompt']}{written['text']}"))
    return 0


if __name__ == "__main__":
    flags.run(NAME, Settings, main, __doc__)
