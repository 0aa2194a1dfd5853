"""`python -m meerkat`: the same door as the `meerkat` command, for where no script is on the PATH."""

from meerkat.cli.main import main

if __name__ == "__main__":
    main()
