// SPDX-License-Identifier: GPL-2.0
// The hold figures of hold.bpf.c as a kernel module: functions on the tracepoints, /proc/mmap_hold.
#include <linux/hash.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/timekeeping.h>
#include <trace/events/mmap_lock.h>

#define SUB_BITS 3
#define BUCKETS ((64 - SUB_BITS + 1) << SUB_BITS)
#define SLOT_BITS 12
#define SLOTS (1u << SLOT_BITS)
#define PROBES 16  /* slots that are looked at for a key */

#ifdef MEMCG_PATH  /* before 6.14 (Kbuild looks) */
#define PATH const char *path,
#else
#define PATH
#endif

/* A span belongs to its thread: no other one looks for its key, so a slot is taken by one cmpxchg. */
struct span {
	struct task_struct *task;
	struct mm_struct *mm;
	u64 began;
	bool write;
};

struct owner {
	u64 key;  /* (pid << 1 | write) + 1; 0 is free */
	u64 count, sum, max;
	raw_spinlock_t lock;
};

static struct span spans[SLOTS];
static struct owner owners[SLOTS];
static DEFINE_PER_CPU(u64[2][BUCKETS], hold);
static atomic64_t missed;  /* found no slot */

static struct span *span_of(struct mm_struct *mm)
{
	u32 at = hash_64((u64)current ^ ((u64)mm >> 3), SLOT_BITS);

	for (u32 i = 0; i < PROBES; i++) {
		struct span *span = &spans[(at + i) % SLOTS];

		if (READ_ONCE(span->task) == current && span->mm == mm)
			return span;
	}
	return NULL;
}

static void begin(struct mm_struct *mm, bool write, u64 now)
{
	u32 at = hash_64((u64)current ^ ((u64)mm >> 3), SLOT_BITS);
	struct span *span = span_of(mm);

	for (u32 i = 0; !span && i < PROBES; i++)
		if (!cmpxchg(&spans[(at + i) % SLOTS].task, NULL, current))
			span = &spans[(at + i) % SLOTS];
	if (!span) {
		atomic64_inc(&missed);
		return;
	}
	span->mm = mm;
	span->began = now;
	span->write = write;
}

static u32 bucket(u64 ns)
{
	u32 log2 = ns ? __fls(ns) : 0;

	if (log2 < SUB_BITS)
		return ns;
	return ((log2 - SUB_BITS + 1) << SUB_BITS) + ((ns >> (log2 - SUB_BITS)) & 7);
}

static struct owner *owner_of(u64 key)
{
	u32 at = hash_64(key, SLOT_BITS);

	for (u32 i = 0; i < PROBES; i++) {
		struct owner *owner = &owners[(at + i) % SLOTS];
		u64 old = cmpxchg(&owner->key, 0, key);

		if (!old || old == key)
			return owner;
	}
	atomic64_inc(&missed);
	return NULL;
}

static void ended(struct mm_struct *mm, bool write, u64 ns)
{
	struct task_struct *task = READ_ONCE(mm->owner);
	struct owner *owner = owner_of(((u64)(task ? task->tgid : 0) << 1 | write) + 1);
	unsigned long flags;

	this_cpu_inc(hold[write][bucket(ns)]);
	if (!owner)
		return;
	raw_spin_lock_irqsave(&owner->lock, flags);
	owner->count++;
	owner->sum += ns;
	owner->max = max(owner->max, ns);
	raw_spin_unlock_irqrestore(&owner->lock, flags);
}

static void acquire_returned(void *data, struct mm_struct *mm, PATH bool write, bool success)
{
	u64 now = ktime_get_mono_fast_ns();
	struct span *span;

	if (!success)
		return;
	span = write ? NULL : span_of(mm);
	if (span && span->write)  /* a downgrade: the exclusive part ends here */
		ended(mm, true, now - span->began);
	begin(mm, write, now);
}

static void released(void *data, struct mm_struct *mm, PATH bool write)
{
	u64 now = ktime_get_mono_fast_ns();
	struct span *span = span_of(mm);
	u64 began;

	if (!span || span->write != write)
		return;
	began = span->began;
	span->mm = NULL;
	smp_store_release(&span->task, NULL);
	ended(mm, write, now - began);
}

static void show_histogram(struct seq_file *file, int write)
{
	u64 total;
	int cpu;

	for (u32 at = 0; at < BUCKETS; at++) {
		total = 0;
		for_each_possible_cpu(cpu)
			total += per_cpu(hold, cpu)[write][at];
		if (total)
			seq_printf(file, "{\"output\": \"hold\", \"mode\": \"%s\", \"lower_ns\": %llu, \"count\": %llu}\n",
				   write ? "write" : "read",
				   at < 8 ? at : (8ull + (at & 7)) << ((at >> SUB_BITS) - 1), total);
	}
}

static int show(struct seq_file *file, void *ignored)
{
	for (u32 at = 0; at < SLOTS; at++) {
		struct owner *owner = &owners[at];

		if (owner->key)
			seq_printf(file, "{\"output\": \"owners\", \"mode\": \"%s\", \"owner_pid\": %llu, "
				   "\"count\": %llu, \"sum_ns\": %llu, \"max_ns\": %llu}\n",
				   (owner->key - 1) & 1 ? "write" : "read", (owner->key - 1) >> 1,
				   owner->count, owner->sum, owner->max);
	}
	show_histogram(file, 0);
	show_histogram(file, 1);
	seq_printf(file, "{\"missed\": %lld}\n", atomic64_read(&missed));
	return 0;
}

static void let_go(void)
{
	unregister_trace_mmap_lock_released(released, NULL);
	tracepoint_synchronize_unregister();
}

static int __init start(void)
{
	int failed;

	for (u32 at = 0; at < SLOTS; at++)
		raw_spin_lock_init(&owners[at].lock);
	failed = register_trace_mmap_lock_released(released, NULL);
	if (failed)
		return failed;
	failed = register_trace_mmap_lock_acquire_returned(acquire_returned, NULL);
	if (failed) {
		let_go();
		return failed;
	}
	if (proc_create_single("mmap_hold", 0400, NULL, show))
		return 0;
	unregister_trace_mmap_lock_acquire_returned(acquire_returned, NULL);
	let_go();
	return -ENOMEM;
}

static void __exit stop(void)
{
	remove_proc_entry("mmap_hold", NULL);
	unregister_trace_mmap_lock_acquire_returned(acquire_returned, NULL);
	let_go();
}

module_init(start);
module_exit(stop);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("How long mmap_lock is held, and whose it is");
