"""``python -m dazoo`` is the command ``dazoo``."""

from dazoo.cli.commands import main

if __name__ == "__main__":
    main()
