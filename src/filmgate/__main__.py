"""``python -m filmgate``: the program ``filmgate``."""

from filmgate.cli.main import main

if __name__ == "__main__":
    main()
