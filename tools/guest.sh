# Runs inside an emulated kernel; everything goes to /out. Standard error is the console.
cd /out
# In a folder of one's own what is found of bpftrace is remembered; in /tmp it never is.
export PYTHONPATH=/job/site HOME=/job/home
mkdir -m 700 /job/home
say() { echo "guest, $(cut -d. -f1 /proc/uptime) s: $*" >&2; }
tool() { python3 -m mmaplock_bt "$@"; }
# A root for another processor was unpacked, nothing in it configured.
for name in passwd group; do
  [ -e /etc/$name ] || cp /usr/share/base-passwd/$name.master /etc/$name
done
# Debian's release names an ABI, its version the upstream kernel.
uname -v | sed -n 's/.*Debian \([0-9.]*\).*/\1/p' > kernel
mount -t tracefs nodev /sys/kernel/tracing
# Named, and its engine, too: else both take tracefs where it cannot trace.
say doctor
tool doctor --json --bpftrace bpftrace > doctor.json 2> doctor.err; echo $? > doctor.rc
say run
tool run hold-times -d 1s --engine bpftrace > run.out 2> run.err; code=$?; echo $code > run.rc
by_tracefs() {
  say selftest, tracefs
  tool selftest --json --engine tracefs > tracefs.json 2> tracefs.err; echo $? > tracefs.rc
}
[ $code = 3 ] && { by_tracefs; exit 0; }
if [ -s /job/tests.words ]; then
  say tests
  cd /job/site
  export MMAPLOCK_TESTS_SLOWNESS=5  # tests/limits.py
  eval "python3 -m pytest -v -p no:cacheprovider $(cat /job/tests.words)" > /out/tests.out 2>&1
  echo $? > /out/tests.rc
  exit 0
fi
if [ ! -s /job/captures ]; then
  say selftest
  tool selftest --json > selftest.json 2> selftest.err; echo $? > selftest.rc
  by_tracefs
  exit 0
fi
say captures
stem=bpftrace-$(bpftrace --version | sed 's/.*v//')_linux-$(cut -d. -f1,2 kernel)
[ "$(uname -m)" = x86_64 ] || stem=$stem-$(uname -m | sed s/aarch64/arm64/)
case "$(uname -v)" in *PREEMPT_RT*) stem=$stem-rt;; esac
capture() {
  to=/out/${stem}_$1.ndjson work=$2; shift 2
  # In the package's folder: the stream names the workload without a path of this machine.
  (cd /job/site && tool run "$@" --save-raw "$to" -- python3 mmaplock_bt/workload.py $work) > /dev/null
}
(set -e; . /job/captures) 2> captures.err; echo $? > captures.rc
