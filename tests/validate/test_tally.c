#include "validate/tally.h"

#include <inttypes.h>
#include <unistd.h>

#include "tests/test.h"

struct bench {
	struct metrics *metrics;
	struct tally tally;
	char path[128];
	int stderr_fd;
};

/* What is logged from here on goes into a file. */
static void bench_open(struct bench *b)
{
	FILE *f;

	b->metrics = metrics_new("validate", 0);
	tally_init(&b->tally, b->metrics);
	snprintf(b->path, sizeof(b->path), "%s/log", test_folder());
	b->stderr_fd = dup(STDERR_FILENO);
	f = fopen(b->path, "we");
	CHECK(f && dup2(fileno(f), STDERR_FILENO) >= 0);
	if (f)
		fclose(f);
}

static void bench_close(struct bench *b, struct buf *ret_log)
{
	dup2(b->stderr_fd, STDERR_FILENO);
	close(b->stderr_fd);
	test_read_file(b->path, ret_log);
	buf_put_u8(ret_log, '\0');
	metrics_free(b->metrics);
}

static const struct event event = {
	.host_seq = 12,
	.host = {(const uint8_t *)"pds.example.com", 15},
};

static const struct frame frame = {
	.kind = EVENT_COMMIT,
	.did = {(const uint8_t *)"did:web:a.example", 17},
};

TEST(every_verdict_has_its_counter)
{
	struct bench b;
	struct buf log;

	bench_open(&b);
	for (enum verdict v = VERDICT_ACCEPTED; v < VERDICT_DUPLICATE; v++) {
		char label[64];

		if (strcmp(verdict_info(v)->name, "unknown") == 0)
			continue;
		snprintf(label, sizeof(label), "verdict=\"%s\"", verdict_info(v)->name);
		for (unsigned i = 0; i <= v; i++)
			tally_verdict(&b.tally, &event, &frame, v);
		CHECK_INT(*metrics_counter(b.metrics, "relay_verdicts_total", "", label),
			  (unsigned)v + 1);
	}
	bench_close(&b, &log);
	buf_release(&log);
}

TEST(every_reason_and_kind_has_its_counter)
{
	static const char *const labels[] = {"kind=\"unknown\"", "kind=\"commit\"", "kind=\"sync\"",
					     "kind=\"identity\"", "kind=\"account\""};
	struct bench b;
	struct buf log;

	bench_open(&b);
	for (enum lookup_reason r = 0; r < LOOKUP_REASONS; r++) {
		char label[64];

		snprintf(label, sizeof(label), "reason=\"%s\"", lookup_reason_name(r));
		tally_lookup(&b.tally, r);
		CHECK_INT(*metrics_counter(b.metrics, "relay_identity_lookups_total", "", label),
			  1);
	}
	for (unsigned kind = 0; kind < ARRAY_SIZE(labels); kind++) {
		static struct frame f;

		f.kind = (enum event_kind)kind;
		tally_event(&b.tally, &f);
		CHECK_INT(*metrics_counter(b.metrics, "relay_events_total", "", labels[kind]), 1);
	}
	bench_close(&b, &log);
	buf_release(&log);
}

TEST(a_refusal_is_logged_with_its_reason)
{
	struct bench b;
	struct buf log;

	bench_open(&b);
	tally_verdict(&b.tally, &event, &frame, VERDICT_BAD_SIGNATURE);
	bench_close(&b, &log);
	CHECK_STR((const char *)log.ptr,
		  "<5>commit refused: bad signature did=did:web:a.example host=pds.example.com "
		  "seq=12 [repository: Commit Objects]\n");
	buf_release(&log);
}

TEST(what_is_ordinary_is_not_logged)
{
	struct bench b;
	struct buf log;

	bench_open(&b);
	tally_verdict(&b.tally, &event, &frame, VERDICT_ACCEPTED);
	tally_verdict(&b.tally, &event, &frame, VERDICT_UNKNOWN_KIND);
	tally_verdict(&b.tally, &event, &frame, VERDICT_IDENTITY_UNCHANGED);
	bench_close(&b, &log);
	CHECK_STR((const char *)log.ptr, "");
	buf_release(&log);
}

TEST(a_flood_of_refusals_does_not_flood_the_log)
{
	struct bench b;
	struct buf log;
	size_t lines = 0;

	bench_open(&b);
	for (unsigned i = 0; i < 1000; i++)
		tally_verdict(&b.tally, &event, &frame, VERDICT_BAD_CAR);
	bench_close(&b, &log);
	for (size_t i = 0; i < log.len; i++)
		lines += log.ptr[i] == '\n';
	/* Two periods, if the clock stands between them. */
	CHECK(lines >= 10 && lines <= 21);
	buf_release(&log);
}
