/*
 * What keeping events costs: deciding on them, numbering, and making groups of them durable (the
 * log with fdatasync, and the state's database); and reading a log back, as a start after a power
 * cut does, which finds every message and makes the index of the newest file anew.
 */
#include <fcntl.h>
#include <unistd.h>

#include "common/loop.h"
#include "store/log_folder.h"
#include "store/log_index.h"
#include "store/storage.h"
#include "tests/bench/bench.h"
#include "tests/lib/verified.h"

#define ACCOUNTS    100000 /* that write; all are in the state before anything is measured */
#define GROUP       64     /* events */
#define GROUPS      400    /* a run */
#define EVENTS      (GROUPS * GROUP)
#define PAD         4000 /* bytes of an event, beside its other fields */
#define CACHE_BYTES MIB(32)
#define HOST        1

struct writer {
	char folder[128];
	struct storage *storage;
	struct buf frames[GROUP];
	struct verified group[GROUP];
	uint64_t next; /* the host's number of the next event */
};

static void make_did(unsigned account, char ret[static 64])
{
	snprintf(ret, 64, "did:plc:%024u", account);
	/* Digits that base32 has not. */
	for (char *c = ret + 8; *c; c++)
		*c = *c < '2' ? (char)(*c - '0' + 'a') : *c > '7' ? (char)(*c - '8' + 'c') : *c;
}

static void make(struct writer *w, size_t place, unsigned account)
{
	static char dids[GROUP][64];

	make_did(account, dids[place]);
	verified_make(
		&(struct event_spec){
			.kind = EVENT_COMMIT,
			.did = dids[place],
			.host_id = HOST,
			.host_seq = w->next,
			.rev = (unsigned)w->next,
			.pad = PAD,
		},
		&w->frames[place], &w->group[place]);
	w->next++;
}

static void keep_group(struct writer *w)
{
	struct storage_decision d = {.verdict = VERDICT_MAX};
	struct storage_group g;

	for (size_t i = 0; i < GROUP; i++) {
		CHECK_INT(storage_put(w->storage, &w->group[i], &d), 0);
		CHECK_INT(d.verdict, VERDICT_ACCEPTED);
	}
	CHECK_INT(storage_commit(w->storage, &g), 0);
}

static void start(struct writer *w)
{
	const struct storage_options options = {
		.cache_bytes = CACHE_BYTES,
		.first_seq = 1,
		.log = {.file_bytes = MIB(256), .retention_usec = 3600 * USEC_PER_SEC},
	};

	*w = (struct writer){.next = 1};
	snprintf(w->folder, sizeof(w->folder), "%s", test_folder());
	for (size_t i = 0; i < GROUP; i++)
		buf_init(&w->frames[i], LIMIT_FRAME);
	CHECK_INT(storage_open(w->folder, &options, &w->storage), 0);
	for (unsigned account = 0; account < ACCOUNTS;) {
		for (size_t i = 0; i < GROUP; i++)
			make(w, i, account++ % ACCOUNTS);
		keep_group(w);
	}
}

static void end(struct writer *w)
{
	storage_close(w->storage);
	for (size_t i = 0; i < GROUP; i++)
		buf_release(&w->frames[i]);
}

/* Microseconds an event, LevelDB's own thread included; without the making of the events. */
static double append(struct writer *w)
{
	uint64_t cpu = bench_process_nsec(), made = 0;

	for (size_t g = 0; g < GROUPS; g++) {
		uint64_t from = bench_thread_nsec();

		for (size_t i = 0; i < GROUP; i++)
			make(w, i, (unsigned)(test_random() % ACCOUNTS));
		made += bench_thread_nsec() - from;
		keep_group(w);
	}
	return (double)(bench_process_nsec() - cpu - made) / 1000 / EVENTS;
}

/* The index of the log's first file made anew; megabytes of messages a CPU second. */
static double replay(const struct log_folder *folder, int index_fd)
{
	const struct log_folder_entry *e = &folder->entries[0];
	const struct marker marker = {e->first_seq, e->bytes, e->first_seq + e->events};
	uint64_t made = 0, cpu;
	int fd = log_folder_open_file(folder, e->first_seq, LOG_FILE_MESSAGES, O_RDONLY);

	CHECK(fd >= 0);
	CHECK_INT(ftruncate(index_fd, 0), 0);
	cpu = bench_thread_nsec();
	CHECK_INT(log_index_recover(fd, index_fd, &marker, 1, &made), 0);
	cpu = bench_thread_nsec() - cpu;
	CHECK_INT(made, e->events);
	close(fd);
	return (double)e->bytes * 1000 / (double)cpu;
}

static void measure_replay(const struct writer *w)
{
	double runs[BENCH_RUNS];
	char path[160];
	struct log_folder folder;
	int fd;

	snprintf(path, sizeof(path), "%s/log", w->folder);
	CHECK_INT(log_folder_open(path, &folder), 0);
	snprintf(path, sizeof(path), "%s/index", w->folder);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	bench_say("%zu MB to be read again", folder.entries[0].bytes / 1000000);
	for (size_t i = 0; i < BENCH_RUNS; i++)
		runs[i] = replay(&folder, fd);
	bench_figure("log.replay_mb_per_cpu_s", "MB/s", runs, BENCH_RUNS);
	close(fd);
	log_folder_release(&folder);
}

TEST(append_and_replay)
{
	static struct writer w;
	double runs[BENCH_RUNS];

	bench_begin("log");
	bench_setting("append", "%d events of %zu bytes by %d accounts, %d a group", EVENTS,
		      (size_t)PAD + 90, ACCOUNTS, GROUP);
	bench_setting("replay", "the first file of what was appended, of 256 MB at most");
	start(&w);
	for (size_t i = 0; i < BENCH_RUNS; i++)
		runs[i] = append(&w);
	bench_figure("log.append_us", "us", runs, BENCH_RUNS);
	measure_replay(&w);
	bench_end();
	end(&w);
}
