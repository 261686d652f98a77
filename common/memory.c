#include "common/memory.h"

#include <inttypes.h>
#include <malloc.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef HAVE_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

struct account {
	int64_t (*bytes)(void *arg);
	void *arg;
	int64_t reading;
	struct account *next;
};

/*
 * All gauges of one rendering come from one reading, which the first of them
 * (relay_process_rss_bytes, registered before all others of this file) takes: /proc is read once,
 * and the differences are of the same moment.
 */
struct memory {
	struct metrics *metrics;
	struct account *accounts;
	int64_t rss, pss, anonymous; /* of the process */
	int64_t in_use, arena;       /* of the allocator */
	int64_t unaccounted;
};

/* Pages of the process as /proc/self/statm counts them: where smaps_rollup cannot be read. */
static void read_statm(struct memory *a)
{
	FILE *f = fopen("/proc/self/statm", "re");
	int64_t page = sysconf(_SC_PAGESIZE), all, resident, shared;

	if (!f)
		return;
	if (fscanf(f, "%" SCNd64 " %" SCNd64 " %" SCNd64, &all, &resident, &shared) == 3) {
		a->rss = a->pss = resident * page;
		a->anonymous = (resident - shared) * page;
	}
	fclose(f);
}

static void read_process(struct memory *a)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "re");
	char line[256];
	int64_t kib;
	bool found = false;

	/* At most some thirty lines. */
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Rss: %" SCNd64 " kB", &kib) == 1) {
			a->rss = kib * 1024;
			found = true;
		} else if (sscanf(line, "Pss: %" SCNd64 " kB", &kib) == 1) {
			a->pss = kib * 1024;
		} else if (sscanf(line, "Anonymous: %" SCNd64 " kB", &kib) == 1) {
			a->anonymous = kib * 1024;
		}
	}
	if (f)
		fclose(f);
	if (!found)
		read_statm(a);
}

#ifdef HAVE_JEMALLOC
static int64_t ask_allocator(const char *name)
{
	size_t value = 0, size = sizeof(value);

	return mallctl(name, &value, &size, NULL, 0) == 0 ? (int64_t)value : 0;
}

/* The statistics are those of the last epoch; a new one is begun by writing to it. */
static void read_allocator(struct memory *a)
{
	uint64_t epoch = 1;

	(void)mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch));
	a->in_use = ask_allocator("stats.allocated");
	a->arena = ask_allocator("stats.resident");
}

const char *memory_allocator(void)
{
	return "jemalloc";
}
#else
/* mallinfo2 sums up all arenas; blocks with a mapping of their own come on top. */
static void read_allocator(struct memory *a)
{
	struct mallinfo2 info = mallinfo2();

	a->in_use = (int64_t)(info.uordblks + info.hblkhd);
	a->arena = (int64_t)(info.arena + info.hblkhd);
}

const char *memory_allocator(void)
{
	return "glibc";
}
#endif

static int64_t take_reading(void *arg)
{
	struct memory *a = arg;

	read_process(a);
	read_allocator(a);
	a->unaccounted = a->in_use;
	for (struct account *one = a->accounts; one; one = one->next) {
		one->reading = one->bytes(one->arg);
		a->unaccounted -= one->reading;
	}
	return a->rss;
}

static int64_t get_reading(void *arg)
{
	return *(const int64_t *)arg;
}

static const struct {
	const char *name, *help;
	size_t offset; /* of the reading in struct memory */
} gauges[] = {
	{"relay_process_pss_bytes",
	 "Resident memory of the process, pages it shares counted in part.",
	 offsetof(struct memory, pss)},
	{"relay_process_anonymous_bytes", "Resident memory of the process that is not of files.",
	 offsetof(struct memory, anonymous)},
	{"relay_malloc_in_use_bytes", "Heap memory that the process has allocated and not freed.",
	 offsetof(struct memory, in_use)},
	{"relay_malloc_arena_bytes", "Memory that the allocator holds for the heap, in use or not.",
	 offsetof(struct memory, arena)},
	{"relay_unaccounted_bytes", "Heap memory in use less what the stage knows that it holds.",
	 offsetof(struct memory, unaccounted)},
};

struct memory *memory_new(struct metrics *m)
{
	struct memory *a = xcalloc(1, sizeof(*a));

	a->metrics = m;
	metrics_gauge_call(m, "relay_process_rss_bytes", "Resident memory of the process.", NULL,
			   take_reading, a);
	for (size_t i = 0; i < ARRAY_SIZE(gauges); i++)
		metrics_gauge_call(m, gauges[i].name, gauges[i].help, NULL, get_reading,
				   (uint8_t *)a + gauges[i].offset);
	return a;
}

void memory_free(struct memory *a)
{
	if (!a)
		return;
	while (a->accounts) {
		struct account *one = a->accounts;

		a->accounts = one->next;
		free(one);
	}
	free(a);
}

void memory_register(struct memory *a, const char *what, int64_t (*bytes)(void *arg), void *arg)
{
	struct account *one = xcalloc(1, sizeof(*one));
	struct buf label;

	one->bytes = bytes;
	one->arg = arg;
	one->next = a->accounts;
	a->accounts = one;
	buf_init(&label, 256);
	metrics_put_label(&label, "what", span_str(what));
	buf_put_u8(&label, '\0');
	metrics_gauge_call(a->metrics, "relay_accounted_bytes",
			   "Memory that the stage knows that it holds.", (const char *)label.ptr,
			   get_reading, &one->reading);
	buf_release(&label);
}
