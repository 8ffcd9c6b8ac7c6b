import pytest

from nextitem_bundle.file_names import file_name

NAMES = ["a/b", "../up", "x" * 260, "ü" * 150, "a\\b", "a*b[1]?", "file://c", "s3::d", "a%2Fb", ""]


@pytest.mark.parametrize("name", ["brand", "page 2 (clothing model)", "größe", "a.b-c"])
def test_usual_names_are_files_names_as_they_are(name):
    assert file_name(name) == name


def test_other_names_are_replaced_each_by_its_own(tmp_path):
    replaced = {file_name(name) for name in NAMES}
    assert len(replaced) == len(NAMES)
    for name in replaced:
        (tmp_path / f"unique.{name}.parquet").write_text("")
