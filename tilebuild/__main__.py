"""`python -m tilebuild`: the command line."""

from tilebuild.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
