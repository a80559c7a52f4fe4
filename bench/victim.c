// What is traced: threads that take one address space's mmap_lock and tell what that costs them.
//   victim price OPERATION THREADS MS   CPU time of an operation, in batches, as JSON; each batch is
//                                       beside one of a system call that takes no lock
//   victim known                        waits for a line, takes a known number of locks, waits again
//   victim hold READY GO                writes to the FIFO READY, ends when GO has a byte or its end
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define BATCH 1000
#define BESIDE 4000
#define LEAST_BATCHES 5  // however busy the machine is
#define MAX_THREADS 16
#define MAX_BATCHES 8192
#define AREA (8ul << 20)

static char *page, *area;  // touched; the operations work on them
static pthread_barrier_t start;
static long long end_ns;

static long long clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000ll + now.tv_nsec;
}

static char *touched(unsigned long size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
}

// One read lock. No per-VMA lock takes its place (6.4 and later).
static void read_lock(void)
{
	unsigned char vector;

	mincore(page, PAGE, &vector);
}

// One write lock: the protection stays as it is.
static void write_lock(void)
{
	mprotect(page, PAGE, PROT_READ | PROT_WRITE);
}

// Two write locks, the second of them downgraded.
static void map(void)
{
	munmap(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), PAGE);
}

// Two write locks, each for the time that these entries of the page table take.
static void protect(unsigned long size)
{
	mprotect(area, size, PROT_READ);
	mprotect(area, size, PROT_READ | PROT_WRITE);
}

// Short enough for many of them, long enough for the other threads to wait.
static void disturbance(void)
{
	protect(AREA / 16);
}

static const struct {
	const char *name;
	void (*does)(void);
	void (*first_does)(void);  // what the first thread does, whose time does not count then
} OPERATIONS[] = {
	{ "read", read_lock, NULL },
	{ "write", write_lock, NULL },
	{ "map", map, NULL },
	{ "contended", read_lock, disturbance },
};

struct worker {
	pthread_t thread;
	void (*does)(void);
	int batches;
	struct batch {
		double ns, beside_ns;  // of CPU, each call
	} done[MAX_BATCHES];
};

static void *work(void *argument)
{
	struct worker *worker = argument;
	long long began, between, ended;

	pthread_barrier_wait(&start);
	while (worker->batches < LEAST_BATCHES ||
	       (clock_ns(CLOCK_MONOTONIC) < end_ns && worker->batches < MAX_BATCHES)) {
		began = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		for (int i = 0; i < BATCH; i++)
			worker->does();
		between = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		for (int i = 0; i < BESIDE; i++)
			syscall(SYS_getppid);
		ended = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		worker->done[worker->batches++] = (struct batch){
			(between - began) / (double)BATCH, (ended - between) / (double)BESIDE };
	}
	return NULL;
}

static void *disturb(void *argument)
{
	pthread_barrier_wait(&start);
	while (clock_ns(CLOCK_MONOTONIC) < end_ns)
		((struct worker *)argument)->does();
	return NULL;
}

static int by_value(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

static double median(double *values, int count)
{
	qsort(values, count, sizeof *values, by_value);
	return values[count / 2];
}

static void tell(struct worker *workers, int threads)
{
	static double ns[MAX_THREADS * MAX_BATCHES], beside[MAX_THREADS * MAX_BATCHES],
		relative[MAX_THREADS * MAX_BATCHES];
	int count = 0;

	for (int i = 0; i < threads; i++)
		for (int at = 0; at < workers[i].batches; at++, count++) {
			ns[count] = workers[i].done[at].ns;
			beside[count] = workers[i].done[at].beside_ns;
			relative[count] = ns[count] / beside[count];
		}
	printf("{\"batches\": %d, \"ns\": %.1f, \"beside_ns\": %.1f, \"relative\": %.3f}\n", count,
	       median(ns, count), median(beside, count), median(relative, count));
}

static int price(const char *name, int threads, int ms)
{
	static struct worker workers[MAX_THREADS];
	unsigned at = 0;

	while (at < sizeof OPERATIONS / sizeof *OPERATIONS && strcmp(name, OPERATIONS[at].name))
		at++;
	if (at == sizeof OPERATIONS / sizeof *OPERATIONS || threads < 1 || threads > MAX_THREADS)
		return 2;
	area = touched(AREA);
	pthread_barrier_init(&start, NULL, threads);
	end_ns = clock_ns(CLOCK_MONOTONIC) + ms * 1000000ll;
	for (int i = 0; i < threads; i++) {
		int disturbs = i == 0 && OPERATIONS[at].first_does;

		workers[i].does = disturbs ? OPERATIONS[at].first_does : OPERATIONS[at].does;
		pthread_create(&workers[i].thread, NULL, disturbs ? disturb : work, &workers[i]);
	}
	for (int i = 0; i < threads; i++)
		pthread_join(workers[i].thread, NULL);
	tell(workers, threads);
	return 0;
}

// Holds of a millisecond or so: a read (pages are made), two writes (protection), the unmapping.
static void long_locks(void)
{
	area = touched(AREA);
	protect(AREA);
	munmap(area, AREA);
}

// Prime numbers of each operation, and some long ones for the sums.
static int known(void)
{
	char line[16];

	if (read(STDIN_FILENO, line, sizeof line) <= 0)
		return 1;
	for (int i = 0; i < 1009; i++)
		read_lock();
	for (int i = 0; i < 503; i++)
		write_lock();
	for (int i = 0; i < 251; i++)
		map();
	for (int i = 0; i < 23; i++)
		long_locks();
	if (write(STDOUT_FILENO, "done\n", 5) != 5)
		return 1;
	return read(STDIN_FILENO, line, sizeof line) < 0;  // nothing more until it may end
}

static int hold(const char *ready, const char *go)
{
	char ignored[16];
	int in, out = open(ready, O_WRONLY);

	if (out < 0 || write(out, "ready\n", 6) != 6)
		return 1;
	close(out);
	in = open(go, O_RDONLY);
	return in < 0 || read(in, ignored, sizeof ignored) < 0;
}

int main(int count, char **words)
{
	page = touched(PAGE);
	if (count == 5 && !strcmp(words[1], "price"))
		return price(words[2], atoi(words[3]), atoi(words[4]));
	if (count == 2 && !strcmp(words[1], "known"))
		return known();
	if (count == 4 && !strcmp(words[1], "hold"))
		return hold(words[2], words[3]);
	fprintf(stderr, "victim: wrong words\n");
	return 2;
}
