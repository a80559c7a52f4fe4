# Runs inside an emulated kernel; everything goes to /out.
cd /out
uname -r > kernel
export PYTHONPATH=/job/site HOME=/tmp PYTHONDONTWRITEBYTECODE=1
tool() { python3 -m mmaplock_bt "$@"; }
mount -t tracefs nodev /sys/kernel/tracing
tool doctor --json > doctor.json 2> doctor.err; echo $? > doctor.rc
tool run hold-times -d 1s > run.out 2> run.err; code=$?; echo $code > run.rc
[ $code = 3 ] && exit 0
tool selftest --json > selftest.json 2> selftest.err; echo $? > selftest.rc
capture() {
  name=$1; shift
  bpftrace=$(bpftrace --version | sed 's/.*v//')
  series=$(uname -r | cut -d. -f1,2 | cut -d- -f1)
  tool run "$@" --save-raw "bpftrace-${bpftrace}_linux-${series}_$name.ndjson" \
    -- python3 mmaplock_bt/workload.py $work > /dev/null
}
cd /job/site; out=/out
work="munmaps 23"
capture munmaps hold-times
work="forks 3 8"
capture forks long-holds --set threshold=0 --mode write
mv /job/site/*.ndjson /out
