"""``python -m driftloop`` is the console script."""

from driftloop.cli.main import main

main()
