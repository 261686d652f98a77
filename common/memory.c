#include "common/memory.h"

#include <assert.h>
#include <inttypes.h>
#include <malloc.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef HAVE_JEMALLOC
#include <jemalloc/jemalloc.h>
#elif defined(HAVE_MIMALLOC)
#include <mimalloc.h>
#endif

#include "common/openssl_memory.h"
#include "common/slope.h"

#define FULL_PERMILLE    950
#define FILLING_PERMILLE 5  /* more than this in FILL_SAMPLES is filling */
#define FILL_SAMPLES     12 /* a minute */

struct account {
	int64_t (*bytes)(void *arg);
	void *arg;
	int64_t reading;
	bool is_library;
	struct account *next;
};

struct fill {
	int64_t (*permille)(void *arg);
	void *arg;
	int64_t readings[FILL_SAMPLES]; /* the last ones, in a ring */
	struct fill *next;
};

enum { UNACCOUNTED, LIBRARIES, FRAGMENTATION, SERIES };
enum { WINDOW_SHORT, WINDOW_LONG, WINDOWS };

static const char *const series_names[SERIES] = {
	[UNACCOUNTED] = "unaccounted",
	[LIBRARIES] = "libraries",
	[FRAGMENTATION] = "fragmentation",
};

static const struct {
	const char *name;
	uint64_t usec;
} windows[WINDOWS] = {
	[WINDOW_SHORT] = {"10m", 600 * USEC_PER_SEC}, /* sees a leak within minutes */
	[WINDOW_LONG] = {"1h", 3600 * USEC_PER_SEC},  /* sees a slow one through the noise */
};

/*
 * All gauges of one rendering come from one reading, which the first of them
 * (relay_process_rss_bytes, registered before all others of this file) takes: /proc is read once,
 * and the differences are of the same moment.
 */
struct memory {
	struct metrics *metrics;
	struct account *accounts;
	struct fill *fills;
	int64_t rss, pss, anonymous, file; /* of the process */
	int64_t in_use, arena, fragments;  /* of the allocator */
	int64_t unaccounted, libraries;
	struct loop *loop; /* with memory_watch */
	struct loop_timer timer;
	uint64_t samples;
	struct slope series[SERIES];
	int64_t slopes[SERIES][WINDOWS]; /* METRICS_ABSENT: not known yet */
	int64_t wait_sec;
};

/* Pages of the process as /proc/self/statm counts them: where smaps_rollup cannot be read. */
static bool read_statm(int64_t *ret_resident, int64_t *ret_anonymous)
{
	FILE *f = fopen("/proc/self/statm", "re");
	int64_t page = sysconf(_SC_PAGESIZE), all, resident, shared;
	bool found;

	if (!f)
		return false;
	found = fscanf(f, "%" SCNd64 " %" SCNd64 " %" SCNd64, &all, &resident, &shared) == 3;
	fclose(f);
	if (!found)
		return false;
	*ret_resident = resident * page;
	*ret_anonymous = (resident - shared) * page;
	return true;
}

int64_t memory_anonymous_bytes(void)
{
	int64_t resident, anonymous;

	return read_statm(&resident, &anonymous) ? anonymous : 0;
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
	if (!found && read_statm(&a->rss, &a->anonymous))
		a->pss = a->rss;
	a->file = a->rss - a->anonymous;
}

#ifdef HAVE_JEMALLOC
#define OF_ALL_ARENAS "stats.arenas.4096." /* MALLCTL_ARENAS_ALL */

static int64_t ask_allocator(const char *name)
{
	size_t value = 0, size = sizeof(value);

	return mallctl(name, &value, &size, NULL, 0) == 0 ? (int64_t)value : 0;
}

/*
 * The statistics are those of the last epoch; a new one is begun by writing to it.
 *
 * What a thread keeps of freed blocks for its next allocations counts as allocated there. It is
 * not in use: it comes and goes by a MiB with the work of the threads, and has no slope. Nor have
 * pages that are wholly free, which it keeps for a while: a memtable of LevelDB leaves 4 MiB of
 * them each time it is written, and the next one fills them.
 */
static void read_allocator(struct memory *a)
{
	uint64_t epoch = 1;
	int64_t allocated;

	(void)mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch));
	allocated = ask_allocator("stats.allocated");
	a->in_use = allocated - ask_allocator(OF_ALL_ARENAS "tcache_bytes") -
		    ask_allocator(OF_ALL_ARENAS "tcache_stashed_bytes");
	a->arena = ask_allocator("stats.resident");
	a->fragments = ask_allocator("stats.active") - allocated;
}

const char *memory_allocator(void)
{
	return "jemalloc";
}
#elif defined(HAVE_MIMALLOC)
static bool add_area(const mi_heap_t *heap, const mi_heap_area_t *area, void *block,
		     size_t block_size, void *arg)
{
	(void)heap;
	(void)block;
	(void)block_size;
	*(int64_t *)arg += (int64_t)(area->used * area->block_size);
	return true;
}

/* mimalloc counts what is in use for the thread that asks only: what other threads allocated is
 * missing, and counts as unused. */
static void read_allocator(struct memory *a)
{
	size_t commit = 0;

	a->in_use = 0;
	mi_heap_visit_blocks(mi_heap_get_default(), false, add_area, &a->in_use);
	mi_process_info(NULL, NULL, NULL, NULL, NULL, &commit, NULL, NULL);
	a->arena = (int64_t)commit;
	a->fragments = a->arena - a->in_use;
}

const char *memory_allocator(void)
{
	return "mimalloc";
}
#else
/* mallinfo2 sums up all arenas; blocks with a mapping of their own come on top. */
static void read_allocator(struct memory *a)
{
	struct mallinfo2 info = mallinfo2();

	a->in_use = (int64_t)(info.uordblks + info.hblkhd);
	a->arena = (int64_t)(info.arena + info.hblkhd);
	a->fragments = a->arena - a->in_use;
}

const char *memory_allocator(void)
{
	return "glibc";
}
#endif

int64_t memory_block_bytes(const void *block)
{
	return (int64_t)malloc_usable_size((void *)(uintptr_t)block);
}

/* What the allocator says, and what the stage knows of it. */
static void read_heap(struct memory *a)
{
	read_allocator(a);
	a->unaccounted = a->in_use;
	a->libraries = 0;
	for (struct account *one = a->accounts; one; one = one->next) {
		one->reading = one->bytes(one->arg);
		a->unaccounted -= one->reading;
		a->libraries += one->is_library ? one->reading : 0;
	}
}

static int64_t take_reading(void *arg)
{
	struct memory *a = arg;

	read_process(a);
	read_heap(a);
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
	{"relay_process_file_bytes", "Resident memory of the process that is of files.",
	 offsetof(struct memory, file)},
	{"relay_malloc_in_use_bytes", "Heap memory that the process has allocated and not freed.",
	 offsetof(struct memory, in_use)},
	{"relay_malloc_arena_bytes", "Memory that the allocator holds for the heap, in use or not.",
	 offsetof(struct memory, arena)},
	{"relay_unaccounted_bytes", "Heap memory in use less what the stage knows that it holds.",
	 offsetof(struct memory, unaccounted)},
	{"relay_memory_slope_wait_seconds",
	 "Until the slopes are known: the caches have to be full before. 0: they are.",
	 offsetof(struct memory, wait_sec)},
};

/* Slopes. */

static void forget_slopes(struct memory *a)
{
	for (size_t i = 0; i < SERIES; i++) {
		slope_clear(&a->series[i]);
		for (size_t w = 0; w < WINDOWS; w++)
			a->slopes[i][w] = METRICS_ABSENT;
	}
}

/* Seconds until this cache is full, at the pace of the last minute; 0: it is, or fills no more. */
static int64_t seconds_to_full(const struct fill *f, uint64_t samples)
{
	int64_t now = f->readings[samples % FILL_SAMPLES];
	int64_t rise = now - f->readings[(samples + 1) % FILL_SAMPLES]; /* the oldest */

	if (now >= FULL_PERMILLE || rise <= FILLING_PERMILLE)
		return 0;
	return (FULL_PERMILLE - now) * (int64_t)(FILL_SAMPLES - 1) *
	       (int64_t)(MEMORY_SAMPLE_USEC / USEC_PER_SEC) / rise;
}

/* Until all caches are full. The first minute only shows how they fill. */
static int64_t seconds_to_begin(struct memory *a)
{
	int64_t most = 0, sample_sec = (int64_t)(MEMORY_SAMPLE_USEC / USEC_PER_SEC);

	a->samples++;
	for (struct fill *f = a->fills; f; f = f->next)
		f->readings[a->samples % FILL_SAMPLES] = f->permille(f->arg);
	if (a->samples < FILL_SAMPLES)
		return (int64_t)(FILL_SAMPLES - a->samples) * sample_sec;
	for (const struct fill *f = a->fills; f; f = f->next) {
		int64_t sec = seconds_to_full(f, a->samples);

		most = sec > most ? sec : most;
	}
	return most;
}

void memory_sample(struct memory *a, uint64_t now_usec)
{
	int64_t sample_sec = (int64_t)(MEMORY_SAMPLE_USEC / USEC_PER_SEC);

	read_heap(a);
	a->wait_sec = seconds_to_begin(a);
	if (a->wait_sec > 0) {
		forget_slopes(a);
		a->wait_sec += SLOPE_MIN * sample_sec;
		return;
	}
	slope_add(&a->series[UNACCOUNTED], now_usec, a->unaccounted);
	slope_add(&a->series[LIBRARIES], now_usec, a->libraries);
	slope_add(&a->series[FRAGMENTATION], now_usec, a->fragments);
	for (size_t i = 0; i < SERIES; i++)
		for (size_t w = 0; w < WINDOWS; w++)
			if (slope_get(&a->series[i], windows[w].usec, &a->slopes[i][w]) < 0)
				a->wait_sec = (int64_t)(SLOPE_MIN - a->series[i].count) *
					      sample_sec;
}

static void on_timer(void *arg)
{
	struct memory *a = arg;

	memory_sample(a, loop_now_usec(a->loop));
	loop_timer_set(a->loop, &a->timer, MEMORY_SAMPLE_USEC);
}

void memory_watch(struct memory *a, struct loop *l)
{
	a->loop = l;
	loop_timer_set(l, &a->timer, MEMORY_SAMPLE_USEC);
}

static void add_slopes(struct memory *a)
{
	char labels[64];

	for (size_t i = 0; i < SERIES; i++)
		for (size_t w = 0; w < WINDOWS; w++) {
			snprintf(labels, sizeof(labels), "of=\"%s\",window=\"%s\"", series_names[i],
				 windows[w].name);
			metrics_gauge_call(a->metrics, "relay_memory_slope_bytes_per_hour",
					   "How fast memory grows, by whose it is.", labels,
					   get_reading, &a->slopes[i][w]);
		}
	forget_slopes(a);
}

static int64_t own_bytes(void *arg)
{
	return memory_block_bytes(arg);
}

void memory_init_libraries(void)
{
	bool is_first = openssl_memory_init();

	assert(is_first);
}

struct memory *memory_new(struct metrics *m)
{
	struct memory *a = xcalloc(1, sizeof(*a));

	a->metrics = m;
	metrics_gauge_call(m, "relay_process_rss_bytes", "Resident memory of the process.", NULL,
			   take_reading, a);
	for (size_t i = 0; i < ARRAY_SIZE(gauges); i++)
		metrics_gauge_call(m, gauges[i].name, gauges[i].help, NULL, get_reading,
				   (uint8_t *)a + gauges[i].offset);
	add_slopes(a);
	loop_timer_init(&a->timer, on_timer, a);
	a->wait_sec = (int64_t)((FILL_SAMPLES + SLOPE_MIN) * MEMORY_SAMPLE_USEC / USEC_PER_SEC);
	memory_register(a, "memory_accounts", own_bytes, a);
	memory_register_library(a, "openssl", openssl_memory_bytes, NULL);
	return a;
}

void memory_free(struct memory *a)
{
	if (!a)
		return;
	if (a->loop)
		loop_timer_cancel(a->loop, &a->timer);
	while (a->accounts) {
		struct account *one = a->accounts;

		a->accounts = one->next;
		free(one);
	}
	while (a->fills) {
		struct fill *one = a->fills;

		a->fills = one->next;
		free(one);
	}
	free(a);
}

static void put_what(struct buf *label, const char *what)
{
	buf_init(label, 256);
	metrics_put_label(label, "what", span_str(what));
	buf_put_u8(label, '\0');
}

static struct account *add_account(struct memory *a, const char *what, int64_t (*bytes)(void *arg),
				   void *arg)
{
	struct account *one = xcalloc(1, sizeof(*one));
	struct buf label;

	one->bytes = bytes;
	one->arg = arg;
	one->next = a->accounts;
	a->accounts = one;
	put_what(&label, what);
	metrics_gauge_call(a->metrics, "relay_accounted_bytes",
			   "Memory that the stage knows that it holds.", (const char *)label.ptr,
			   get_reading, &one->reading);
	buf_release(&label);
	return one;
}

void memory_register(struct memory *a, const char *what, int64_t (*bytes)(void *arg), void *arg)
{
	(void)add_account(a, what, bytes, arg);
}

void memory_register_library(struct memory *a, const char *what, int64_t (*bytes)(void *arg),
			     void *arg)
{
	add_account(a, what, bytes, arg)->is_library = true;
}

static int64_t ask_fill(void *arg)
{
	const struct fill *one = arg;

	return one->permille(one->arg);
}

void memory_register_fill(struct memory *a, const char *what, int64_t (*permille)(void *arg),
			  void *arg)
{
	struct fill *one = xcalloc(1, sizeof(*one));
	struct buf label;

	one->permille = permille;
	one->arg = arg;
	one->next = a->fills;
	a->fills = one;
	put_what(&label, what);
	metrics_gauge_call(a->metrics, "relay_cache_fill_permille",
			   "How full a cache is, in parts of a thousand.", (const char *)label.ptr,
			   ask_fill, one);
	buf_release(&label);
}
