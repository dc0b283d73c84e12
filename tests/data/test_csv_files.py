"""CSV files: what is read, and one line for what cannot be."""

import pytest

from jaxdl.data.csv_files import column, read_csv


def write(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_columns_by_name_quoted_cells_whole(tmp_path, mark):
    text = 'name, price\n"a, ""b""\nc",1\n\n  d ,NA\n'
    table = read_csv(write(tmp_path, mark + text.encode()))
    assert table == {"name": ['a, "b"\nc', "d"], "price": ["1", "NA"]}


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_other_separators(tmp_path, mark):
    table = read_csv(write(tmp_path, f"a{mark}b\n1,5{mark}2\n"))
    assert table == {"a": ["1,5"], "b": ["2"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n3\n", "line 3: 1 cells, but the header names 2"),
        ("a,b\n1,2,3\n", "line 2: 3 cells"),
        (b"a,b\n1,\xff\n", "not UTF-8"),
        ("a\0b\n", "null bytes"),
        ("", "no rows"),
        ("a,b\n", "no rows"),
        ("a,,b\n1,2,3\n", "column 2 has no name"),
        ("a,b,a\n1,2,3\n", "'a' is there twice"),
        ('a,b\n1,"2\n', "line 2: unexpected end of data"),
    ],
)
def test_what_is_no_table_is_refused_in_a_line(tmp_path, content, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_csv(write(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_a_file_or_column_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_csv(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="--target=c: the columns are a, b"):
        column({"a": [], "b": []}, "c", "target")
