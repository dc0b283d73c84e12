"""A dry run: everything built, one step, one check, nothing saved."""

import jax

from jaxdl.runs import screen
from jaxdl.runs.machine import Machine
from jaxdl.train.state import size_bytes
from jaxdl.train.task import Plan, Task, layout


def dry_run(task: Task, plan: Plan) -> int:
    """Print shapes and memory, take a step and a check; the exit code."""
    machine = Machine.of(task, plan)
    screen.show_start(task, machine)
    state = machine.state()
    to = screen.console()
    screen.state_table(layout(state), to)
    batch = machine.feed(0)
    compiled = jax.jit(task.step, donate_argnums=0).lower(state, batch).compile()
    memory = compiled.memory_analysis()
    parts = {
        "state": sum(row[-1] for row in layout(state)),
        "batch": size_bytes(batch),
    }
    if memory is not None:
        parts["intermediate values of a step"] = memory.temp_size_in_bytes
    for name, count in parts.items():
        to.print(f"memory of {name}: {count / 2**20:,.1f} MiB")
    to.print(f"memory in all, about {sum(parts.values()) / 2**20:,.1f} MiB")
    state, metrics = machine.way.step(task.step)(state, batch)
    loss = jax.device_get(metrics["loss"])
    to.print(f"one step: loss {loss.total / loss.count:.4f}")
    values = machine.measure(state, machine.checks(task.data.validation))
    shown = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
    to.print(f"one check: {shown}")
    to.print(
        f"{plan.steps} steps of {plan.batch_size} examples, {machine.steps_per_call} a "
        f"dispatch, a check every {plan.evaluate_every}; nothing was saved"
    )
    return 0
