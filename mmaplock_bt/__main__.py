from mmaplock_bt.cli import run_main

run_main()
