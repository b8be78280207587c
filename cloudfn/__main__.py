"""`python -m cloudfn` is the command `cloudfn`."""

from cloudfn.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
