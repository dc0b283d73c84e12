"""Short runs of every training experiment, for drills: seconds of steps, each with
noise, checks and saves that could go astray."""

_SHORT = ("--epochs=0", "--batch_size=32", "--save_every=3")

CASES: dict[str, tuple[str, ...]] = {
    # Saving every 3 of 240 steps has most kills fall into or beside a save.
    "image_classification": (
        *("--model=mlp", "--max_steps=240", *_SHORT, "--evaluate_every=10"),
        *("--dropout=0.3", "--ema_decay=0.9", "--optimizer=adamw"),
        *("--weight_decay=0.01", "--augment=shift=1", "--monitor=loss"),
    ),
}
