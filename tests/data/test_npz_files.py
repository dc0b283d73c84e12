"""Archives that lie about what they hold: refused before they fill the memory."""

import io
import zipfile

import numpy as np
import pytest

from jaxdl import data
from jaxdl.data.npz_files import read_npz

IMAGES = np.random.default_rng(0).integers(0, 255, (40, 4, 4, 1)).astype(np.uint8)
LABELS = np.arange(40) % 2


def header(shape):
    """The beginning of an array file that claims to hold this shape."""
    file = io.BytesIO()
    content = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, content)
    return file.getvalue()


def archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as found:
        for name, content in members.items():
            found.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (header((2**50, 16)) + b"few", "Unable to allocate|EOF"),
        (header((2**62, 2**62)), "no archive of plain"),
        (b"\x93NUMPY\x01\x00\x10\x00{'descr':[[],('\n", "no archive of plain"),
        (b"\x93NUMPY", "no archive of plain"),
    ],
)
def test_an_array_that_claims_more_than_it_holds_is_one_line(tmp_path, member, words):
    path = archive(tmp_path / "a.npz", x=member, y=member)
    with pytest.raises(ValueError, match=words) as caught:
        read_npz(path)
    assert "\n" not in str(caught.value)


def test_a_bomb_is_refused_unread(tmp_path):
    """Its directory says what it unpacks to; no byte of that is unpacked."""
    path = archive(tmp_path / "a.npz", x=bytes(2**20))
    content = path.read_bytes()
    size = (2**20).to_bytes(4, "little")
    assert content.count(size) == 2
    path.write_bytes(content.replace(size, (2**31 - 1).to_bytes(4, "little")))
    with pytest.raises(ValueError, match="unpack to 2,147,483,647: such an archive"):
        read_npz(path)


def test_a_path_that_climbs_out_is_a_name_like_any_other(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    path = archive(inside / "a.npz", **{"../../escaped": header((1,)) + b"1"})
    assert list(read_npz(path)) == ["../../escaped"]
    assert [p.name for p in tmp_path.rglob("*")] == ["inside", "a.npz"]


@pytest.mark.parametrize("cut", [10, 300, -10])
def test_a_damaged_archive_is_one_line(tmp_path, cut):
    path = tmp_path / "a.npz"
    np.savez(path, x=IMAGES, y=LABELS)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="no archive of plain NumPy arrays"):
        data.load(f"npz:{path}")


def test_a_flipped_bit_is_found(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=IMAGES, y=LABELS)
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="Bad CRC-32"):
        data.load(f"npz:{path}")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"y": np.where(LABELS, 2**40, 0)}, "the label 1099511627776, but classes are"),
        ({"y": np.where(LABELS, 2**63, 0).astype(np.uint64)}, "the label 922337203685"),
        ({"x": IMAGES[:, :0]}, "hold no examples"),
        ({"y": LABELS, "classes": np.array("ab")}, r"classes of shape \[\]"),
        ({"y": LABELS, "classes": np.array(["a", "a"])}, "all different"),
        ({"x": np.full((40, 3), 1e300)}, "NaN or infinite"),
        ({"y": np.full(40, 1e300)}, "NaN or infinite"),
    ],
)
def test_values_that_are_no_data_are_one_line(tmp_path, arrays, words):
    path = tmp_path / "a.npz"
    np.savez(path, **{"x": IMAGES, "y": LABELS, **arrays})
    with pytest.raises(ValueError, match=words):
        data.load(f"npz:{path}")


def test_repeated_rows_are_counted_in_one_line(tmp_path, caplog):
    path = tmp_path / "a.npz"
    np.savez(path, x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:9], y_test=LABELS[:9])
    dataset = data.load(f"npz:{path}")
    known = {row.tobytes() for row in dataset.train.arrays["inputs"]}
    count = sum(row.tobytes() in known for row in IMAGES[:9])
    assert [record.getMessage() for record in caplog.records] == [
        f"npz:{path}: {count} of 9 test examples are also in the training part"
    ]


def test_a_size_that_no_memory_holds_is_refused():
    with pytest.raises(ValueError, match="--image_size=1000000 .* 1 to 8192"):
        data.load("folder:anywhere", image_size=10**6)
