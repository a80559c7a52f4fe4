// Where BCC, which knows no CO-RE, finds an address space's owner on the running kernel.
#include "vmlinux.h"

int printf(const char *format, ...);

int main(void)
{
	printf("-DOWNER=%lu -DTGID=%lu\n", __builtin_offsetof(struct mm_struct, owner),
	       __builtin_offsetof(struct task_struct, tgid));
	return 0;
}
