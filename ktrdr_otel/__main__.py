"""`ktrdr-otel` and `python -m ktrdr_otel`."""

from ktrdr_otel.cli.app import build_app


def main() -> None:
    """The command line, with the process's own arguments."""
    build_app()()


if __name__ == "__main__":
    main()
