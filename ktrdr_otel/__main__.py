"""`ktrdr-otel` and `python -m ktrdr_otel`."""

from ktrdr_otel.cli.app import build_app, run


def main() -> None:
    """The command line, with the process's own arguments; ends the process."""
    run(build_app())


if __name__ == "__main__":
    main()
