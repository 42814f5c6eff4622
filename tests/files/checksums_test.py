"""Lists of checksums: what they see, and that ``sha256sum`` reads them."""

import shutil
import subprocess

import pytest

from phonofilm.errors import UserError
from phonofilm.files.checksums import check_seal, check_sums, digest, sealed, write_sums


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "b c").write_bytes(b"content")
    write_sums(tmp_path / "SUMS", {name: digest(tmp_path / name) for name in ("a", "b c")})
    return tmp_path


def test_the_digest_is_sha256(folder):
    assert digest(folder / "a") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    check_sums(folder / "SUMS")


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_sha256sum_reads_the_list(folder):
    assert subprocess.run(["sha256sum", "-c", "--strict", "SUMS"], cwd=folder, capture_output=True).returncode == 0


def test_what_was_changed_is_named(folder):
    (folder / "b c").write_bytes(b"contenu")
    with pytest.raises(UserError, match="b c is damaged"):
        check_sums(folder / "SUMS")
    check_sums(folder / "SUMS", ["a"])
    (folder / "b c").unlink()
    with pytest.raises(UserError, match="b c is gone"):
        check_sums(folder / "SUMS")
    with pytest.raises(UserError, match="does not list d"):
        check_sums(folder / "SUMS", ["d"])
    for text in (b"", b"\xff", (folder / "SUMS").read_bytes()[:-1], b"x" * 64 + b"  a\n"):
        (folder / "SUMS").write_bytes(text)
        with pytest.raises(UserError, match="SUMS"):
            check_sums(folder / "SUMS")


def test_a_seal_holds_its_entries(tmp_path):
    content = sealed({"a": 1, "b": [2.5]})
    check_seal(content, tmp_path)
    for broken in (content | {"a": 2}, content | {"c": 0}, {"a": 1, "b": [2.5]}):
        with pytest.raises(UserError, match="is damaged"):
            check_seal(broken, tmp_path)
