"""How a command that is refused looks to a person."""

from pathlib import Path


def refused(result, *parts):
    """One line on stderr that holds the parts, exit code 2, nothing on stdout, nothing left in the folder."""
    code, out, err = result
    assert code == 2, err
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith("phonofilm: ")
    for part in parts:
        assert part in err
    assert not list(Path.cwd().rglob("*.mp4"))
    assert not [path for path in Path.cwd().rglob(".*") if path.is_file()]
    return err
