#include "tests/simnet/corpus.h"

#include <errno.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/test.h"

static const struct world_settings settings = {
	.seed = UINT64_MAX - 5,
	.hosts = 60000,
	.accounts = 1u << 30,
	.port = 65535,
	.plain = true,
	.big_hosts = 12,
	.p256_percent = 5,
	.web_percent = 6,
	.legacy_percent = 7,
};

/* One of each type, with every field at an end of its range. */
static struct corpus_record record_of(size_t i)
{
	static const struct corpus_record records[] = {
		{.type = CORPUS_EVENT,
		 .account = (1u << 30) - 1,
		 .kind = CORPUS_ACCOUNT,
		 .host = 59999,
		 .seq = (1ull << 53) - 1,
		 .verdict = VERDICT_STALE_REV,
		 .seq_offset = 3,
		 .seq_size = 9,
		 .loses_handle = true,
		 .frame = {(const uint8_t *)"twelve bytes", 12}},
		{.type = CORPUS_BARRIER},
		{.type = CORPUS_IDENTITY,
		 .account = 5,
		 .identity = {59999, UINT32_MAX, 7, WORLD_IDENTITY_TOMBSTONED}},
		{.type = CORPUS_EVENT,
		 .kind = CORPUS_COMMIT,
		 .seq = 1,
		 .seq_offset = 0,
		 .seq_size = 1,
		 .frame = {(const uint8_t *)"\1", 1}},
	};

	return records[i % ARRAY_SIZE(records)];
}

static void check_same(const struct corpus_record *got, const struct corpus_record *want)
{
	CHECK_INT(got->type, want->type);
	CHECK_INT(got->account, want->account);
	if (want->type == CORPUS_EVENT) {
		CHECK_INT(got->kind, want->kind);
		CHECK_INT(got->host, want->host);
		CHECK_INT(got->seq, want->seq);
		CHECK_INT(got->verdict, want->verdict);
		CHECK_INT(got->seq_offset, want->seq_offset);
		CHECK_INT(got->seq_size, want->seq_size);
		CHECK_INT(got->loses_handle, want->loses_handle);
		CHECK_SPAN(got->frame, want->frame);
	} else if (want->type == CORPUS_IDENTITY) {
		CHECK_INT(got->identity.host, want->identity.host);
		CHECK_INT(got->identity.key, want->identity.key);
		CHECK_INT(got->identity.handle, want->identity.handle);
		CHECK_INT(got->identity.state, want->identity.state);
	}
}

#define RECORDS 40

static const char *write_corpus(void)
{
	static char path[PATH_MAX];
	struct corpus_writer *w;
	struct stat st;

	snprintf(path, sizeof(path), "%s/corpus", test_folder());
	w = corpus_writer_open(path, &settings);
	for (size_t i = 0; i < RECORDS; i++) {
		struct corpus_record r = record_of(i);

		corpus_writer_put(w, &r);
	}
	CHECK(stat(path, &st) < 0 && errno == ENOENT);
	corpus_writer_close(w);
	return path;
}

TEST(what_is_written_is_read)
{
	struct corpus c;
	struct corpus_record r;

	CHECK_INT(corpus_open(write_corpus(), &c), 0);
	CHECK_INT(c.events, RECORDS / 2);
	CHECK_INT(c.settings.seed, settings.seed);
	CHECK_INT(c.settings.hosts, settings.hosts);
	CHECK_INT(c.settings.accounts, settings.accounts);
	CHECK_INT(c.settings.port, settings.port);
	CHECK(c.settings.plain);
	CHECK_INT(c.settings.big_hosts, settings.big_hosts);
	CHECK_INT(c.settings.p256_percent, settings.p256_percent);
	CHECK_INT(c.settings.web_percent, settings.web_percent);
	CHECK_INT(c.settings.legacy_percent, settings.legacy_percent);
	for (size_t turn = 0; turn < 2; turn++) {
		for (size_t i = 0; i < RECORDS; i++) {
			struct corpus_record want = record_of(i);

			CHECK_INT(corpus_next(&c, &r), 1);
			check_same(&r, &want);
		}
		CHECK_INT(corpus_next(&c, &r), 0);
		CHECK_INT(corpus_next(&c, &r), 0);
		corpus_rewind(&c);
	}
	corpus_close(&c);
}

static void write_file(const char *path, struct span s)
{
	FILE *f = fopen(path, "we");

	CHECK(f && (s.len == 0 || fwrite(s.ptr, s.len, 1, f) == 1) && fclose(f) == 0);
}

TEST(no_part_of_a_corpus_is_one)
{
	const char *path = write_corpus();
	struct corpus c;
	struct buf whole;

	test_read_file(path, &whole);
	for (size_t size = 0; size < whole.len; size++) {
		write_file(path, span_of(whole.ptr, size));
		CHECK_INT(corpus_open(path, &c), -EBADMSG);
	}
	buf_put_u8(&whole, 0);
	write_file(path, buf_span(&whole));
	CHECK_INT(corpus_open(path, &c), -EBADMSG);
	buf_release(&whole);
	unlink(path);
	CHECK_INT(corpus_open(path, &c), -ENOENT);
}

/* The bytes of the magic and the version, and those that say of what kind a record is. */
TEST(what_is_no_record_is_refused)
{
	const char *path = write_corpus();
	struct corpus_record r;
	struct corpus c;
	struct buf whole;
	size_t head;

	CHECK_INT(corpus_open(path, &c), 0);
	head = c.offset;
	corpus_close(&c);
	test_read_file(path, &whole);
	for (size_t i = 0; i < 16; i++) {
		whole.ptr[i] ^= 0x80;
		write_file(path, buf_span(&whole));
		CHECK_INT(corpus_open(path, &c), -EBADMSG);
		whole.ptr[i] ^= 0x80;
	}
	/* type, kind, state, seq_size, loses_handle, verdict */
	for (size_t i = 0; i < 7; i++) {
		whole.ptr[head + i] ^= 0x80;
		write_file(path, buf_span(&whole));
		CHECK_INT(corpus_open(path, &c), 0);
		CHECK_INT(corpus_next(&c, &r), -EBADMSG);
		corpus_close(&c);
		whole.ptr[head + i] ^= 0x80;
	}
	buf_release(&whole);
}
