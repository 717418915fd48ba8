"""The command line: typer over :mod:`filmgate.app`, one file per command family, everything heavy imported on use."""
