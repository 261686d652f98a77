#include "common/heap.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef HAVE_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

#include "common/symbol.h"

#define FRAMES_MAX 64    /* of one stack; what is further out is left away */
#define SITES_MAX  65536 /* of one profile; a stage has some hundreds */
#define STACK_MAX  4096  /* bytes of one stack as text */

struct site {
	size_t depth;
	uint64_t frames[FRAMES_MAX];
	double bytes, blocks; /* estimated from the samples */
};

/* Sorted by their frames. */
struct profile {
	size_t count, cap;
	struct site *sites;
};

struct heap {
	bool on;
	bool stays_on;
	struct profile mark;
};

struct heap *heap_new(void)
{
	return xcalloc(1, sizeof(struct heap));
}

static void profile_clear(struct profile *p)
{
	free(p->sites);
	*p = (struct profile){0};
}

bool heap_is_on(const struct heap *h)
{
	return h->on;
}

/* The allocator. */

#ifdef HAVE_JEMALLOC
/* Read by jemalloc when it starts: profiles are possible, and off; of HEAP_SAMPLE_BYTES. */
const char *malloc_conf;
const char *malloc_conf = "prof:true,prof_active:false,lg_prof_sample:17";

static int set_active(bool on)
{
	return mallctl("prof.active", NULL, NULL, &on, sizeof(on)) == 0 ? 0 : -ENOTSUP;
}

static int set_sample(size_t lg_sample)
{
	return mallctl("prof.reset", NULL, NULL, &lg_sample, sizeof(lg_sample)) == 0 ? 0 : -ENOTSUP;
}

static int dump(const char *path)
{
	return mallctl("prof.dump", NULL, NULL, &path, sizeof(path)) == 0 ? 0 : -EIO;
}
#else
static int set_active(bool on)
{
	(void)on;
	return -ENOTSUP;
}

static int set_sample(size_t lg_sample)
{
	(void)lg_sample;
	return -ENOTSUP;
}

static int dump(const char *path)
{
	(void)path;
	return -ENOTSUP;
}
#endif

/* Reading a profile, as jemalloc writes it:
 *
 *	heap_v2/131072				bytes between two samples
 *	  t*: 45: 230213 [0: 0]			blocks and bytes, of all
 *	  ...
 *	@ 0x7f3c.. 0x55d1..			a stack,
 *	  t*: 45: 230213 [0: 0]			and its blocks and bytes
 *	  ...					the same for each thread
 *	MAPPED_LIBRARIES:			and more that is not for us
 */

static int compare_sites(const void *a, const void *b)
{
	const struct site *one = a, *other = b;

	if (one->depth != other->depth)
		return one->depth < other->depth ? -1 : 1;
	return memcmp(one->frames, other->frames, one->depth * sizeof(*one->frames));
}

static int compare_bytes(const void *a, const void *b)
{
	const struct site *one = a, *other = b;

	return one->bytes < other->bytes ? 1 : one->bytes > other->bytes ? -1 : 0;
}

/* A site with the stack of the line; NULL if there are too many. */
static struct site *add_site(struct profile *p, const char *line)
{
	struct site *s;
	uint64_t address;
	int len;

	if (p->count == SITES_MAX)
		return NULL;
	if (p->count == p->cap) {
		p->cap = p->cap ? 2 * p->cap : 256;
		p->sites = xrealloc(p->sites, p->cap * sizeof(*p->sites));
	}
	s = &p->sites[p->count++];
	*s = (struct site){0};
	line++;
	while (s->depth < FRAMES_MAX && sscanf(line, " 0x%" SCNx64 "%n", &address, &len) == 1) {
		s->frames[s->depth++] = address;
		line += len;
	}
	return s;
}

/* From what was sampled to what there is: of blocks of this size so many are met by a sample. */
static void set_estimate(struct site *s, double blocks, double bytes, double between)
{
	double met = blocks > 0 ? -expm1(-bytes / blocks / between) : 0;

	s->blocks = met > 0 ? blocks / met : 0;
	s->bytes = met > 0 ? bytes / met : 0;
}

static void read_profile(FILE *f, struct profile *ret)
{
	struct profile p = {0};
	struct site *site = NULL;
	double between = 1, blocks, bytes;
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, f) > 0) {
		if (strncmp(line, "MAPPED_LIBRARIES", 16) == 0)
			break;
		if (line[0] == '@') {
			site = add_site(&p, line);
		} else if (sscanf(line, "heap_v2/%lf", &between) == 1) {
			continue;
		} else if (site && sscanf(line, " t*: %lf: %lf", &blocks, &bytes) == 2) {
			set_estimate(site, blocks, bytes, between);
			site = NULL;
		}
	}
	free(line);
	if (p.count > 0)
		qsort(p.sites, p.count, sizeof(*p.sites), compare_sites);
	*ret = p;
}

/* The profile goes through a file in memory: a stage may have no folder to write to. */
static int take_profile(struct profile *ret)
{
	int fd = memfd_create("heap", MFD_CLOEXEC), error;
	char path[64];
	FILE *f;

	if (fd < 0)
		return -EIO;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	error = dump(path);
	f = error ? NULL : fdopen(fd, "r");
	if (!f) {
		close(fd);
		return error ? error : -EIO;
	}
	rewind(f);
	read_profile(f, ret);
	fclose(f);
	return 0;
}

/* When a thread takes its next sample was drawn before, at the density there was then: what is
 * allocated until that is met by none. So this one takes it now. The wait is more than sixteen
 * times its mean once in nine million. */
static void take_next_sample(void)
{
	for (unsigned i = 0; i < 16; i++) {
		void *volatile block = xmalloc(HEAP_SAMPLE_BYTES);

		free(block);
	}
}

static int begin(struct heap *h, unsigned lg_sample)
{
	int error = set_sample(lg_sample);

	if (!error)
		error = set_active(true);
	if (error)
		return error;
	take_next_sample();
	h->on = true;
	profile_clear(&h->mark);
	return 0;
}

int heap_start(struct heap *h)
{
	/* What was sampled until now would be lost. */
	if (h->stays_on)
		return heap_mark(h);
	return begin(h, (unsigned)__builtin_ctzll(HEAP_SAMPLE_BYTES));
}

int heap_keep_on(struct heap *h, unsigned lg_sample)
{
	int error = begin(h, lg_sample);

	h->stays_on = error == 0;
	return error;
}

static void end(struct heap *h)
{
	if (h->on)
		(void)set_active(false);
	h->on = false;
}

void heap_stop(struct heap *h)
{
	profile_clear(&h->mark);
	if (!h->stays_on)
		end(h);
}

void heap_free(struct heap *h)
{
	if (!h)
		return;
	heap_stop(h);
	end(h);
	free(h);
}

int heap_mark(struct heap *h)
{
	struct profile now;
	int error = h->on ? take_profile(&now) : -EAGAIN;

	if (error)
		return error;
	profile_clear(&h->mark);
	h->mark = now;
	return 0;
}

/* Reports. */

/* Functions of ours that only pass memory on. */
static bool is_wrapper(const struct symbol *s)
{
	static const char *const names[] = {
		"xmalloc",     "xcalloc",      "xrealloc",    "xstrdup",      "held_malloc",
		"held_calloc", "held_realloc", "held_strdup", "operator_new", "operator_new_array"};

	if (strstr(s->module, "jemalloc"))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(s->function, names[i]) == 0)
			return true;
	return false;
}

static void put_frame(struct buf *out, const struct symbol *s)
{
	if (out->len > 0)
		buf_append_str(out, " < ");
	if (s->function[0])
		buf_append_str(out, s->function);
	else
		buf_printf(out, "%s+0x%" PRIx64, s->module, s->offset_bytes);
	/* A library's function says more with its library. */
	if (s->function[0] && strstr(s->module, ".so"))
		buf_printf(out, " (%s)", s->module);
}

/* From the first function that is more than a wrapper, up to main. */
static void put_stack(struct buf *out, struct symbols *symbols, const struct site *site)
{
	buf_clear(out);
	for (size_t i = 0; i < site->depth && out->len + 2 * sizeof(struct symbol) < STACK_MAX;
	     i++) {
		struct symbol s;

		/* A return address is after its call, and may be in the next function. */
		symbols_find(symbols, site->frames[i] - 1, &s);
		if (out->len == 0 && is_wrapper(&s))
			continue;
		put_frame(out, &s);
		if (strcmp(s.function, "main") == 0)
			break;
	}
	buf_put_u8(out, '\0');
}

/* Both are sorted in the same way. What is left are the sites that grew, in now. */
static void subtract(struct profile *now, const struct profile *mark, struct heap_totals *ret)
{
	double bytes = 0, blocks = 0;
	size_t kept = 0, m = 0;

	for (size_t i = 0; i < mark->count; i++) {
		bytes -= mark->sites[i].bytes;
		blocks -= mark->sites[i].blocks;
	}
	for (size_t i = 0; i < now->count; i++) {
		struct site s = now->sites[i];

		bytes += s.bytes;
		blocks += s.blocks;
		while (m < mark->count && compare_sites(&mark->sites[m], &s) < 0)
			m++;
		if (m < mark->count && compare_sites(&mark->sites[m], &s) == 0) {
			s.bytes -= mark->sites[m].bytes;
			s.blocks -= mark->sites[m].blocks;
		}
		if (s.bytes > 0)
			now->sites[kept++] = s;
	}
	now->count = kept;
	*ret = (struct heap_totals){(int64_t)bytes, (int64_t)blocks, kept};
}

int heap_growth(struct heap *h, size_t max, void (*take)(void *arg, const struct heap_site *site),
		void *arg, struct heap_totals *ret)
{
	struct symbols *symbols;
	struct profile now;
	struct buf stack;
	int error = h->on ? take_profile(&now) : -EAGAIN;

	if (error)
		return error;
	subtract(&now, &h->mark, ret);
	if (now.count > 0)
		qsort(now.sites, now.count, sizeof(*now.sites), compare_bytes);
	symbols = symbols_new();
	buf_init(&stack, STACK_MAX + 2 * sizeof(struct symbol));
	for (size_t i = 0; i < now.count && i < max; i++) {
		struct heap_site site = {.bytes = (int64_t)now.sites[i].bytes,
					 .blocks = (int64_t)now.sites[i].blocks};

		put_stack(&stack, symbols, &now.sites[i]);
		site.stack = (const char *)stack.ptr;
		take(arg, &site);
	}
	buf_release(&stack);
	symbols_free(symbols);
	profile_clear(&now);
	return 0;
}
