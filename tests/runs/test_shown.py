"""What states show lands in the folder, at the start and about ten times."""

import pytest

from jaxdl.runs import shown


def test_texts_are_written_and_pictures_drawn(tmp_path):
    shown.write(
        {"a.txt": "text", "b.png": lambda path: path.write_bytes(b"png")},
        tmp_path,
        "7_",
    )
    assert (tmp_path / "7_a.txt").read_text() == "text"
    assert (tmp_path / "7_b.png").read_bytes() == b"png"


@pytest.mark.parametrize(("steps", "check"), [(1000, 10), (95, 10), (10, 10), (7, 50)])
def test_about_ten_times_and_at_the_end(tmp_path, steps, check):
    tell = shown.shower(lambda state: {"a.txt": state}, tmp_path, steps, check)
    at = [0, *range(check, steps, check), steps]
    for step in at:
        tell(step, f"state {step}")
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written[0] == "00000000_a.txt"
    assert written[-1] == f"{steps:08d}_a.txt"
    assert 2 <= len(written) <= shown.TIMES + 2
    again = {path.name: path.read_text() for path in tmp_path.iterdir()}
    tell(steps, f"state {steps}")
    assert again == {path.name: path.read_text() for path in tmp_path.iterdir()}
