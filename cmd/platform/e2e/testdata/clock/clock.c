// Has a program that asks libc for the time, as Postgres does, go by the clocks of a
// page of shared memory: see runtime.go.txt. Loaded with LD_PRELOAD.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *page;

__attribute__((constructor)) static void open_page(void) {
	const char *name = getenv("VIRTUAL_CLOCK");
	int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0) abort();
	void *p = mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED) abort();
	page = p;
}

int clock_gettime(clockid_t id, struct timespec *t) {
	int64_t add = page ? page[0] : 0;
	switch (id) {
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_COARSE:
		add += page ? page[1] : 0;
		break;
	case CLOCK_MONOTONIC:
	case CLOCK_MONOTONIC_RAW:
	case CLOCK_MONOTONIC_COARSE:
	case CLOCK_BOOTTIME:
		break;
	default: // what a process or thread has used
		return syscall(SYS_clock_gettime, id, t);
	}
	if (syscall(SYS_clock_gettime, CLOCK_MONOTONIC, t)) return -1;
	int64_t ns = t->tv_sec * 1000000000 + t->tv_nsec + add;
	t->tv_sec = ns / 1000000000;
	t->tv_nsec = ns % 1000000000;
	return 0;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
	struct timespec now;
	(void)zone;
	clock_gettime(CLOCK_REALTIME, &now);
	t->tv_sec = now.tv_sec;
	t->tv_usec = now.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *t) {
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (t) *t = now.tv_sec;
	return now.tv_sec;
}
