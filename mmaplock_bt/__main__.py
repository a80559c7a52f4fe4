"""`python -m mmaplock_bt`: the command line."""

from mmaplock_bt.cli import run_main

run_main()
