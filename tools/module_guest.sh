# Runs inside an emulated kernel; everything goes to /out. Standard error is the console.
cd /out
export PYTHONPATH=/job/site HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PATH=/job/bin:$PATH
for tool in insmod rmmod; do ln -s busybox /job/bin/$tool; done
mount -t tracefs nodev /sys/kernel/tracing
uname -r > kernel
# What bpftrace can do is tried once and remembered.
python3 -m mmaplock_bt doctor > doctor 2>&1
python3 -m bench.in_guest > check.json 2> check.err
