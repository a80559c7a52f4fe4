# Runs inside an emulated kernel; everything goes to /out. Standard error is the console.
cd /out
export PYTHONPATH=/job/site HOME=/tmp PYTHONDONTWRITEBYTECODE=1
say() { echo "guest, $(cut -d. -f1 /proc/uptime) s: $*" >&2; }
tool() { python3 -m mmaplock_bt "$@"; }
# Debian's release names an ABI, its version the upstream kernel.
uname -v | sed -n 's/.*Debian \([0-9.]*\).*/\1/p' > kernel
mount -t tracefs nodev /sys/kernel/tracing
say doctor
tool doctor --json > doctor.json 2> doctor.err; echo $? > doctor.rc
say run
tool run hold-times -d 1s > run.out 2> run.err; code=$?; echo $code > run.rc
[ $code = 3 ] && exit 0
if [ ! -s /job/captures ]; then
  say selftest
  tool selftest --json > selftest.json 2> selftest.err; echo $? > selftest.rc
  exit 0
fi
say captures
stem=bpftrace-$(bpftrace --version | sed 's/.*v//')_linux-$(cut -d. -f1,2 kernel)
capture() {
  to=/out/${stem}_$1.ndjson work=$2; shift 2
  # In the package's folder: the stream names the workload without a path of this machine.
  (cd /job/site && tool run "$@" --save-raw "$to" -- python3 mmaplock_bt/workload.py $work) > /dev/null
}
(set -e; . /job/captures) 2> captures.err; echo $? > captures.rc
