/* Every accusation that the judge can make is provoked here, and nothing else is said beside it. */
#include "tests/simnet/judge.h"

#include <stdlib.h>
#include <time.h>

#include "common/cbor.h"
#include "tests/lib/edit.h"
#include "tests/lib/frame.h"
#include "tests/simnet/frame_parts.h"
#include "tests/test.h"

#define RECORDS_MAX 16

/* A court: what was sent, in a memory that outlives the judge, and one reader. */
struct court {
	struct judge *judge;
	struct judge_reader *reader;
	struct corpus_record records[RECORDS_MAX];
	struct buf frames[RECORDS_MAX];
	size_t count;
};

static void court_open(struct court *c)
{
	*c = (struct court){.judge = judge_open()};
	c->reader = judge_reader_new(c->judge, "a reader");
}

static void court_close(struct court *c)
{
	judge_reader_free(c->reader);
	judge_close(c->judge);
	for (size_t i = 0; i < c->count; i++)
		buf_release(&c->frames[i]);
}

/* A frame with another number. Appends. */
static void put_renumbered(struct span frame, uint64_t number, struct buf *out)
{
	struct span before, after;

	frame_split(frame, &before, &after);
	buf_append(out, before);
	cbor_put_integer(out, (int64_t)number);
	buf_append(out, after);
}

static const struct corpus_record *record(struct court *c, uint32_t account, struct span frame,
					  enum verdict verdict)
{
	struct corpus_record *r = &c->records[c->count];
	struct buf *b = &c->frames[c->count++];
	struct span before, after;

	buf_init(b, LIMIT_FRAME);
	buf_append(b, frame);
	frame_split(buf_span(b), &before, &after);
	*r = (struct corpus_record){
		.type = CORPUS_EVENT,
		.account = account,
		.kind = CORPUS_ACCOUNT,
		.host = 7,
		.seq = 1000 + c->count,
		.verdict = verdict,
		.seq_offset = (uint32_t)before.len,
		.seq_size = (uint32_t)(b->len - before.len - after.len),
		.frame = buf_span(b),
	};
	return r;
}

/* An #account event of the account, whose status makes its content the event's own. */
static const struct corpus_record *event(struct court *c, uint32_t account, unsigned content,
					 enum verdict verdict)
{
	const struct corpus_record *r;
	char did[64], status[32];
	struct buf b;

	buf_init(&b, 1024);
	snprintf(did, sizeof(did), "did:plc:%024u", account);
	snprintf(status, sizeof(status), "status %u", content);
	frame_put_account(&b, 1001 + c->count, did, false, status);
	r = record(c, account, buf_span(&b), verdict);
	buf_release(&b);
	return r;
}

static const struct corpus_record *sent(struct court *c, uint32_t account, unsigned content)
{
	const struct corpus_record *r = event(c, account, content, VERDICT_ACCEPTED);

	judge_sent(c->judge, r);
	return r;
}

static void received_at(struct judge_reader *reader, struct span frame, uint64_t number)
{
	struct buf b;

	buf_init(&b, LIMIT_FRAME);
	put_renumbered(frame, number, &b);
	judge_received(reader, buf_span(&b));
	buf_release(&b);
}

static void received(struct court *c, const struct corpus_record *r, uint64_t number)
{
	received_at(c->reader, r->frame, number);
}

/* The whole report: "name=value" of everything that is not nothing. */
static void check_report(const struct court *c, const char *want)
{
	struct judge_report p;
	struct buf text;
	bool innocent;

	judge_report(c->judge, &p);
	const struct {
		const char *name;
		uint64_t value;
	} counts[] = {
		{"missing", p.missing},           {"repeated", p.repeated},
		{"reordered", p.reordered},       {"forged", p.forged},
		{"let_through", p.let_through},   {"gaps", p.gaps},
		{"two_contents", p.two_contents},
	};

	buf_init(&text, 1024);
	buf_printf(&text, "%ju/%ju of %ju", (uintmax_t)p.received, (uintmax_t)p.due,
		   (uintmax_t)p.sent);
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		if (counts[i].value)
			buf_printf(&text, " %s=%ju", counts[i].name, (uintmax_t)counts[i].value);
	buf_put_u8(&text, '\0');
	CHECK_STR((const char *)text.ptr, want);
	innocent = strchr(want, '=') == NULL;
	CHECK_INT(judge_is_complete(c->judge), p.received == p.due);
	CHECK_INT(judge_verdict(c->judge), innocent);
	buf_release(&text);
}

TEST(nothing_is_wrong_with_what_came_as_it_was_sent)
{
	struct court c;
	const struct corpus_record *a, *b, *d;

	court_open(&c);
	check_report(&c, "0/0 of 0");
	a = sent(&c, 1, 1);
	b = sent(&c, 2, 1);
	d = sent(&c, 1, 2);
	/* Numbers of every size that CBOR knows. */
	received(&c, b, 22);
	received(&c, a, 23);
	received(&c, d, 24);
	check_report(&c, "3/3 of 3");
	CHECK_INT(judge_reader_last_seq(c.reader), 24);
	CHECK_INT(judge_reader_count(c.reader), 3);
	court_close(&c);
}

TEST(numbers_of_every_size)
{
	static const uint64_t starts[] = {1, 22, 254, 65534, 70000, 0xfffffffe, (1ULL << 53)};

	for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
		struct court c;

		court_open(&c);
		for (unsigned k = 0; k < 3; k++)
			received(&c, sent(&c, 1, k), starts[i] + k);
		check_report(&c, "3/3 of 3");
		CHECK_INT(judge_reader_last_seq(c.reader), starts[i] + 2);
		court_close(&c);
	}
}

TEST(an_event_is_missing)
{
	struct court c;

	court_open(&c);
	sent(&c, 1, 1);
	received(&c, sent(&c, 2, 1), 1);
	check_report(&c, "1/2 of 2 missing=1");
	court_close(&c);
}

TEST(an_event_is_repeated)
{
	struct court c;
	const struct corpus_record *a;

	court_open(&c);
	a = sent(&c, 1, 1);
	received(&c, a, 1);
	received(&c, a, 2);
	check_report(&c, "1/1 of 1 repeated=1");
	court_close(&c);
}

TEST(a_repeated_number_is_counted_once_for_all_readers)
{
	struct court c;
	struct judge_reader *other;
	const struct corpus_record *a;

	court_open(&c);
	other = judge_reader_new(c.judge, "another");
	a = sent(&c, 1, 1);
	for (unsigned i = 1; i <= 2; i++) {
		received(&c, a, i);
		received_at(other, a->frame, i);
	}
	check_report(&c, "1/1 of 1 repeated=1");
	judge_reader_free(other);
	court_close(&c);
}

TEST(events_of_one_account_are_reordered)
{
	struct court c;
	const struct corpus_record *e[4];

	court_open(&c);
	for (unsigned i = 0; i < 4; i++)
		e[i] = sent(&c, 1, i);
	received(&c, e[0], 1);
	received(&c, e[3], 2);
	received(&c, e[1], 3);
	received(&c, e[2], 4);
	check_report(&c, "4/4 of 4 reordered=1");
	court_close(&c);
}

TEST(events_of_two_accounts_have_no_order)
{
	struct court c;
	const struct corpus_record *a, *b;

	court_open(&c);
	a = sent(&c, 1, 1);
	b = sent(&c, 2, 1);
	received(&c, b, 1);
	received(&c, a, 2);
	check_report(&c, "2/2 of 2");
	court_close(&c);
}

TEST(an_event_that_nobody_sent_is_forged)
{
	struct court c;

	court_open(&c);
	received(&c, event(&c, 1, 1, VERDICT_ACCEPTED), 1);
	check_report(&c, "0/0 of 0 forged=1");
	court_close(&c);
}

/* A commit, with its proof, so that every part of a frame is there. */
static const struct corpus_record *commit(struct court *c)
{
	const struct corpus_record *r;
	struct repo_commit made;
	struct repo repo;
	struct buf b;

	buf_init(&b, LIMIT_FRAME);
	repo_init(&repo, CURVE_K256, "an account");
	repo_put_number(&repo, "com.example.record/1", 1);
	repo_commit(&repo, 1700000000000000, &made);
	frame_put_commit(&b, 1001, &made);
	r = record(c, 1, buf_span(&b), VERDICT_ACCEPTED);
	judge_sent(c->judge, r);
	repo_commit_release(&made);
	repo_release(&repo);
	buf_release(&b);
	return r;
}

/* What comes is said to be forged, or to have another number, and never to be right. */
static void check_altered(struct span frame, size_t at, uint8_t bit)
{
	struct court c;
	struct buf b;
	struct judge_report p;

	court_open(&c);
	commit(&c);
	buf_init(&b, LIMIT_FRAME);
	buf_append(&b, frame);
	b.ptr[at] ^= bit;
	judge_received(c.reader, buf_span(&b));
	judge_report(c.judge, &p);
	if (p.forged != 1 || p.received != 0)
		test_fail(__FILE__, __LINE__, "byte %zu, bit %u", at, bit);
	buf_release(&b);
	court_close(&c);
}

TEST(a_frame_with_one_altered_bit_is_forged)
{
	struct court c;
	const struct corpus_record *r;

	court_open(&c);
	r = commit(&c);
	for (size_t at = 0; at < r->frame.len; at++) {
		/* But for the number, which is the relay's. */
		if (at >= r->seq_offset && at - r->seq_offset < r->seq_size)
			continue;
		for (unsigned bit = 0; bit < 8; bit++)
			check_altered(r->frame, at, (uint8_t)(1U << bit));
	}
	received(&c, r, 5);
	check_report(&c, "1/1 of 1");
	court_close(&c);
}

TEST(a_frame_that_is_cut_or_longer_is_forged)
{
	struct court c;
	const struct corpus_record *r;
	struct buf b;

	court_open(&c);
	r = commit(&c);
	buf_init(&b, LIMIT_FRAME);
	buf_append(&b, r->frame);
	buf_put_u8(&b, 0);
	judge_received(c.reader, buf_span(&b));
	for (size_t len = 0; len < r->frame.len; len++) {
		uint8_t *cut = xmalloc(len);

		memcpy(cut, b.ptr, len);
		judge_received(c.reader, span_of(cut, len));
		free(cut);
	}
	judge_received(c.reader, SPAN_EMPTY);
	CHECK(!judge_is_complete(c.judge));
	judge_received(c.reader, r->frame);
	CHECK(judge_is_complete(c.judge));
	struct judge_report p;

	judge_report(c.judge, &p);
	CHECK_INT(p.forged, r->frame.len + 2);
	buf_release(&b);
	court_close(&c);
}

TEST(a_message_without_a_number_is_forged)
{
	struct court c;
	struct buf b;

	court_open(&c);
	buf_init(&b, 1024);
	frame_put_info(&b, "OutdatedCursor", NULL);
	judge_received(c.reader, buf_span(&b));
	buf_clear(&b);
	frame_put_error(&b, "FutureCursor", NULL);
	judge_received(c.reader, buf_span(&b));
	received(&c, sent(&c, 1, 1), 0);
	/* -5 in CBOR is a 4 of another type. */
	received(&c, &c.records[0], (uint64_t)-5);
	check_report(&c, "0/1 of 1 missing=1 forged=4");
	buf_release(&b);
	court_close(&c);
}

TEST(an_event_is_let_through)
{
	struct court c;
	const struct corpus_record *r;

	court_open(&c);
	r = event(&c, 1, 1, VERDICT_BAD_SIGNATURE);
	judge_sent(c.judge, r);
	check_report(&c, "0/0 of 1");
	received(&c, r, 1);
	check_report(&c, "0/0 of 1 let_through=1");
	court_close(&c);
}

TEST(an_excused_event_may_come_or_not)
{
	struct court c;
	const struct corpus_record *r[4];

	court_open(&c);
	r[0] = sent(&c, 1, 1);
	r[1] = sent(&c, 1, 2);
	for (unsigned i = 2; i < 4; i++)
		r[i] = event(&c, 1, 1 + i, VERDICT_BAD_SIGNATURE);
	judge_sent(c.judge, r[2]);
	received(&c, r[1], 1);
	received(&c, r[2], 2);
	for (unsigned i = 0; i < 4; i++)
		judge_excuse(c.judge, r[i]);
	check_report(&c, "0/0 of 4");
	received(&c, r[3], 3);
	check_report(&c, "0/0 of 4");
	received(&c, r[0], 4);
	check_report(&c, "0/0 of 4 reordered=3");
	court_close(&c);
}

TEST(a_gap_in_the_numbers)
{
	struct court c;
	const struct corpus_record *a, *b, *d;

	court_open(&c);
	a = sent(&c, 1, 1);
	b = sent(&c, 2, 1);
	d = sent(&c, 3, 1);
	received(&c, a, 10);
	received(&c, b, 12);
	check_report(&c, "2/3 of 3 missing=1 gaps=1");
	received(&c, d, 11);
	check_report(&c, "3/3 of 3 gaps=2");
	court_close(&c);
}

TEST(a_number_has_two_contents)
{
	struct court c;
	struct judge_reader *other;
	const struct corpus_record *a, *b;

	court_open(&c);
	other = judge_reader_new(c.judge, "another");
	a = sent(&c, 1, 1);
	b = sent(&c, 1, 2);
	received(&c, a, 1);
	received_at(other, b->frame, 1);
	check_report(&c, "1/2 of 2 missing=1 two_contents=1");
	/* Also one of which nothing is known: */
	received(&c, event(&c, 9, 1, VERDICT_ACCEPTED), 2);
	received_at(other, b->frame, 2);
	check_report(&c, "1/2 of 2 missing=1 forged=1 two_contents=2");
	judge_reader_free(other);
	court_close(&c);
}

TEST(a_reader_that_comes_again_goes_on_behind_its_cursor)
{
	struct court c;
	const struct corpus_record *e[4];

	court_open(&c);
	for (unsigned i = 0; i < 4; i++)
		e[i] = sent(&c, 1, i);
	received(&c, e[0], 1);
	received(&c, e[1], 2);
	judge_reader_resume(c.reader, 1);
	received(&c, e[1], 2);
	received(&c, e[2], 3);
	check_report(&c, "3/4 of 4 missing=1");
	judge_reader_resume(c.reader, 2);
	received(&c, e[3], 4);
	check_report(&c, "4/4 of 4 gaps=1");
	court_close(&c);
}

/* The same words twice are two events, whose numbers nobody can tell apart. */
TEST(events_of_the_same_content)
{
	struct court c;
	struct judge_reader *ahead;
	const struct corpus_record *e[3];

	court_open(&c);
	ahead = judge_reader_new(c.judge, "ahead");
	e[0] = sent(&c, 1, 1);
	e[1] = sent(&c, 1, 2);
	e[2] = sent(&c, 1, 1);
	received_at(ahead, e[1]->frame, 2);
	received_at(ahead, e[2]->frame, 3);
	check_report(&c, "2/3 of 3 missing=1 reordered=1");
	received(&c, e[0], 1);
	check_report(&c, "3/3 of 3");
	received(&c, e[1], 2);
	received(&c, e[2], 3);
	check_report(&c, "3/3 of 3");
	received(&c, e[0], 4);
	check_report(&c, "3/3 of 3 repeated=1");
	received(&c, sent(&c, 1, 1), 5);
	check_report(&c, "4/4 of 4 repeated=1");
	judge_reader_free(ahead);
	court_close(&c);
}

TEST(of_the_same_content_rather_the_one_that_is_due_has_come)
{
	struct court c;
	const struct corpus_record *refused, *due;

	court_open(&c);
	refused = event(&c, 1, 1, VERDICT_WRONG_HOST);
	judge_sent(c.judge, refused);
	due = sent(&c, 1, 1);
	received(&c, due, 1);
	check_report(&c, "1/1 of 2");
	received(&c, due, 2);
	check_report(&c, "1/1 of 2 let_through=1");
	/* One more of it, when all came before. */
	received(&c, sent(&c, 1, 1), 3);
	check_report(&c, "2/2 of 3 let_through=1");
	court_close(&c);
}

/* frame_put_identity with a field behind the handle, whose bytes hold everything that stands for
 * something. */
static void put_identity(struct buf *b, const char *handle)
{
	struct buf plain, value;

	buf_init(&plain, 1024);
	buf_init(&value, 1024);
	frame_put_identity(&plain, 3, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", handle);
	test_hex("84 a2 63 736571 01 66 68616e646c65 f6 d82a 45 0001020304 fb 4009 21fb 5444 2d18 "
		 "3a 0001 0000",
		 &value);
	edit_frame(buf_span(&plain), "unknown", buf_span(&value), b);
	buf_release(&plain);
	buf_release(&value);
}

static void check_handle(bool loses_handle, const char *comes_with, const char *want)
{
	struct court c;
	struct corpus_record r;
	struct buf b;

	court_open(&c);
	buf_init(&b, 1024);
	put_identity(&b, "alice.test");
	r = *record(&c, 1, buf_span(&b), VERDICT_ACCEPTED);
	r.kind = CORPUS_IDENTITY_EVENT;
	r.loses_handle = loses_handle;
	judge_sent(c.judge, &r);
	buf_clear(&b);
	put_identity(&b, comes_with);
	judge_received(c.reader, buf_span(&b));
	check_report(&c, want);
	buf_release(&b);
	court_close(&c);
}

TEST(a_handle_that_the_document_does_not_confirm)
{
	check_handle(false, "alice.test", "1/1 of 1");
	check_handle(false, NULL, "0/1 of 1 missing=1 forged=1");
	check_handle(true, NULL, "1/1 of 1");
	check_handle(true, "alice.test", "0/1 of 1 missing=1 forged=1");
}

/* Against the relay's own reader: they must agree on what both take. */
TEST(parts_of_a_frame)
{
	struct court c;
	const struct corpus_record *r;
	struct frame_parts p;
	struct span before, after;

	court_open(&c);
	r = commit(&c);
	frame_split(r->frame, &before, &after);
	CHECK_INT(frame_parts_of(r->frame, &p), 0);
	CHECK_SPAN(p.before, before);
	CHECK_SPAN(p.after, after);
	CHECK_INT(p.seq, 1001);
	court_close(&c);
}

/* An honest relay, and one that does a single wrong thing. */

enum wrong { HONEST, LOSES, SWAPS, REPEATS, ALTERS, FORGES, WRONGS };

struct relay {
	struct buf frames; /* of all events, one after another */
	size_t count;
	struct {
		size_t offset, size;
		uint32_t account;
	} sent[300];
	size_t out_count;
	size_t out[301]; /* indexes of sent, by number - 1 */
	bool altered;    /* the last of them */
};

static struct span relay_frame(const struct relay *r, size_t i)
{
	return span_of(r->frames.ptr + r->sent[i].offset, r->sent[i].size);
}

static void relay_send(struct relay *r, struct judge *j)
{
	for (size_t i = 0; i < r->count; i++) {
		struct corpus_record record = {.type = CORPUS_EVENT,
					       .account = r->sent[i].account,
					       .kind = CORPUS_ACCOUNT,
					       .seq = 1 + i,
					       .frame = relay_frame(r, i)};
		struct span before, after;

		frame_split(record.frame, &before, &after);
		record.seq_offset = (uint32_t)before.len;
		record.seq_size = (uint32_t)(record.frame.len - before.len - after.len);
		judge_sent(j, &record);
	}
}

/* With a few words that come again and again; of who does wrong each event has its own, or nobody
 * could say which of two is the wrong one. */
static void relay_make(struct relay *r, enum wrong wrong)
{
	buf_init(&r->frames, KIB(256));
	r->count = 2 + test_random() % (ARRAY_SIZE(r->sent) - 1);
	for (size_t i = 0; i < r->count; i++) {
		char did[64], status[32];

		r->sent[i].account = (uint32_t)(test_random() % 8);
		r->sent[i].offset = r->frames.len;
		snprintf(did, sizeof(did), "did:plc:%024u", r->sent[i].account);
		snprintf(status, sizeof(status), "status %ju",
			 (uintmax_t)(wrong == HONEST ? test_random() % 3 : i));
		frame_put_account(&r->frames, 1 + i, did, false, status);
		r->sent[i].size = r->frames.len - r->sent[i].offset;
	}
}

/* Any order that keeps that of every account. */
static void relay_order(struct relay *r)
{
	r->out_count = r->count;
	for (size_t i = 0; i < r->count; i++)
		r->out[i] = i;
	for (size_t n = 0; n < 4 * r->count; n++) {
		size_t i = test_random() % (r->count - 1), kept = r->out[i];

		if (r->sent[kept].account == r->sent[r->out[i + 1]].account)
			continue;
		r->out[i] = r->out[i + 1];
		r->out[i + 1] = kept;
	}
}

/* Two neighbours of an account; false if there are none. */
static bool relay_swap(struct relay *r)
{
	for (size_t i = 0; i < r->count; i++) {
		for (size_t k = i + 1; k < r->count; k++) {
			size_t kept = r->out[i];

			if (r->sent[kept].account != r->sent[r->out[k]].account)
				continue;
			r->out[i] = r->out[k];
			r->out[k] = kept;
			return true;
		}
	}
	return false;
}

static bool relay_do(struct relay *r, enum wrong wrong)
{
	size_t at = test_random() % r->out_count;

	if (wrong == LOSES)
		memmove(r->out + at, r->out + at + 1, (--r->out_count - at) * sizeof(r->out[0]));
	if (wrong == REPEATS)
		r->out[r->out_count++] = r->out[at];
	if (wrong == SWAPS)
		return relay_swap(r);
	r->altered = wrong == ALTERS || wrong == FORGES;
	if (wrong == FORGES)
		r->out[r->out_count++] = at;
	return true;
}

static void relay_give(const struct relay *r, struct judge_reader *reader, size_t number)
{
	struct buf b;

	buf_init(&b, 1024);
	put_renumbered(relay_frame(r, r->out[number - 1]), number, &b);
	if (r->altered && number == r->out_count)
		b.ptr[b.len - 1] ^= 0x10;
	judge_received(reader, buf_span(&b));
	buf_release(&b);
}

/* Three readers, each at a place of its own, that come again behind what they have, or before it.
 */
static void relay_read(const struct relay *r, struct judge *j)
{
	struct judge_reader *readers[3];
	size_t last[3] = {0}, behind = 3;

	for (size_t i = 0; i < 3; i++) {
		readers[i] = judge_reader_new(j, "a reader");
		last[i] = test_random() % 2 ? r->out_count / 2 : 0;
	}
	last[0] = 0;
	while (behind > 0) {
		size_t i = test_random() % 3;

		if (test_random() % 20 == 0 && last[i] > 0) {
			last[i] -= test_random() % (last[i] < 8 ? last[i] : 8);
			judge_reader_resume(readers[i], last[i]);
		}
		if (last[i] < r->out_count)
			relay_give(r, readers[i], ++last[i]);
		behind = 0;
		for (size_t k = 0; k < 3; k++)
			behind += last[k] < r->out_count;
	}
	for (size_t i = 0; i < 3; i++)
		judge_reader_free(readers[i]);
}

static bool names(const struct judge_report *p, enum wrong wrong)
{
	uint64_t all = p->missing + p->repeated + p->reordered + p->forged + p->let_through +
		       p->gaps + p->two_contents;

	switch (wrong) {
	case LOSES:
		return p->missing == 1 && all == 1;
	case SWAPS:
		return p->reordered > 0 && all == p->reordered;
	case REPEATS:
		return p->repeated == 1 && all == 1;
	case ALTERS:
		return p->forged == 1 && p->missing == 1 && all == 2;
	case FORGES:
		return p->forged == 1 && all == 1;
	default:
		return all == 0;
	}
}

TEST(a_single_wrong_thing_is_found_and_named)
{
	for (unsigned round = 0; round < 60 * WRONGS; round++) {
		struct judge *j = judge_open();
		enum wrong wrong = (enum wrong)(round % WRONGS);
		struct relay r = {.count = 0};
		struct judge_report p;

		relay_make(&r, wrong);
		relay_order(&r);
		relay_send(&r, j);
		if (!relay_do(&r, wrong))
			wrong = HONEST;
		relay_read(&r, j);
		judge_report(j, &p);
		if (!names(&p, wrong)) {
			test_fail(__FILE__, __LINE__, "round %u, wrong %d", round, wrong);
			judge_verdict(j);
		}
		judge_close(j);
		buf_release(&r.frames);
	}
}

static uint64_t cpu_usec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Frames of the usual size. What they cost is said, not held against a limit. */
TEST(many_events)
{
	enum { EVENTS = 20000, SIZE = 4500, ACCOUNTS = 1000 };
	struct judge *j = judge_open();
	struct judge_reader *reader = judge_reader_new(j, "a reader");
	uint8_t *frames = xcalloc(EVENTS, SIZE);
	uint64_t start, sent_usec, received_usec;
	struct buf head;

	buf_init(&head, SIZE);
	/* {"a": 1}, {"n": account, "seq": 0x01020304, "blocks": bytes} */
	test_hex("a1 6161 01 a3 616e 1a00000000 63736571 1a01020304 66626c6f636b73 59", &head);
	buf_put_u8(&head, (uint8_t)((SIZE - head.len - 2) >> 8));
	buf_put_u8(&head, (uint8_t)(SIZE - head.len - 1));
	for (size_t i = 0; i < EVENTS; i++) {
		uint8_t *f = frames + i * SIZE;
		uint32_t account = (uint32_t)(i % ACCOUNTS), number = (uint32_t)i;

		memcpy(f, head.ptr, head.len);
		memcpy(f + 8, &account, sizeof(account));
		memcpy(f + SIZE - sizeof(number), &number, sizeof(number));
	}
	start = cpu_usec();
	for (size_t i = 0; i < EVENTS; i++)
		judge_sent(j, &(struct corpus_record){.type = CORPUS_EVENT,
						      .account = (uint32_t)(i % ACCOUNTS),
						      .seq = 1 + i,
						      .seq_offset = 16,
						      .seq_size = 5,
						      .frame = span_of(frames + i * SIZE, SIZE)});
	sent_usec = cpu_usec() - start;
	for (size_t i = 0; i < EVENTS; i++) {
		uint8_t *f = frames + i * SIZE;

		f[19] = (uint8_t)(i >> 8);
		f[20] = (uint8_t)i;
		judge_received(reader, span_of(f, SIZE));
	}
	received_usec = cpu_usec() - start - sent_usec;
	CHECK(judge_verdict(j) && judge_is_complete(j));
	CHECK_INT(judge_reader_count(reader), EVENTS);
	printf("# sent: %.2f us/event, received: %.2f us/event, frames of %d bytes\n",
	       (double)sent_usec / EVENTS, (double)received_usec / EVENTS, SIZE);
	buf_release(&head);
	free(frames);
	judge_reader_free(reader);
	judge_close(j);
}
