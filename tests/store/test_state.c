#include "store/state.h"

#include <errno.h>

#include "common/database.h"
#include "tests/lib/damage.h"
#include "tests/lib/verified.h"
#include "tests/test.h"

#define DID      "did:web:a.example"
#define HOST_KEY "h\x01\x02\x03\x04\x05\x06\x07\x08"
#define HOST     0x0102030405060708
#define OTHER    5

struct fixture {
	char path[128];
	struct state *state;
};

static void start(struct fixture *f)
{
	snprintf(f->path, sizeof(f->path), "%s/state", test_folder());
	CHECK_INT(state_open(f->path, KIB(64), &f->state), 0);
}

static const struct marker marker = {.file_first_seq = 1, .file_end_bytes = 100, .next_seq = 3};

static struct account example(void)
{
	struct account a;

	account_init(&a);
	a.here = (struct account_applied){.host_id = HOST, .host_epoch = 1, .host_seq = 9};
	return a;
}

static void fill(struct fixture *f)
{
	struct account a = example();

	state_put_account(f->state, SPAN_LITERAL(DID), &a);
	CHECK_INT(state_move_account(f->state, 0, HOST), 0);
	CHECK_INT(state_write(f->state, &marker), 0);
}

TEST(what_is_written_is_there_after_a_restart)
{
	struct fixture f;
	struct marker m;
	struct account a;
	uint64_t accounts;

	start(&f);
	CHECK_INT(state_get_marker(f.state, &m), -ENOENT);
	CHECK_INT(state_get_account(f.state, SPAN_LITERAL(DID), &a), -ENOENT);
	fill(&f);
	state_close(f.state);
	CHECK_INT(state_open(f.path, KIB(64), &f.state), 0);
	CHECK_INT(state_get_marker(f.state, &m), 0);
	CHECK_INT(m.next_seq, marker.next_seq);
	CHECK_INT(state_get_account(f.state, SPAN_LITERAL(DID), &a), 0);
	CHECK_INT(a.here.host_seq, 9);
	CHECK_INT(state_get_host_accounts(f.state, HOST, &accounts), 0);
	CHECK_INT(accounts, 1);
	state_close(f.state);
}

TEST(changes_are_seen_before_they_are_written)
{
	struct fixture f;
	struct account a = example();
	uint64_t accounts;

	start(&f);
	state_put_account(f.state, SPAN_LITERAL(DID), &a);
	CHECK_INT(state_get_account(f.state, SPAN_LITERAL(DID), &a), 0);
	CHECK_INT(state_move_account(f.state, 0, HOST), 0);
	CHECK_INT(state_move_account(f.state, 0, HOST), 0);
	CHECK_INT(state_move_account(f.state, HOST, OTHER), 0);
	CHECK_INT(state_get_host_accounts(f.state, HOST, &accounts), 0);
	CHECK_INT(accounts, 1);
	CHECK_INT(state_get_host_accounts(f.state, OTHER, &accounts), 0);
	CHECK_INT(accounts, 1);
	CHECK_INT(state_count_accounts(f.state, &accounts), 0);
	CHECK_INT(accounts, 0); /* those on disk */
	CHECK_INT(state_write(f.state, &marker), 0);
	CHECK_INT(state_count_accounts(f.state, &accounts), 0);
	CHECK_INT(accounts, 2);
	state_close(f.state);
}

static void check_value(struct database *d, struct span key, size_t len)
{
	struct buf value;

	buf_init(&value, KIB(1));
	CHECK_INT(database_get(d, key, &value), 0);
	CHECK_INT(value.len, len);
	buf_release(&value);
}

/* The keys are on disk. */
TEST(keys)
{
	struct fixture f;
	struct database *d;

	start(&f);
	fill(&f);
	state_close(f.state);
	CHECK_INT(database_open(f.path, KIB(64), KIB(64), &d), 0);
	check_value(d, SPAN_LITERAL("a" DID), ACCOUNT_SIZE);
	check_value(d, SPAN_LITERAL(HOST_KEY), sizeof(uint64_t));
	check_value(d, SPAN_LITERAL("m"), MARKER_SIZE);
	database_close(d);
}

static void damage(const char *path)
{
	struct database_batch *batch = database_batch_new();
	struct database *d;

	CHECK_INT(database_open(path, KIB(64), KIB(64), &d), 0);
	database_batch_put(batch, SPAN_LITERAL("a" DID), SPAN_LITERAL("?"));
	database_batch_put(batch, SPAN_LITERAL(HOST_KEY), SPAN_LITERAL("?"));
	database_batch_put(batch, SPAN_LITERAL("m"), SPAN_LITERAL("?"));
	CHECK_INT(database_write(d, batch, true), 0);
	database_batch_free(batch);
	database_close(d);
}

TEST(damaged_records_are_failures)
{
	struct fixture f;
	struct marker m;
	struct account a;
	uint64_t accounts;

	start(&f);
	state_close(f.state);
	damage(f.path);
	CHECK_INT(state_open(f.path, KIB(64), &f.state), 0);
	CHECK_INT(state_get_marker(f.state, &m), -EIO);
	CHECK_INT(state_get_account(f.state, SPAN_LITERAL(DID), &a), -EIO);
	CHECK_INT(state_get_host_accounts(f.state, HOST, &accounts), -EIO);
	CHECK_INT(state_move_account(f.state, HOST, 0), -EIO);
	CHECK_INT(state_count_accounts(f.state, &accounts), -EIO);
	state_close(f.state);
}

/* Neither is a state with a part that cannot be read one where this part is not, nor is one whose
 * files are not all there a new one. */
TEST(a_damaged_state_is_refused)
{
	static const struct {
		const char *file; /* NULL: the tables */
		long bytes;
	} cases[] = {{"CURRENT", 3}, {"CURRENT", -1}, {"MANIFEST", 3}, {"MANIFEST", -1}, {NULL, 0}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t accounts;
		struct fixture f;
		struct account a;
		struct marker m;

		start(&f);
		fill(&f);
		state_close(f.state);
		CHECK_INT(state_open(f.path, KIB(64), &f.state), 0);
		state_close(f.state);
		f.state = NULL;
		if (cases[i].file) {
			damage_file(f.path, cases[i].file, cases[i].bytes);
			CHECK_INT(state_open(f.path, KIB(64), &f.state), -EUCLEAN);
			continue;
		}
		damage_tables(f.path);
		CHECK_INT(state_open(f.path, KIB(64), &f.state), 0);
		CHECK_INT(state_get_marker(f.state, &m), -EUCLEAN);
		CHECK_INT(state_get_account(f.state, SPAN_LITERAL(DID), &a), -EUCLEAN);
		CHECK_INT(state_count_accounts(f.state, &accounts), -EUCLEAN);
		state_close(f.state);
	}
}

/* What is left out of the log that LevelDB writes ahead would be of an earlier time. */
TEST(a_state_with_a_damaged_log_is_refused)
{
	struct fixture f;

	start(&f);
	fill(&f);
	fill(&f);
	state_close(f.state);
	f.state = NULL;
	damage_logs(f.path);
	CHECK_INT(state_open(f.path, KIB(64), &f.state), -EUCLEAN);
}
