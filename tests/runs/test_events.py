"""TensorBoard's messages come without the package around them, which stays usable."""

import subprocess
import sys

SCRIPT = """
import sys
from pathlib import Path
room = Path(sys.argv[1])
(room / "torch.py").write_text("raise AssertionError('PyTorch is imported')")
sys.path.insert(0, str(room))
from jaxdl.runs import events
assert "tensorboardX" not in sys.modules
(room / "torch.py").unlink()
import tensorboardX
assert tensorboardX.RecordWriter.__module__ == events.masked_crc32c.__module__
tensorboardX.SummaryWriter(str(room / "logs")).add_scalar("loss", 1.0, 0)
assert events.Event(step=3).step == 3
assert events.masked_crc32c(b"123456789") == (
    (0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8 & 0xFFFFFFFF
)
"""


def test_messages_without_pytorch_and_the_package_whole_afterwards(tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
