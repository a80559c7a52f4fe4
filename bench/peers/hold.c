// Loads hold.bpf.c, says {"ready": true}, and when its standard input ends prints what was found.
// Peers speak alike: a JSON object a line, of "owners" (count, sum_ns, max_ns), "hold" and "wait".
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "hold.skel.h"
#include "hold.h"

struct owner {
	unsigned pid;
	unsigned mode;
};

static const char *MODES[] = { "read", "write" };

static unsigned long long lower_end(unsigned bucket)
{
	unsigned shift = bucket >> SUB_BITS;

	if (shift == 0)
		return bucket;
	return (SUB_BUCKETS + (bucket & (SUB_BUCKETS - 1ull))) << (shift - 1);
}

static void tell_histogram(const char *name, int map, int cpus)
{
	unsigned long long counts[cpus], total;

	for (unsigned key = 0; key < 2 * BUCKETS; key++) {
		total = 0;
		if (bpf_map_lookup_elem(map, &key, counts))
			continue;
		for (int cpu = 0; cpu < cpus; cpu++)
			total += counts[cpu];
		if (total)
			printf("{\"output\": \"%s\", \"mode\": \"%s\", \"lower_ns\": %llu, \"count\": %llu}\n",
			       name, MODES[key / BUCKETS], lower_end(key % BUCKETS), total);
	}
}

static void tell_owners(int map, int cpus)
{
	struct owner *previous = NULL, key;
	struct sums parts[cpus];

	while (bpf_map_get_next_key(map, previous, &key) == 0) {
		struct sums all = {};

		if (bpf_map_lookup_elem(map, &key, parts) == 0)
			for (int cpu = 0; cpu < cpus; cpu++) {
				all.count += parts[cpu].count;
				all.sum += parts[cpu].sum;
				if (parts[cpu].max > all.max)
					all.max = parts[cpu].max;
			}
		printf("{\"output\": \"owners\", \"mode\": \"%s\", \"owner_pid\": %u, \"count\": %llu, "
		       "\"sum_ns\": %llu, \"max_ns\": %llu}\n",
		       MODES[key.mode], key.pid, all.count, all.sum, all.max);
		previous = &key;
	}
}

int main(void)
{
	int cpus = libbpf_num_possible_cpus();
	struct hold *skeleton = hold__open();
	char ignored[64];

	if (!skeleton)
		return 1;
	skeleton->bss->own_pid = getpid();
	if (hold__load(skeleton) || hold__attach(skeleton))
		return 1;
	printf("{\"ready\": true}\n");
	fflush(stdout);
	while (read(STDIN_FILENO, ignored, sizeof ignored) > 0)
		;
	hold__detach(skeleton);
	tell_owners(bpf_map__fd(skeleton->maps.owners), cpus);
	tell_histogram("hold", bpf_map__fd(skeleton->maps.hold), cpus);
#ifdef WAIT
	tell_histogram("wait", bpf_map__fd(skeleton->maps.wait), cpus);
#endif
	hold__destroy(skeleton);
	return 0;
}
