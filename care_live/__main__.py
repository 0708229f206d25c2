"""``python -m care_live`` is the same as ``care-live``."""

from care_live.cli import main

main()
