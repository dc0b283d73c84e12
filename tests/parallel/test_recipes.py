"""README's recipes for clusters, as far as one machine can check them."""

import dataclasses
import shlex
import subprocess

import yaml

from experiments import image_classification
from jaxdl.parallel.cluster import Address, Asked, find
from tests.experiments.shared import readme_block


def flags_of(words):
    """Flags of an experiment's command, each of which the experiment has."""
    assert "experiments.image_classification" in words
    given = dict(w[2:].split("=", 1) for w in words if w.startswith("--"))
    known = {field.name for field in dataclasses.fields(image_classification.Settings)}
    return {name: value for name, value in given.items() if name in known}


def test_a_jobset_names_the_coordinator_that_its_pods_will_have():
    about = yaml.safe_load(readme_block("jobset"))
    assert (about["apiVersion"], about["kind"]) == (
        "jobset.x-k8s.io/v1alpha2",
        "JobSet",
    )
    (job,) = about["spec"]["replicatedJobs"]
    pods = job["template"]["spec"]
    # All pods must run at once, and none may be started again alone.
    assert pods["parallelism"] == pods["completions"] == 2
    assert (pods["backoffLimit"], job["replicas"]) == (0, 1)
    pod = pods["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    (container,) = pod["containers"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    words = shlex.split(container["command"][-1])
    assert words[0] == "exec"  # signals reach Python
    given = flags_of(words)
    assert given["process_id"] == "$JOB_COMPLETION_INDEX"
    # JobSet's hostnames: <jobset>-<job>-<job's index>-<pod's index>.<jobset>
    name = about["metadata"]["name"]
    asked = Asked(
        coordinator=given["coordinator"], count=int(given["process_count"]), index=1
    )
    host = f"{name}-{job['name']}-0-0.{name}"
    assert find(asked, {}) == Address(host, 1234, pods["parallelism"], 1)


def test_shell_recipes_parse_and_use_flags_that_there_are():
    for name, expected in (
        ("slurm", {"workdir"}),
        ("tpu", {"distributed", "workdir"}),
    ):
        block = readme_block(name)
        checked = subprocess.run(
            ["bash", "-n"], input=block, capture_output=True, text=True
        )
        assert checked.returncode == 0, checked.stderr
        command = block[block.index("python -m") :].replace("'", "")
        assert set(flags_of(shlex.split(command))) == expected


def test_slurm_starts_one_task_a_node_by_srun():
    lines = readme_block("slurm").splitlines()
    assert lines[0] == "#!/bin/bash"
    assert "#SBATCH --ntasks-per-node=1" in lines
    assert lines[-1].startswith("srun python -m ")
