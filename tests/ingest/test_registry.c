#include "ingest/registry.h"

#include <errno.h>

#include "common/database.h"
#include "common/loop.h"
#include "tests/lib/damage.h"
#include "tests/test.h"

static struct registry_record example(const char *host, uint64_t number)
{
	struct registry_record r = {
		.status = HOST_OFFLINE,
		.has_cursor = true,
		.epoch = 1763769600,
		.number = number,
		.created_usec = 1763769600000000,
		.cursor = ((uint64_t)1 << 53) - 1,
		.events = 17,
		.resets = 2,
		.rev_usec = 1763769600000001,
		.anew_first_seq = 7,
		.anew_last_seq = 9,
		.anew_count = 2,
		.error_usec = 5,
		.error = "TCP: Connection refused",
	};

	snprintf(r.host, sizeof(r.host), "%s", host);
	return r;
}

static bool is_same(const struct registry_record *a, const struct registry_record *b)
{
	return strcmp(a->host, b->host) == 0 && a->status == b->status &&
	       a->has_cursor == b->has_cursor && a->epoch == b->epoch && a->number == b->number &&
	       a->created_usec == b->created_usec && a->cursor == b->cursor &&
	       a->events == b->events && a->resets == b->resets && a->rev_usec == b->rev_usec &&
	       a->anew_first_seq == b->anew_first_seq && a->anew_last_seq == b->anew_last_seq &&
	       a->anew_count == b->anew_count && a->error_usec == b->error_usec &&
	       strcmp(a->error, b->error) == 0;
}

TEST(encode_decode_encode)
{
	struct registry_record r = example("pds.example", 3), back = {0};
	struct buf a, b;

	buf_init(&a, KIB(1));
	buf_init(&b, KIB(1));
	registry_record_encode(&a, &r);
	snprintf(back.host, sizeof(back.host), "pds.example");
	CHECK_INT(registry_record_decode(buf_span(&a), &back), 0);
	CHECK(is_same(&r, &back));
	registry_record_encode(&b, &back);
	CHECK_SPAN(buf_span(&a), buf_span(&b));
	buf_release(&a);
	buf_release(&b);
}

TEST(epochs_rise_and_are_times)
{
	uint32_t now = (uint32_t)(clock_usec() / USEC_PER_SEC);
	uint32_t first = registry_next_epoch(0);

	CHECK(first >= now && first < now + 600);
	CHECK(registry_next_epoch(first) > first);
	CHECK_INT(registry_next_epoch(now + 1000), now + 1001);
}

TEST(refuses_what_it_did_not_write)
{
	struct registry_record r = example("pds.example", 3), back = {.number = 99};
	struct buf b;

	buf_init(&b, KIB(1));
	registry_record_encode(&b, &r);
	for (size_t n = 0; n < b.len; n++)
		CHECK_INT(registry_record_decode(span_of(b.ptr, n), &back), -EBADMSG);
	buf_put_u8(&b, 0);
	CHECK_INT(registry_record_decode(buf_span(&b), &back), -EBADMSG);
	b.len--;
	b.ptr[0] = 1; /* version */
	CHECK_INT(registry_record_decode(buf_span(&b), &back), -EBADMSG);
	b.ptr[0] = 2;
	b.ptr[1] = 0; /* status */
	CHECK_INT(registry_record_decode(buf_span(&b), &back), -EBADMSG);
	b.ptr[1] = 4;
	CHECK_INT(registry_record_decode(buf_span(&b), &back), -EBADMSG);
	b.ptr[1] = 1;
	b.ptr[2] = 2; /* has_cursor */
	CHECK_INT(registry_record_decode(buf_span(&b), &back), -EBADMSG);
	CHECK_INT(back.number, 99);
	buf_release(&b);
}

struct loaded {
	struct registry_record records[4];
	size_t count;
};

static int take(void *arg, const struct registry_record *r)
{
	struct loaded *l = arg;

	l->records[l->count++] = *r;
	return 0;
}

TEST(is_there_again_after_closing)
{
	struct registry_record a = example("b.example", 1), b = example("a.example:8443", 2);
	struct loaded loaded = {0};
	struct registry *r;
	char path[256];

	snprintf(path, sizeof(path), "%s/hosts", test_folder());
	CHECK_INT(registry_open(path, KIB(64), &r), 0);
	registry_put(r, &a);
	registry_put(r, &b);
	CHECK_INT(registry_write(r), 0);
	a.cursor = 12;
	registry_put(r, &a);
	CHECK_INT(registry_write(r), 0);
	registry_close(r);
	CHECK_INT(registry_open(path, KIB(64), &r), 0);
	CHECK_INT(registry_load(r, take, &loaded), 0);
	CHECK_INT(loaded.count, 2);
	CHECK(is_same(&loaded.records[0], &b));
	CHECK(is_same(&loaded.records[1], &a));
	CHECK(registry_memory_bytes(r) > 0);
	registry_close(r);
}

TEST(names_a_record_that_is_not_readable)
{
	struct database_batch *batch = database_batch_new();
	struct loaded loaded = {0};
	struct database *d;
	struct registry *r;
	char path[256];

	snprintf(path, sizeof(path), "%s/hosts", test_folder());
	CHECK_INT(database_open(path, KIB(64), KIB(64), &d), 0);
	database_batch_put(batch, SPAN_LITERAL("bad.example"), SPAN_LITERAL("nonsense"));
	CHECK_INT(database_write(d, batch, true), 0);
	database_batch_free(batch);
	database_close(d);
	CHECK_INT(registry_open(path, KIB(64), &r), 0);
	CHECK_INT(registry_load(r, take, &loaded), -EBADMSG);
	CHECK(strstr(registry_error(r), "bad.example") != NULL);
	registry_close(r);
}

/* Hosts that cannot be read are not taken for hosts that are not there. */
TEST(a_damaged_database_is_refused)
{
	static const struct {
		const char *file; /* NULL: the tables */
		long bytes;
	} cases[] = {{"CURRENT", 3}, {"CURRENT", -1}, {"MANIFEST", 3}, {"MANIFEST", -1}, {NULL, 0}};
	struct registry_record a = example("b.example", 1);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct loaded loaded = {0};
		struct registry *r;
		char path[256];
		int error;

		snprintf(path, sizeof(path), "%s/hosts", test_folder());
		CHECK_INT(registry_open(path, KIB(64), &r), 0);
		registry_put(r, &a);
		CHECK_INT(registry_write(r), 0);
		registry_close(r);
		CHECK_INT(registry_open(path, KIB(64), &r), 0);
		registry_close(r);
		if (cases[i].file)
			damage_file(path, cases[i].file, cases[i].bytes);
		else
			damage_tables(path);
		r = NULL;
		error = registry_open(path, KIB(64), &r);
		if (!error)
			error = registry_load(r, take, &loaded);
		CHECK_INT(error, -EUCLEAN);
		CHECK(*registry_error(r) != '\0');
		registry_close(r);
	}
}

TEST(a_database_with_a_damaged_log_is_refused)
{
	struct registry_record a = example("b.example", 1);
	struct registry *r;
	char path[256];

	snprintf(path, sizeof(path), "%s/hosts", test_folder());
	CHECK_INT(registry_open(path, KIB(64), &r), 0);
	for (unsigned i = 0; i < 2; i++) {
		registry_put(r, &a);
		CHECK_INT(registry_write(r), 0);
	}
	registry_close(r);
	damage_logs(path);
	r = NULL;
	CHECK_INT(registry_open(path, KIB(64), &r), -EUCLEAN);
	CHECK(strstr(registry_error(NULL), ".log is damaged at byte") != NULL);
}
