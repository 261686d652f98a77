#include "store/storage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/loop.h"
#include "store/overlay.h"
#include "tests/lib/disk.h"
#include "tests/lib/log_reader.h"
#include "tests/lib/verified.h"
#include "tests/test.h"

#define HOME  11
#define OTHER 22

struct fixture {
	char folder[128];
	char log[140];
	struct storage_options options;
	struct storage *storage;
	struct buf frame;
};

static int reopen(struct fixture *f)
{
	storage_close(f->storage);
	f->storage = NULL;
	return storage_open(f->folder, &f->options, &f->storage);
}

static void start_in(struct fixture *f, const char *folder, uint64_t file_bytes)
{
	*f = (struct fixture){
		.options = {.cache_bytes = KIB(64),
			    .first_seq = 1,
			    .log = {.file_bytes = file_bytes,
				    .retention_usec = 1000 * USEC_PER_SEC}},
	};
	snprintf(f->folder, sizeof(f->folder), "%s", folder);
	snprintf(f->log, sizeof(f->log), "%s/log", f->folder);
	buf_init(&f->frame, LIMIT_FRAME);
	CHECK_INT(reopen(f), 0);
}

static void start(struct fixture *f, uint64_t file_bytes)
{
	start_in(f, test_folder(), file_bytes);
}

static void end(struct fixture *f)
{
	storage_close(f->storage);
	buf_release(&f->frame);
}

static struct storage_decision put(struct fixture *f, const struct event_spec *spec)
{
	struct storage_decision d = {.verdict = VERDICT_MAX};
	struct verified v;

	verified_make(spec, &f->frame, &v);
	CHECK_INT(storage_put(f->storage, &v, &d), 0);
	return d;
}

static void commit(struct fixture *f)
{
	struct storage_group group;

	CHECK_INT(storage_commit(f->storage, &group), 0);
	CHECK_INT(storage_pending(f->storage), 0);
}

static uint64_t next_seq(const struct fixture *f)
{
	struct head head;

	event_log_head(storage_log(f->storage), &head);
	return head.next_seq;
}

static uint64_t accounts_of(const struct fixture *f, uint64_t host_id)
{
	uint64_t accounts = UINT64_MAX;

	CHECK_INT(storage_get_host_accounts(f->storage, host_id, &accounts), 0);
	return accounts;
}

TEST(events_of_one_group_see_each_other)
{
	struct fixture f;
	struct event_spec spec = {.kind = EVENT_COMMIT,
				  .did = "did:web:a.example",
				  .host_id = HOME,
				  .host_seq = 1,
				  .rev = 5};

	start(&f, MIB(1));
	CHECK_INT(put(&f, &spec).verdict, VERDICT_ACCEPTED);
	CHECK_INT(put(&f, &spec).verdict, VERDICT_DUPLICATE);
	spec.host_seq = 2;
	CHECK_INT(put(&f, &spec).verdict, VERDICT_STALE_REV);
	spec.host_seq = 3;
	spec.rev = 6;
	spec.since = 4;
	struct storage_decision d = put(&f, &spec);

	CHECK_INT(d.verdict, VERDICT_ACCEPTED);
	CHECK(d.discontinuous);
	CHECK_INT(storage_pending(f.storage), 2);
	commit(&f);
	CHECK_INT(next_seq(&f), 3);
	CHECK_INT(reopen(&f), 0);
	CHECK_INT(put(&f, &spec).verdict, VERDICT_DUPLICATE);
	CHECK_INT(next_seq(&f), 3);
	end(&f);
}

/* A host's commits of two accounts. */
static struct event_spec commit_of(const char *did, uint64_t host_seq, unsigned rev, bool is_legacy)
{
	return (struct event_spec){.kind = EVENT_COMMIT,
				   .did = did,
				   .host_id = HOME,
				   .host_epoch = 2,
				   .host_seq = host_seq,
				   .rev = rev,
				   .since = rev - 1,
				   .is_legacy = is_legacy};
}

/* Rows in the order in which they come, which need not be the order in which the host has sent
 * them: two lanes bring them. */
TEST(a_host_that_has_sent_prev_data_does_not_fall_back)
{
	static const struct {
		const char *did;
		uint64_t host_seq;
		unsigned rev;
		bool is_legacy;
		enum verdict verdict;
	} rows[] = {
		{"did:web:a.example", 10, 5, true, VERDICT_ACCEPTED},
		{"did:web:b.example", 20, 5, false, VERDICT_ACCEPTED},
		{"did:web:a.example", 15, 6, true, VERDICT_ACCEPTED},
		{"did:web:a.example", 21, 7, true, VERDICT_PREV_DATA_MISSING},
		{"did:web:a.example", 22, 7, false, VERDICT_ACCEPTED},
		{"did:web:b.example", 23, 9, true, VERDICT_PREV_DATA_MISSING},
		{"did:web:a.example", 15, 6, true, VERDICT_DUPLICATE},
		/* The host has sent one with it sooner than the first that came. */
		{"did:web:c.example", 17, 3, true, VERDICT_ACCEPTED},
		{"did:web:d.example", 16, 3, false, VERDICT_ACCEPTED},
		{"did:web:c.example", 18, 4, true, VERDICT_PREV_DATA_MISSING},
	};
	struct event_spec spec;
	struct fixture f;

	start(&f, MIB(1));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct storage_decision d;

		spec = commit_of(rows[i].did, rows[i].host_seq, rows[i].rev, rows[i].is_legacy);
		d = put(&f, &spec);
		if (d.verdict != rows[i].verdict || d.discontinuous)
			test_fail(__FILE__, __LINE__, "row %zu: %s", i,
				  verdict_info(d.verdict)->name);
		commit(&f);
	}
	CHECK_INT(reopen(&f), 0);
	spec = commit_of("did:web:e.example", 17, 5, true);
	CHECK_INT(put(&f, &spec).verdict, VERDICT_PREV_DATA_MISSING);
	spec.host_epoch = 3;
	spec.host_seq = 1;
	CHECK_INT(put(&f, &spec).verdict, VERDICT_PREV_DATA_MISSING);
	spec.host_id = OTHER;
	CHECK_INT(put(&f, &spec).verdict, VERDICT_ACCEPTED);
	spec = commit_of("did:web:e.example", 31, 6, false);
	CHECK_INT(put(&f, &spec).verdict, VERDICT_ACCEPTED);
	end(&f);
}

TEST(what_is_not_committed_is_forgotten)
{
	struct fixture f;
	struct account a;
	struct event_spec spec = {.kind = EVENT_COMMIT,
				  .did = "did:web:a.example",
				  .host_id = HOME,
				  .host_seq = 1,
				  .rev = 5};

	start(&f, MIB(1));
	CHECK_INT(put(&f, &spec).verdict, VERDICT_ACCEPTED);
	CHECK_INT(storage_get_account(f.storage, span_str(spec.did), &a), 0);
	CHECK_INT(reopen(&f), 0);
	CHECK_INT(storage_get_account(f.storage, span_str(spec.did), &a), -ENOENT);
	CHECK_INT(accounts_of(&f, HOME), 0);
	CHECK_INT(put(&f, &spec).verdict, VERDICT_ACCEPTED);
	end(&f);
}

/* Rows: an event, then the counts of both hosts. */
static const struct {
	const char *did;
	uint64_t host_id;
	uint64_t host_seq;
	bool inactive;
	enum account_status status;
	uint64_t home, other;
} moves[] = {
	{"did:web:a.example", HOME, 1, false, ACCOUNT_ACTIVE, 1, 0},
	{"did:web:b.example", HOME, 2, false, ACCOUNT_ACTIVE, 2, 0},
	{"did:web:a.example", HOME, 3, true, ACCOUNT_DEACTIVATED, 2, 0},
	{"did:web:a.example", OTHER, 1, false, ACCOUNT_ACTIVE, 1, 1},
	{"did:web:b.example", HOME, 4, true, ACCOUNT_DELETED, 0, 1},
	{"did:web:b.example", HOME, 5, true, ACCOUNT_DELETED, 0, 1},
	{"did:web:c.example", OTHER, 2, true, ACCOUNT_DELETED, 0, 1},
	{"did:web:b.example", HOME, 6, false, ACCOUNT_ACTIVE, 1, 1},
	{"did:web:a.example", HOME, 7, false, ACCOUNT_ACTIVE, 2, 0},
};

static void play_moves(bool commit_each)
{
	struct fixture f;

	start(&f, MIB(1));
	for (size_t i = 0; i < ARRAY_SIZE(moves); i++) {
		struct event_spec spec = {
			.kind = EVENT_ACCOUNT,
			.did = moves[i].did,
			.host_id = moves[i].host_id,
			.host_seq = moves[i].host_seq,
			.inactive = moves[i].inactive,
			.status = moves[i].status,
		};

		CHECK_INT(put(&f, &spec).verdict, VERDICT_ACCEPTED);
		if (commit_each) {
			commit(&f);
			CHECK_INT(reopen(&f), 0);
		}
		if (accounts_of(&f, HOME) != moves[i].home ||
		    accounts_of(&f, OTHER) != moves[i].other)
			test_fail(__FILE__, __LINE__, "row %zu: %" PRIu64 " and %" PRIu64, i,
				  accounts_of(&f, HOME), accounts_of(&f, OTHER));
		CHECK_INT(storage_accounts(f.storage), moves[i].home + moves[i].other);
	}
	CHECK_INT(accounts_of(&f, 99), 0);
	end(&f);
}

TEST(accounts_are_counted_for_their_host)
{
	play_moves(true);
}

TEST(accounts_are_counted_within_a_group)
{
	play_moves(false);
}

TEST(a_frame_that_outgrows_the_limit_changes_nothing)
{
	struct fixture f;
	struct account a;
	struct event_spec spec = {
		.kind = EVENT_IDENTITY, .did = "did:web:a.example", .host_id = HOME, .host_seq = 1};
	struct verified v;

	start(&f, MIB(1));
	f.options.first_seq = 1000; /* 3 bytes instead of 1 */
	CHECK_INT(snprintf(f.folder, sizeof(f.folder), "%s", test_folder()) > 0, 1);
	CHECK_INT(reopen(&f), 0);
	verified_make(&spec, &f.frame, &v);
	spec.pad = LIMIT_FRAME - v.frame.len -
		   4; /* the length of the pad itself takes 4 bytes more */
	verified_make(&spec, &f.frame, &v);
	CHECK_INT(v.frame.len, LIMIT_FRAME);
	CHECK_INT(put(&f, &spec).verdict, VERDICT_FRAME_TOO_LARGE);
	CHECK_INT(storage_pending(f.storage), 0);
	CHECK_INT(storage_get_account(f.storage, span_str(spec.did), &a), -ENOENT);
	end(&f);
}

TEST(a_group_is_full_by_events_and_by_bytes)
{
	struct fixture f;
	struct event_spec spec = {
		.kind = EVENT_IDENTITY, .did = "did:web:a.example", .host_id = HOME};

	start(&f, MIB(8));
	while (!storage_is_full(f.storage)) {
		spec.host_seq++;
		CHECK_INT(put(&f, &spec).verdict, VERDICT_ACCEPTED);
	}
	CHECK_INT(storage_pending(f.storage), EVENT_LOG_GROUP_EVENTS);
	commit(&f);
	CHECK(!storage_is_full(f.storage));
	spec.pad = EVENT_LOG_GROUP_BYTES;
	spec.host_seq++;
	CHECK_INT(put(&f, &spec).verdict, VERDICT_ACCEPTED);
	CHECK(storage_is_full(f.storage));
	commit(&f);
	CHECK_INT(next_seq(&f), EVENT_LOG_GROUP_EVENTS + 2);
	end(&f);
}

/* As many accounts as a group can have, all new and of hosts of their own, with the longest names.
 */
TEST(what_a_group_holds_is_bounded)
{
	static char did[LIMIT_DID + 1];
	struct event_spec spec = {.kind = EVENT_COMMIT, .did = did, .rev = 1};
	struct fixture f;

	start(&f, MIB(64));
	memset(did, 'a', LIMIT_DID);
	memcpy(did, "did:web:", strlen("did:web:"));
	while (!storage_is_full(f.storage)) {
		char number[8];

		snprintf(number, sizeof(number), "%07u", (unsigned)storage_pending(f.storage));
		memcpy(did + LIMIT_DID - 7, number, 7);
		spec.host_seq = ++spec.host_id;
		CHECK_INT(put(&f, &spec).verdict, VERDICT_ACCEPTED);
	}
	CHECK(storage_pending(f.storage) > EVENT_LOG_GROUP_BYTES / (LIMIT_DID + 1000));
	CHECK(storage_overlay_bytes(f.storage) > (int64_t)MIB(1));
	CHECK(storage_overlay_bytes(f.storage) <= (int64_t)(OVERLAY_BYTES + KIB(256)));
	/* The events and, when they are nearly full, one more. */
	commit(&f);
	spec.did = "did:web:a.example";
	for (spec.pad = EVENT_LOG_GROUP_BYTES - KIB(4); !storage_is_full(f.storage);
	     spec.pad = LIMIT_FRAME - KIB(4)) {
		spec.host_seq++;
		spec.rev++;
		CHECK_INT(put(&f, &spec).verdict, VERDICT_ACCEPTED);
	}
	CHECK_INT(storage_pending(f.storage), 2);
	CHECK(storage_log_bytes(f.storage) > LIMIT_FRAME);
	CHECK(storage_log_bytes(f.storage) <=
	      (int64_t)(EVENT_LOG_GROUP_BYTES + LIMIT_FRAME + KIB(128)));
	commit(&f);
	/* What is held between two groups. */
	CHECK(storage_log_bytes(f.storage) <= (int64_t)(2 * EVENT_LOG_GROUP_BYTES));
	CHECK(storage_overlay_bytes(f.storage) <= (int64_t)MIB(1));
	end(&f);
}

TEST(numbers_end)
{
	struct fixture f;
	struct event_spec spec = {
		.kind = EVENT_IDENTITY, .did = "did:web:a.example", .host_id = HOME, .host_seq = 1};
	struct storage_decision d;
	struct verified v;

	start(&f, MIB(1));
	f.options.first_seq = (uint64_t)LIMIT_SEQ - 1;
	snprintf(f.folder, sizeof(f.folder), "%s", test_folder());
	CHECK_INT(reopen(&f), 0);
	CHECK_INT(put(&f, &spec).verdict, VERDICT_ACCEPTED);
	spec.host_seq = 2;
	verified_make(&spec, &f.frame, &v);
	CHECK_INT(storage_put(f.storage, &v, &d), -ERANGE);
	end(&f);
}

TEST(only_one_process_has_it)
{
	struct fixture f;
	struct storage *second = NULL;

	start(&f, MIB(1));
	CHECK_INT(storage_open(f.folder, &f.options, &second), -EAGAIN);
	end(&f);
}

TEST(a_log_whose_state_is_lost_is_refused)
{
	struct fixture f;
	struct event_spec spec = {
		.kind = EVENT_IDENTITY, .did = "did:web:a.example", .host_id = HOME, .host_seq = 1};
	char from[160], to[160];

	start(&f, MIB(1));
	put(&f, &spec);
	commit(&f);
	storage_close(f.storage);
	f.storage = NULL;
	snprintf(from, sizeof(from), "%s/state", f.folder);
	snprintf(to, sizeof(to), "%s/elsewhere", f.folder);
	CHECK_INT(rename(from, to), 0);
	CHECK_INT(reopen(&f), -EEXIST);
	end(&f);
}

/*
 * A child is killed after some of the steps of a commit. Then: what was acknowledged is there,
 * unchanged; every number has one content; what comes again is taken exactly once.
 */
#define GROUP 5

static void put_batch(struct fixture *f, uint64_t first, size_t pad)
{
	for (uint64_t i = first; i < first + GROUP; i++) {
		struct event_spec spec = {
			.kind = EVENT_COMMIT,
			.did = i % 2 ? "did:web:a.example" : "did:web:b.example",
			.host_id = HOME,
			.host_seq = i,
			.rev = (unsigned)i,
			.pad = pad,
		};

		(void)put(f, &spec);
	}
}

static void wait_for(pid_t child)
{
	int status = -1;

	CHECK_INT(waitpid(child, &status, 0), child);
	CHECK_INT(status, 0);
}

static void killed_after(struct fixture *f, unsigned steps, size_t pad)
{
	pid_t child;

	storage_close(f->storage);
	f->storage = NULL;
	fflush(stdout);
	child = fork();
	if (child == 0) {
		if (storage_open(f->folder, &f->options, &f->storage) < 0)
			_exit(1);
		put_batch(f, 1, pad);
		if (storage_commit_steps(f->storage, STORAGE_STEPS) < 0)
			_exit(2);
		put_batch(f, 1 + GROUP, pad);
		_exit(storage_commit_steps(f->storage, steps) < 0 ? 3 : 0);
	}
	wait_for(child);
}

/* The host's number is the log's here, as nothing is refused. */
static void check_log(struct fixture *f, uint64_t next)
{
	struct buf frame;
	struct log_index_record record;
	struct span did;
	uint64_t seq;

	buf_init(&frame, LOG_MESSAGE_MAX);
	CHECK_INT(next_seq(f), next);
	for (uint64_t n = 1; n < next; n++) {
		CHECK(log_reader_get(f->log, n, &frame, &record));
		CHECK(log_reader_fields(buf_span(&frame), &seq, &did));
		CHECK_INT(seq, n);
		CHECK(span_is(did, n % 2 ? "did:web:a.example" : "did:web:b.example"));
		CHECK_INT(record.kind, EVENT_COMMIT);
		CHECK(record.host_seq == n || record.host_id == 0);
	}
	buf_release(&frame);
}

static void crash_after(unsigned steps, uint64_t file_bytes, size_t pad)
{
	const uint64_t marker_step = 3;
	struct fixture f;

	start(&f, file_bytes);
	killed_after(&f, steps, pad);
	CHECK_INT(reopen(&f), 0);
	/* The second group exists if and only if the marker says so; it was not acknowledged in any
	 * case. */
	check_log(&f, steps >= marker_step ? 1 + 2 * GROUP : 1 + GROUP);
	/* Both groups come again, from the window. */
	put_batch(&f, 1, pad);
	put_batch(&f, 1 + GROUP, pad);
	CHECK_INT(storage_pending(f.storage), steps >= marker_step ? 0 : GROUP);
	commit(&f);
	check_log(&f, 1 + 2 * GROUP);
	put_batch(&f, 1 + 2 * GROUP, pad);
	commit(&f);
	CHECK_INT(reopen(&f), 0);
	check_log(&f, 1 + 3 * GROUP);
	CHECK_INT(accounts_of(&f, HOME), 2);
	end(&f);
}

TEST(killed_between_the_steps_of_a_commit)
{
	for (unsigned steps = 0; steps <= STORAGE_STEPS; steps++)
		crash_after(steps, MIB(1), 100);
}

TEST(killed_between_the_steps_of_a_commit_with_a_new_file)
{
	for (unsigned steps = 0; steps <= STORAGE_STEPS; steps++)
		crash_after(steps, KIB(64), 10000);
}

static uint64_t file_bytes(const char *path)
{
	struct stat st = {0};

	CHECK_INT(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

/* A kill within the first step leaves any part of the group. */
TEST(killed_while_messages_are_written)
{
	struct fixture f;
	char path[200];
	uint64_t end_bytes;

	start(&f, MIB(1));
	snprintf(path, sizeof(path), "%s/00000000000000000001.ws", f.log);
	killed_after(&f, 1, 10);
	end_bytes = file_bytes(path);
	for (uint64_t cut = 1; cut <= end_bytes / 2; cut += 7) {
		CHECK_INT(truncate(path, (off_t)(end_bytes - cut)), 0);
		CHECK_INT(reopen(&f), 0);
		check_log(&f, 1 + GROUP);
		put_batch(&f, 1 + GROUP, 10);
		CHECK_INT(storage_commit_steps(f.storage, 1), 0);
	}
	end(&f);
}

TEST(old_files_leave_when_a_new_one_begins)
{
	struct fixture f;
	struct event_spec spec = {
		.kind = EVENT_IDENTITY, .did = "did:web:a.example", .host_id = HOME, .pad = 40000};

	start(&f, KIB(64));
	f.options.log.retention_bytes = KIB(128);
	CHECK_INT(reopen(&f), 0);
	for (int i = 0; i < 10; i++) {
		spec.host_seq++;
		put(&f, &spec);
		commit(&f);
		CHECK(event_log_bytes(storage_log(f.storage)) <= KIB(128));
	}
	CHECK_INT(event_log_files(storage_log(f.storage)), 3);
	end(&f);
}

static unsigned put_files(struct fixture *f, unsigned count)
{
	struct storage_group g;
	unsigned i;

	for (i = 1; i <= count; i++) {
		const struct event_spec spec = {.kind = EVENT_IDENTITY,
						.did = "did:web:example.com",
						.host_id = HOME,
						.host_seq = i,
						.pad = 600000};

		CHECK_INT(put(f, &spec).verdict, VERDICT_ACCEPTED);
		CHECK_INT(storage_commit(f->storage, &g), 0);
	}
	return i;
}

/* The state cannot be opened without room, and the log has taken it all: what may leave leaves
 * first. What may not stays, and is there when there is room. */
TEST(a_disk_that_the_log_has_filled)
{
	char *disk = disk_new("size=16m");
	struct fixture f;
	unsigned next;

	if (!disk)
		SKIP("no filesystem can be mounted");
	start_in(&f, disk, KIB(64));
	next = put_files(&f, 10);
	disk_fill(disk);
	CHECK_INT(storage_find_room(f.storage), -ENOSPC);
	CHECK_INT(reopen(&f), -ENOSPC);
	/* All but what is needed. */
	f.options.log.retention_bytes = 1;
	CHECK_INT(reopen(&f), 0);
	if (f.storage) {
		CHECK_INT(next_seq(&f), next);
		CHECK(event_log_files(storage_log(f.storage)) <= 2);
		storage_retain(f.storage, clock_usec());
		CHECK_INT(event_log_files(storage_log(f.storage)), 1);
	}
	end(&f);
	disk_free(disk);
}

/* It is not known then how far the log is real: the newest file may not be, and the one before it
 * stays. */
TEST(a_full_disk_with_a_group_that_is_not_real)
{
	char *disk = disk_new("size=16m");
	const struct event_spec spec = {.kind = EVENT_IDENTITY,
					.did = "did:web:example.com",
					.host_id = HOME,
					.host_seq = 100,
					.pad = 600000};
	struct fixture f;
	unsigned next;

	if (!disk)
		SKIP("no filesystem can be mounted");
	start_in(&f, disk, KIB(64));
	next = put_files(&f, 3);
	CHECK_INT(put(&f, &spec).verdict, VERDICT_ACCEPTED);
	CHECK_INT(storage_commit_steps(f.storage, 2), 0);
	disk_fill(disk);
	f.options.log.retention_bytes = 1;
	CHECK_INT(reopen(&f), 0);
	if (f.storage)
		CHECK_INT(next_seq(&f), next);
	end(&f);
	disk_free(disk);
}
