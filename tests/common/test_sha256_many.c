#include "common/sha256_many.h"

#include "tests/test.h"

#define WORK_MAX  300
#define BYTES_MAX 6000

static uint8_t bytes[BYTES_MAX];
static struct sha256_trace trace;

/* A message that begins like that one and may differ from somewhere on, longer or shorter. */
static void check_like(const struct sha256_work *like)
{
	static uint8_t message[BYTES_MAX + 200];
	size_t len = test_random() % (like->message.len + 200);
	uint8_t want[SHA256_SIZE], got[SHA256_SIZE];

	for (size_t i = 0; i < len; i++)
		message[i] = i < like->message.len ? like->message.ptr[i] : (uint8_t)i;
	if (len > 0 && test_random() % 4 > 0)
		message[test_random() % len] ^= 1;
	sha256(span_of(message, len), want);
	sha256_like(like, &trace, span_of(message, len), got);
	if (memcmp(got, want, SHA256_SIZE) != 0)
		test_fail(__FILE__, __LINE__, "%zu bytes like %zu", len, like->message.len);
}

/* By one of the ways that this processor has; ANY_WAY: by whichever is taken. */
#define ANY_WAY SIZE_MAX

static bool hash(size_t way, struct sha256_work *work, size_t count)
{
	if (way != ANY_WAY)
		return sha256_many_by(way, work, count, &trace);
	sha256_many(work, count, &trace);
	return true;
}

static void check_digests(size_t way, const struct sha256_work *work, size_t count)
{
	uint8_t want[SHA256_SIZE];

	for (size_t i = 0; i < count; i++) {
		sha256(work[i].message, want);
		if (memcmp(work[i].digest, want, SHA256_SIZE) != 0)
			test_fail(__FILE__, __LINE__, "way %zu, message %zu of %zu, %zu bytes", way,
				  i, count, work[i].message.len);
	}
}

/* Messages of up to max bytes, at any place; each digest must be what sha256 says. */
static void check_random(size_t count, size_t max)
{
	static struct sha256_work work[WORK_MAX];

	for (size_t i = 0; i < BYTES_MAX; i++)
		bytes[i] = (uint8_t)test_random();
	for (size_t i = 0; i < count; i++) {
		size_t len = test_random() % (max + 1);

		work[i].message = span_of(bytes + test_random() % (BYTES_MAX - len + 1), len);
	}
	for (size_t way = ANY_WAY;; way++) {
		for (size_t i = 0; i < count; i++)
			memset(work[i].digest, 0, SHA256_SIZE);
		if (!hash(way, work, count))
			break;
		check_digests(way, work, count);
		for (size_t i = 0; i < count; i++)
			check_like(&work[i]);
	}
}

TEST(none_one_and_many)
{
	for (size_t count = 0; count <= 20; count++)
		check_random(count, 200);
	for (unsigned round = 0; round < 50; round++)
		check_random(test_random() % (WORK_MAX + 1), 400);
}

TEST(like_none)
{
	uint8_t want[SHA256_SIZE], got[SHA256_SIZE];

	sha256(span_of(bytes, 300), want);
	sha256_like(NULL, &trace, span_of(bytes, 300), got);
	CHECK(memcmp(got, want, SHA256_SIZE) == 0);
}

TEST(long_messages_between_short_ones)
{
	for (unsigned round = 0; round < 20; round++)
		check_random(test_random() % 40, 5000);
}

/* Where the padding takes one block more, and an empty message. */
TEST(every_length_around_the_ends_of_blocks)
{
	static struct sha256_work work[WORK_MAX];

	for (size_t i = 0; i < WORK_MAX; i++)
		work[i].message = i > 0 ? span_of(bytes, i) : SPAN_EMPTY;
	for (size_t way = ANY_WAY; hash(way, work, WORK_MAX); way++)
		check_digests(way, work, WORK_MAX);
}

/* Each number of busy lanes, with messages that end at different times and at the same time. */
TEST(every_number_of_lanes)
{
	static struct sha256_work work[3 * SHA256_LANES];

	for (size_t count = 1; count <= ARRAY_SIZE(work); count++)
		for (size_t step = 0; step <= SHA256_BLOCK_SIZE; step += 8) {
			for (size_t i = 0; i < count; i++)
				work[i].message = span_of(bytes + i, 100 + i * step);
			for (size_t way = ANY_WAY; hash(way, work, count); way++)
				check_digests(way, work, count);
		}
}

/* What the processor says of itself is what the tests above have gone through. */
TEST(the_ways_of_this_processor)
{
	size_t count = 0, want = 0;

	while (sha256_many_by(count, NULL, 0, &trace))
		count++;
#if defined(__x86_64__)
	want += __builtin_cpu_supports("avx2") != 0;
	want += __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
#endif
	printf("# %zu ways\n", count);
	CHECK_INT(count, want);
}
