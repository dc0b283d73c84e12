"""The reader's own model: README's lines, run as they stand."""

import os
import re
import subprocess
import sys

from tests.experiments.shared import ROOT

BLOCK = re.compile(r"<!-- own model -->\s*```python\n(.*?)```", re.DOTALL)


def test_a_model_of_ones_own_takes_under_25_lines_and_learns(tmp_path):
    (code,) = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len([line for line in code.splitlines() if line.strip()]) < 25
    assert not re.search(r"absl|argparse|experiments", code)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    accuracy = re.search(r"accuracy\D*([01]\.\d+)", done.stdout)
    assert accuracy, done.stdout
    assert float(accuracy[1]) > 0.9
