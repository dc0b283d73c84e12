"""What all tests share."""

import os


def pytest_configure(config):
    """Compiling is most of what fast tests do, and a quarter of it LLVM's optimising,
    which changes no result. Slow drills take programs as users get them."""
    flag = "--xla_backend_optimization_level"
    given = os.environ.get("XLA_FLAGS", "")
    if config.option.markexpr == "not slow" and flag not in given:
        os.environ["XLA_FLAGS"] = f"{given} {flag}=0".strip()


def pytest_collection_modifyitems(items):
    """What takes minutes is begun first: of two workers neither then waits long for
    the other in the end."""
    items.sort(key=lambda item: "first" not in item.keywords)
