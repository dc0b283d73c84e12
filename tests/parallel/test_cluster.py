"""Which processes belong together: flags, the launcher, and what schedulers leave."""

import os
import socket
import subprocess
import sys
import time

import pytest

from jaxdl.parallel import cluster
from jaxdl.parallel.cluster import Address, Asked, detect, find, join

SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_NODELIST": "localhost",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "1",
}
MPI = {
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1:34911",
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": "0",
}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}
TPU = {"TPU_ML_PLATFORM": "JAX"}


def plain_environment():
    """That of a process on the CPU; JAX warns of proxies."""
    kept = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    return {**kept, "JAX_PLATFORMS": "cpu"}


def test_flags_and_the_launcher_say_which_process_this_is():
    asked = Asked(coordinator="10.0.0.1:1234", count=4, index=3)
    assert find(asked, {}) == Address("10.0.0.1", 1234, 4, 3)
    told = {cluster.COORDINATOR: "[::1]:99", cluster.COUNT: "2", cluster.INDEX: "0"}
    found = find(Asked(), told)
    assert found == Address("::1", 99, 2, 0)
    assert found.text == "[::1]:99"
    assert find(asked, told).port == 1234
    assert find(Asked(mode="off", coordinator="a:1", count=2, index=0), told) is None
    assert find(Asked(), {}) is None


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"mode": "maybe"}, "--distributed=maybe: give one of auto, off, on"),
        ({"count": 2, "index": 0}, "--coordinator missing.*belong together"),
        ({"coordinator": "a:1"}, "--process_count, --process_id missing"),
        ({"coordinator": "a", "count": 2, "index": 0}, "--coordinator=a: give HOST"),
        ({"coordinator": "a:x", "count": 2, "index": 0}, "give HOST:PORT"),
        ({"coordinator": ":80", "count": 2, "index": 0}, "give HOST:PORT"),
        ({"coordinator": "::1:80", "count": 2, "index": 0}, "give HOST:PORT"),
        ({"coordinator": "a:70000", "count": 2, "index": 0}, "give HOST:PORT"),
        ({"coordinator": "a:1", "count": -2, "index": 0}, "=-2: give the number"),
        ({"coordinator": "a:1", "count": 2, "index": 2}, "=2: 2 .* numbered 0 to 1"),
        ({"coordinator": "a:1", "count": 2, "index": -3}, "numbered 0 to 1"),
        ({"heartbeat": 0}, "--heartbeat=0: give a second or more"),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(asked, message):
    with pytest.raises(ValueError, match=message) as raised:
        find(Asked(**asked), {})
    assert "\n" not in str(raised.value)


def test_the_launcher_s_variables_are_checked_too():
    told = {cluster.COORDINATOR: "a:1", cluster.COUNT: "two", cluster.INDEX: "0"}
    with pytest.raises(ValueError, match="JAXDL_PROCESS_COUNT=two: give the number"):
        find(Asked(), told)


@pytest.mark.parametrize(
    ("environ", "kind"),
    [
        ({}, ""),
        (SLURM, "SLURM"),
        ({**SLURM, "SLURM_NTASKS": "1"}, ""),
        # A shell in an allocation, or a batch script without srun.
        ({k: v for k, v in SLURM.items() if k != "SLURM_STEP_NODELIST"}, ""),
        (MPI, "Open MPI"),
        ({**MPI, "OMPI_COMM_WORLD_SIZE": "1"}, ""),
        (POD, "Kubernetes"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, ""),  # a notebook's pod
        (TPU, "Cloud TPU"),
        ({**TPU, "TPU_WORKER_HOSTNAMES": "a,b"}, "Cloud TPU"),
        ({**TPU, "TPU_WORKER_HOSTNAMES": "a"}, ""),
        ({**TPU, "TPU_SKIP_MDS_QUERY": "1"}, ""),
    ],
)
def test_clusters_are_known_by_their_variables(environ, kind, monkeypatch):
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: name)
    assert detect(environ) == kind


def test_kubernetes_needs_its_package(monkeypatch):
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
    assert detect(POD) == ""
    with pytest.raises(ValueError, match=r"jax\[k8s\].*give --coordinator"):
        detect(POD, "on")


def test_alone_nothing_is_joined(monkeypatch):
    def never(**_):
        raise AssertionError

    monkeypatch.setattr(cluster.jax.distributed, "initialize", never)
    join(Asked(), {})
    join(Asked(mode="off"), {**SLURM, cluster.COORDINATOR: "a:1"})
    join(Asked(coordinator="a:1", count=1, index=0), {})


def test_nobody_listening_is_said_in_time():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and not listening
        port = taken.getsockname()[1]
        asked = Asked(coordinator=f"127.0.0.1:{port}", count=2, index=1)
        began = time.monotonic()
        with pytest.raises(OSError, match=f"nobody answered at 127.0.0.1:{port} for"):
            join(asked, {}, wait=0.3)
        assert time.monotonic() - began < 10


def test_process_0_listens_at_one_address():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        asked = Asked(coordinator=f"127.0.0.1:{port}", count=2, index=0)
        with pytest.raises(OSError, match=f"cannot listen at 127.0.0.1:{port}"):
            join(asked, {})
    bind = cluster._bind
    assert bind(Address("localhost", port, 2, 0), {}).startswith(
        ("127.0.0.1:", "[::1]:")
    )
    with pytest.raises(OSError, match="must name its machine and a free port"):
        bind(Address("192.0.2.1", 1234, 2, 0), {})  # of no machine: RFC 5737
    chosen = {"JAX_COORDINATOR_BIND_ADDRESS": "0.0.0.0:1"}
    assert bind(Address("192.0.2.1", 1234, 2, 0), chosen) is None


def test_a_machine_s_own_name_may_mean_itself_alone(monkeypatch):
    """As Debian has it: 127.0.1.1, at which no other machine could reach it."""
    loopback = [(socket.AF_INET, ("127.0.1.1", 1234))]
    monkeypatch.setattr(cluster, "_resolve", lambda address: loopback)
    assert cluster._bind(Address("node1", 1234, 2, 0), {}) is None


def test_processes_that_never_come_end_in_a_line():
    """Before JAX would abort: process 0 of two waits for the other."""
    code = (
        "from jaxdl import launch, parallel\n"
        "at = f'127.0.0.1:{launch.free_port()}'\n"
        "asked = parallel.Asked(coordinator=at, count=2, index=0)\n"
        "parallel.join(asked, wait=1.0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("not all of 2 processes at 127.0.0.1:")
    assert line.endswith("came within 1 seconds: were all started?")


def test_tasks_of_slurm_find_each_other():
    """Two processes with the variables that srun leaves; JAX does the rest."""
    code = (
        "import jax\nfrom jaxdl import parallel\nfrom jaxdl.parallel import hosts\n"
        "parallel.join(wait=60)\nprint(hosts.gather(jax.process_index()))"
    )
    job = str(os.getpid() + 4096)  # the coordinator's port is drawn from it
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={
                **plain_environment(),
                **SLURM,
                "SLURM_JOB_ID": job,
                "SLURM_PROCID": str(number),
                "SLURM_LOCALID": str(number),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (0, 1)
    ]
    for process in started:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert "[0, 1]" in out
