// Shared by the BPF program and its loader: log2 buckets, each parted into eight (3 sub-bits).
#define SUB_BITS 3
#define SUB_BUCKETS (1 << SUB_BITS)
#define BUCKETS ((64 - SUB_BITS + 1) * SUB_BUCKETS)
#define OWNERS 16384

struct sums {
	unsigned long long count;
	unsigned long long sum;
	unsigned long long max;
};
