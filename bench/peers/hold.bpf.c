// Hold times of mmap_lock and whose they are, per mode: what hold-times shows, in C.
// -DWAIT: wait times too. Or -DTASK_STORAGE: open spans lie with their task, not in a hash.
// Needs Linux 6.14 or newer: before, the tracepoints have the cgroup's path in between.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "hold.h"

#define SPANS 16384

char LICENSE[] SEC("license") = "GPL";
__u32 own_pid;  // the loader: its own locks are left out

struct owner {
	__u32 pid;
	__u32 mode;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 * BUCKETS);
	__type(key, __u32);
	__type(value, __u64);
} hold SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, OWNERS);
	__type(key, struct owner);
	__type(value, struct sums);
} owners SEC(".maps");

static __always_inline __u32 bucket(__u64 ns)
{
	__u64 rest = ns;
	__u32 log2 = 0;

	if (rest >> 32) { rest >>= 32; log2 += 32; }
	if (rest >> 16) { rest >>= 16; log2 += 16; }
	if (rest >> 8) { rest >>= 8; log2 += 8; }
	if (rest >> 4) { rest >>= 4; log2 += 4; }
	if (rest >> 2) { rest >>= 2; log2 += 2; }
	log2 += rest >> 1;
	if (log2 < SUB_BITS)
		return ns;
	return ((log2 - SUB_BITS + 1) << SUB_BITS) + ((ns >> (log2 - SUB_BITS)) & (SUB_BUCKETS - 1));
}

static __always_inline void count_in(void *histogram, bool write, __u64 ns)
{
	__u32 at = bucket(ns) + write * BUCKETS;
	__u64 *count = bpf_map_lookup_elem(histogram, &at);

	if (count)
		*count += 1;
}

static __always_inline void add_owner(struct mm_struct *mm, bool write, __u64 ns)
{
	struct task_struct *task = mm->owner;
	struct owner key = { .pid = task ? task->tgid : 0, .mode = write };
	struct sums *found = bpf_map_lookup_elem(&owners, &key);

	if (!found) {
		struct sums first = {};

		bpf_map_update_elem(&owners, &key, &first, BPF_NOEXIST);
		found = bpf_map_lookup_elem(&owners, &key);
		if (!found)
			return;
	}
	found->count += 1;
	found->sum += ns;
	if (ns > found->max)
		found->max = ns;
}

// A span is its beginning << 1 | write; 0 is none.
#ifdef TASK_STORAGE
// fork holds two locks at once: its own and the new address space's.
struct spans {
	__u64 mm[2];
	__u64 holding[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct spans);
} spans SEC(".maps");

static __always_inline struct spans *own_spans(__u64 flags)
{
	return bpf_task_storage_get(&spans, bpf_get_current_task_btf(), 0, flags);
}

static __always_inline __u64 *holding(struct mm_struct *mm, bool make)
{
	struct spans *own = own_spans(make ? BPF_LOCAL_STORAGE_GET_F_CREATE : 0);
	__u64 key = (__u64)mm;

	if (!own)
		return 0;
	if (own->mm[0] == key && own->holding[0])
		return &own->holding[0];
	if (own->mm[1] == key && own->holding[1])
		return &own->holding[1];
	if (!make)
		return 0;
	if (!own->holding[0]) {
		own->mm[0] = key;
		return &own->holding[0];
	}
	own->mm[1] = key;
	own->holding[1] = 0;
	return &own->holding[1];
}

static __always_inline __u64 hold_of(struct mm_struct *mm)
{
	__u64 *span = holding(mm, false);

	return span ? *span : 0;
}

static __always_inline void set_hold(struct mm_struct *mm, __u64 began)
{
	__u64 *span = holding(mm, true);

	if (span)
		*span = began;
}

static __always_inline void end_hold(struct mm_struct *mm)
{
	__u64 *span = holding(mm, false);

	if (span)
		*span = 0;
}
#else
struct span_key {
	__u64 mm;
	__u64 tid;
};

#define SPAN_MAP(name)                          \
	struct {                                    \
		__uint(type, BPF_MAP_TYPE_HASH);        \
		__uint(max_entries, SPANS);             \
		__type(key, struct span_key);           \
		__type(value, __u64);                   \
	} name SEC(".maps")

SPAN_MAP(holds);

static __always_inline struct span_key span_key(struct mm_struct *mm)
{
	return (struct span_key){ .mm = (__u64)mm, .tid = (__u32)bpf_get_current_pid_tgid() };
}

static __always_inline __u64 hold_of(struct mm_struct *mm)
{
	struct span_key key = span_key(mm);
	__u64 *span = bpf_map_lookup_elem(&holds, &key);

	return span ? *span : 0;
}

static __always_inline void set_hold(struct mm_struct *mm, __u64 began)
{
	struct span_key key = span_key(mm);

	bpf_map_update_elem(&holds, &key, &began, BPF_ANY);
}

static __always_inline void end_hold(struct mm_struct *mm)
{
	struct span_key key = span_key(mm);

	bpf_map_delete_elem(&holds, &key);
}
#endif

static __always_inline bool is_own(void)
{
	return bpf_get_current_pid_tgid() >> 32 == own_pid;
}

static __always_inline void ended(struct mm_struct *mm, bool write, __u64 ns)
{
	count_in(&hold, write, ns);
	add_owner(mm, write, ns);
}

#ifdef WAIT
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 * BUCKETS);
	__type(key, __u32);
	__type(value, __u64);
} wait SEC(".maps");
SPAN_MAP(waits);

SEC("tp_btf/mmap_lock_start_locking")
int BPF_PROG(start_locking, struct mm_struct *mm, bool write)
{
	struct span_key key = span_key(mm);
	__u64 now = bpf_ktime_get_ns();

	if (!is_own())
		bpf_map_update_elem(&waits, &key, &now, BPF_ANY);
	return 0;
}

static __always_inline void end_wait(struct mm_struct *mm, bool write, bool success, __u64 now)
{
	struct span_key key = span_key(mm);
	__u64 *began = bpf_map_lookup_elem(&waits, &key);

	if (!began)
		return;
	if (success)
		count_in(&wait, write, now - *began);
	bpf_map_delete_elem(&waits, &key);
}
#endif

SEC("tp_btf/mmap_lock_acquire_returned")
int BPF_PROG(acquire_returned, struct mm_struct *mm, bool write, bool success)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 held;

	if (is_own())
		return 0;
#ifdef WAIT
	end_wait(mm, write, success, now);
#endif
	if (!success)  // a trylock, perhaps inside an own hold
		return 0;
	held = write ? 0 : hold_of(mm);
	if (held & 1)  // mmap_write_downgrade: the exclusive part ends here
		ended(mm, true, now - (held >> 1));
	set_hold(mm, now << 1 | write);
	return 0;
}

SEC("tp_btf/mmap_lock_released")
int BPF_PROG(released, struct mm_struct *mm, bool write)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 held = hold_of(mm);

	if (!held || (held & 1) != write)
		return 0;
	end_hold(mm);
	ended(mm, write, now - (held >> 1));
	return 0;
}
