"""``python -m phonofilm`` and ``torchrun -m phonofilm``: the command line."""

from phonofilm.cli import main

if __name__ == "__main__":
    main()
