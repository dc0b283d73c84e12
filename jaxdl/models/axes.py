"""Logical axes: what each axis of a parameter counts, by the parameter's path.

A mesh with a ``model`` axis splits heads, hidden features and vocabulary over it
(tensor parallelism, Shoeybi et al. 2019): of two products in a row the first is cut
by its outputs, the second by its inputs, so that only their sum crosses devices.
"""

# (end of the path, what each axis counts); the first that fits is taken.
LOGICAL_AXES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"attention/(query|key|value)/kernel", ("width", "heads")),
    (r"attention/output/kernel", ("heads", "width")),
    (r"dense_in/kernel", ("width", "hidden")),
    (r"dense_in/bias", ("hidden",)),
    (r"dense_out/kernel", ("hidden", "width")),
    (r"table/embedding", ("vocabulary", "width")),
)
