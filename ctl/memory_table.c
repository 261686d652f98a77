#include "ctl/memory_table.h"

#include <stdlib.h>

#include "ctl/exposition.h"
#include "ctl/figures.h"

#define ROWS_MAX 64 /* accounts of a stage: some ten */

struct row {
	struct span what;
	double bytes;
};

static int compare_rows(const void *a, const void *b)
{
	const struct row *one = a, *other = b;

	return one->bytes < other->bytes ? 1 : one->bytes > other->bytes ? -1 : 0;
}

static void print_bytes(const char *indent, const char *what, double bytes, const char *note)
{
	printf("%s%-*s %12.1f KiB%s\n", indent, 30 - (int)strlen(indent), what, bytes / 1024, note);
}

static void print_metric(const struct answer *a, const char *indent, const char *what,
			 const char *metric, const char *note)
{
	print_bytes(indent, what, figure_sum(a, metric), note);
}

/* The largest first. */
static void print_accounts(const struct answer *a)
{
	struct span text = buf_span(&a->body);
	struct exposition_sample sample;
	struct row rows[ROWS_MAX];
	char what[64];
	size_t n = 0;

	while (n < ROWS_MAX && exposition_next(&text, "relay_accounted_bytes", &sample))
		rows[n++] = (struct row){exposition_label(sample.labels, "what"), sample.value};
	qsort(rows, n, sizeof(*rows), compare_rows);
	for (size_t i = 0; i < n; i++) {
		snprintf(what, sizeof(what), "%.*s", (int)rows[i].what.len,
			 (const char *)rows[i].what.ptr);
		print_bytes("    ", what, rows[i].bytes, "");
	}
}

static void print_unaccounted(const struct answer *a)
{
	double in_use = figure_sum(a, "relay_malloc_in_use_bytes");
	double unaccounted = figure_sum(a, "relay_unaccounted_bytes");
	char note[64];

	snprintf(note, sizeof(note), "  (%.1f %% of what is in use)",
		 in_use > 0 ? 100 * unaccounted / in_use : 0);
	print_bytes("    ", "unaccounted", unaccounted, note);
}

static void print_slopes(const struct answer *a)
{
	struct span text = buf_span(&a->body);
	struct exposition_sample sample;
	char wait[FIGURE_SIZE];
	bool found = false;

	while (exposition_next(&text, "relay_memory_slope_bytes_per_hour", &sample)) {
		struct span of = exposition_label(sample.labels, "of");
		struct span window = exposition_label(sample.labels, "window");

		printf("  slope of %-13.*s over %-3.*s %+10.2f MiB/h\n", (int)of.len,
		       (const char *)of.ptr, (int)window.len, (const char *)window.ptr,
		       sample.value / 1048576);
		found = true;
	}
	if (!found)
		printf("  slopes are known in %s, when the caches are full\n",
		       figure_time(figure_sum(a, "relay_memory_slope_wait_seconds"), wait));
}

static void print_fills(const struct answer *a)
{
	struct span text = buf_span(&a->body);
	struct exposition_sample sample;

	while (exposition_next(&text, "relay_cache_fill_permille", &sample)) {
		struct span what = exposition_label(sample.labels, "what");

		printf("  cache %.*s is %.1f %% full\n", (int)what.len, (const char *)what.ptr,
		       sample.value / 10);
	}
}

static void print_member(const struct answer *a)
{
	double arena = figure_sum(a, "relay_malloc_arena_bytes");

	printf("%s, pid %.0f\n", a->member->name, figure_sum(a, "relay_process_pid"));
	print_metric(a, "  ", "resident", "relay_process_rss_bytes", "");
	print_metric(a, "    ", "of files", "relay_process_file_bytes", "");
	print_metric(a, "    ", "anonymous", "relay_process_anonymous_bytes", "");
	print_metric(a, "  ", "resident, its share", "relay_process_pss_bytes", "");
	print_bytes("  ", "held by the allocator", arena, "");
	print_bytes("    ", "unused", arena - figure_sum(a, "relay_malloc_in_use_bytes"), "");
	print_metric(a, "  ", "in use on the heap", "relay_malloc_in_use_bytes", "");
	print_accounts(a);
	print_unaccounted(a);
	print_slopes(a);
	print_fills(a);
}

int memory_print(const struct group *g, const struct config *config, const char *name)
{
	struct ask *ask;
	int result = 0;

	if (ask_open(g, config, name, &ask) < 0) {
		fprintf(stderr, "standpipe: no such process: %s\n", name);
		return 1;
	}
	ask_metrics(ask);
	for (size_t i = 0; i < ask_count(ask); i++) {
		if (i > 0)
			printf("\n");
		if (ask_answer(ask, i)->answered) {
			print_member(ask_answer(ask, i));
		} else {
			printf("%s does not answer\n", ask_answer(ask, i)->member->name);
			result = 1;
		}
	}
	ask_close(ask);
	return result;
}
