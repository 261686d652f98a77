#include "fanout/range.h"

#include <errno.h>

#include "tests/test.h"

/* Index records of messages with these lengths, from this offset on. */
static void put_records(struct buf *b, uint64_t offset, const uint32_t *lengths, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct log_index_record record = {.offset = offset, .length = lengths[i]};

		log_index_record_encode(&record, buf_extend(b, LOG_INDEX_RECORD_SIZE));
		offset += lengths[i];
	}
}

TEST(ranges_end_on_the_last_boundary_that_fits)
{
	static const struct {
		const char *name;
		uint32_t lengths[4];
		size_t count;
		uint64_t events, bytes;
	} cases[] = {
		{"one", {100}, 1, 1, 100},
		{"all", {100, 200, 300, 400}, 4, 4, 1000},
		{"exactly full", {100, KIB(256) - 100, 300, 400}, 4, 2, KIB(256)},
		{"one byte too many", {101, KIB(256) - 100, 300, 400}, 4, 1, 101},
		{"first too large alone", {5000010, 200, 300, 400}, 4, 1, 5000010},
		{"last too large", {100, 200, 300, 5000010}, 4, 3, 600},
		{"middle too large", {100, 200, KIB(256), 3}, 4, 2, 300},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf records;
		struct range r = {0};

		buf_init(&records, KIB(64));
		put_records(&records, 5000, cases[i].lengths, cases[i].count);
		CHECK_INT(range_find(buf_span(&records), 5000, &r), 0);
		if (r.start != 5000 || r.events != cases[i].events ||
		    r.end != 5000 + cases[i].bytes)
			test_fail(__FILE__, __LINE__, "%s: %" PRIu64 " events to %" PRIu64,
				  cases[i].name, r.events, r.end);
		buf_release(&records);
	}
}

TEST(ranges_are_the_same_as_those_counted_one_by_one)
{
	struct buf records;
	uint32_t lengths[RANGE_EVENTS];

	buf_init(&records, KIB(64));
	for (int round = 0; round < 200; round++) {
		uint64_t offset = test_random() % 1000000, bytes = 0;
		size_t count = 1 + test_random() % RANGE_EVENTS, events = 0;
		struct range r = {0};

		for (size_t i = 0; i < count; i++)
			lengths[i] = 3 + (uint32_t)(test_random() % (round % 2 ? 300 : 30000));
		while (events < count && (events == 0 || bytes + lengths[events] <= RANGE_BYTES))
			bytes += lengths[events++];
		buf_clear(&records);
		put_records(&records, offset, lengths, count);
		CHECK_INT(range_find(buf_span(&records), RANGE_ANYWHERE, &r), 0);
		CHECK_INT(r.start, offset);
		CHECK_INT(r.end, offset + bytes);
		CHECK_INT(r.events, events);
	}
	buf_release(&records);
}

TEST(broken_records_are_refused)
{
	static const uint32_t lengths[] = {100, 200};
	struct buf records;
	struct range r = {0};

	buf_init(&records, KIB(64));
	CHECK_INT(range_find(SPAN_EMPTY, 0, &r), -ENODATA);
	CHECK_INT(range_find(span_of("x", 1), 0, &r), -ENODATA);
	put_records(&records, 50, lengths, 2);
	CHECK_INT(range_find(buf_span(&records), 49, &r), -EBADMSG);
	for (size_t i = 0; i < records.len; i++) {
		records.ptr[i] ^= 1;
		CHECK_INT(range_find(buf_span(&records), 50, &r), -EBADMSG);
		records.ptr[i] ^= 1;
	}
	CHECK_INT(r.events, 0);
	/* The second begins before the first. */
	buf_clear(&records);
	put_records(&records, 50, lengths, 1);
	put_records(&records, 20, lengths, 1);
	CHECK_INT(range_find(buf_span(&records), 50, &r), -EBADMSG);
	buf_release(&records);
}
