"""The scripts that make golden values run in an environment of their own."""

collect_ignore_glob = ["make_*.py"]
