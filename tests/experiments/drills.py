"""Short runs of every training experiment, for drills: seconds of steps, each with
noise, checks and saves that could go astray."""

_SHORT = ("--epochs=0", "--batch_size=32", "--save_every=3")
_OFTEN = ("--evaluate_every=10", "--save_every=3")

# Two seeds as one program, each on a core of its own.
SEEDS = (
    *("--seeds=2", "--model=mlp", "--max_steps=120", *_SHORT, "--evaluate_every=10"),
    *("--dropout=0.3", "--patience=6"),
)

CASES: dict[str, tuple[str, ...]] = {
    # Saving every 3 of 120 steps has most kills fall into or beside a save.
    "image_classification": (
        *("--model=mlp", "--max_steps=120", *_SHORT, "--evaluate_every=10"),
        *("--dropout=0.3", "--ema_decay=0.9", "--optimizer=adamw"),
        *("--weight_decay=0.01", "--augment=shift=1", "--monitor=loss"),
    ),
    "language_model": (
        *("--max_steps=60", "--context=32", "--width=32", "--layers=2", *_OFTEN),
        *("--batch_size=8", "--dropout=0.1"),
    ),
    "tabular": ("--max_steps=120", "--ema_decay=0.9", *_OFTEN),
    "text_classification": (
        *("--model=gru", "--length=32", "--hidden=16", "--width=16", "--max_steps=60"),
        *("--vocabulary=2000", "--recurrent_dropout=0.2", "--bidirectional"),
        *(*_SHORT, "--evaluate_every=20"),
    ),
    "vae": (
        *("--max_steps=120", *_SHORT, "--evaluate_every=10", "--dropout=0.2"),
        *("--ema_decay=0.9", "--kl_warmup_steps=40", "--latents=4"),
        "--importance_samples=4",
    ),
    "forecasting": ("--max_steps=120", "--epochs=0", "--ema_decay=0.9", *_OFTEN),
    "gan": (
        *("--max_steps=40", "--batch_size=16", "--channels=8", "--latents=8"),
        *("--evaluate_every=5", "--save_every=3"),
    ),
    "sequence_to_sequence": (
        *("--max_steps=60", "--examples=1000", "--width=16", "--layers=1"),
        *(*_SHORT, "--evaluate_every=10", "--dropout=0.1"),
    ),
}
