/*
 * How long a relay is away after a crash: from the start of its processes until its public port
 * says that it serves, with a log of gigabytes whose last group was on its way to the disk.
 */
#include <sys/stat.h>

#include "store/storage.h"
#include "tests/bench/bench.h"
#include "tests/lib/group.h"
#include "tests/lib/verified.h"

#define LOG_BYTES   (5 * UINT64_C(1000000000))
#define PAD         16000 /* bytes of an event, beside its other fields */
#define ACCOUNTS    200000
#define HOST        1
#define LOST_EVENTS 60 /* of the group that was not finished */

static const struct storage_options options = {
	.cache_bytes = MIB(32),
	.first_seq = 1,
	.log = {.file_bytes = MIB(256), .retention_usec = 3600 * USEC_PER_SEC},
};

static struct storage *open_storage(const char *folder)
{
	char path[256];
	struct storage *s = NULL;

	snprintf(path, sizeof(path), "%s/store", folder);
	mkdir(path, 0700);
	CHECK_INT(storage_open(path, &options, &s), 0);
	return s;
}

static void put(struct storage *s, uint64_t n, struct buf *frame)
{
	static const char letters[] = "abcdefghijklmnop";
	char did[] = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
	struct storage_decision d = {.verdict = VERDICT_MAX};
	struct verified v;

	for (uint64_t account = n % ACCOUNTS, i = 8; account > 0; account /= 16, i++)
		did[i] = letters[account % 16];
	verified_make(
		&(struct event_spec){
			.kind = EVENT_COMMIT,
			.did = did,
			.host_id = HOST,
			.host_seq = n,
			.rev = (unsigned)n,
			.pad = PAD,
		},
		frame, &v);
	CHECK_INT(storage_put(s, &v, &d), 0);
	CHECK_INT(d.verdict, VERDICT_ACCEPTED);
}

static uint64_t fill(const char *folder, struct buf *frame)
{
	struct storage *s = open_storage(folder);
	struct storage_group g;
	uint64_t n = 1;

	while (event_log_bytes(storage_log(s)) < LOG_BYTES && !test_has_failed()) {
		while (!storage_is_full(s))
			put(s, n++, frame);
		CHECK_INT(storage_commit(s, &g), 0);
	}
	bench_setting("log", "%.1f GB in %zu files, %llu events by %d accounts",
		      (double)event_log_bytes(storage_log(s)) / 1e9,
		      event_log_files(storage_log(s)), (unsigned long long)n - 1, ACCOUNTS);
	storage_close(s);
	return n;
}

/* What a kill between the log's sync and the state's leaves. */
static void lose_group(const char *folder, uint64_t n, struct buf *frame)
{
	struct storage *s = open_storage(folder);

	for (unsigned i = 0; i < LOST_EVENTS; i++)
		put(s, n + i, frame);
	CHECK_INT(storage_commit_steps(s, 2), 0);
	storage_close(s);
}

static double start(struct group_test *g)
{
	uint64_t from = bench_wall_nsec();

	group_start(g);
	return (double)(bench_wall_nsec() - from) / 1e9;
}

TEST(recover)
{
	const char *folder = xstrdup(test_folder());
	char setting[256];
	const char *settings[] = {setting, NULL};
	double runs[BENCH_RUNS];
	struct group_test *g;
	struct loop *l;
	struct buf frame;
	uint64_t n;

	bench_begin("recover");
	buf_init(&frame, LIMIT_FRAME);
	n = fill(folder, &frame);
	snprintf(setting, sizeof(setting), "group.data_dir=%s", folder);
	l = loop_new();
	g = group_new(l, settings);
	bench_settings(group_settings(g));
	for (size_t i = 0; i < BENCH_RUNS && !test_has_failed(); i++) {
		lose_group(folder, n, &frame);
		runs[i] = start(g);
		group_crash(g);
	}
	if (!test_has_failed())
		bench_figure("recover.start_s", "s", runs, BENCH_RUNS);
	bench_end();
	group_free(g);
	loop_free(l);
	buf_release(&frame);
}
