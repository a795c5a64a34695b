"""``python -m pyembed_gen``, and where the ``pyembed-gen`` command begins."""

import sys

_INTERRUPTED = 130


def main() -> int:
    """Run the command line; an interrupt while it is still being loaded is no traceback either."""
    try:
        from pyembed_gen import cli  # noqa: PLC0415 - loading takes longer than a finger needs
    except KeyboardInterrupt:
        return _INTERRUPTED
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
