#include "tests/simnet/traffic.h"

#include <linux/limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/loop.h"
#include "tests/test.h"
#include "validate/check.h"

/* What a relay knows of an account. */
struct account {
	struct signature_key key; /* of this number, from 1; 0: not yet made */
	uint32_t key_number;
	bool has_rev, is_inactive, is_deleted;
	uint8_t rev[TID_SIZE];
	struct cid data;
};

/* Counts of what came by. */
struct tally {
	uint64_t events, commits, bytes, singles, firsts, actions[3], curves[3];
	uint64_t syncs, stale, identities, losers, accounts, inactive, deleted;
	uint64_t moved, rotated, buried;
	size_t largest;
};

struct checks {
	struct world *world;
	struct checker *checker;
	struct account *accounts;
	uint64_t *seqs;
	struct check_rules rules;
	struct tally tally;
};

static void checks_init(struct checks *c, const struct world_settings *s)
{
	*c = (struct checks){
		.world = world_new(s),
		.checker = checker_new(),
		.accounts = xcalloc(s->accounts, sizeof(struct account)),
		.seqs = xcalloc(s->hosts, sizeof(uint64_t)),
		.rules = {.received_usec = clock_usec()},
	};
}

static void checks_release(struct checks *c)
{
	world_free(c->world);
	checker_free(c->checker);
	free(c->accounts);
	free(c->seqs);
}

static const struct signature_key *key_of(struct checks *c, struct account *a, uint32_t account,
					  uint32_t number)
{
	struct test_key key;

	if (a->key_number == number + 1)
		return &a->key;
	world_key(c->world, account, number, &key);
	CHECK_INT(signatures_parse_key(checker_signatures(c->checker), &key.public, &a->key), 0);
	a->key_number = number + 1;
	return &a->key;
}

/* An event that says a rev: right in itself, in its place, and as its record says. */
static void check_commit(struct checks *c, const struct corpus_record *r, const struct frame *f,
			 const struct world_identity *i)
{
	struct account *a = &c->accounts[r->account];
	struct verified v = {0};
	enum verdict verdict = check_blocks(c->checker, f, key_of(c, a, r->account, i->key),
					    &c->rules, &v);
	bool is_stale = a->has_rev && memcmp(v.rev, a->rev, TID_SIZE) <= 0;

	CHECK_INT(verdict, VERDICT_ACCEPTED);
	CHECK(!a->is_inactive && !a->is_deleted);
	CHECK_INT(r->verdict, is_stale ? VERDICT_STALE_REV : VERDICT_ACCEPTED);
	CHECK(!is_stale || r->kind == CORPUS_SYNC);
	if (r->kind == CORPUS_COMMIT && a->has_rev) {
		CHECK(v.has_since && memcmp(v.since, a->rev, TID_SIZE) == 0);
		CHECK(v.has_prev_data && memcmp(v.prev_data, a->data.digest, SHA256_SIZE) == 0);
	}
	a->has_rev = true;
	memcpy(a->rev, v.rev, TID_SIZE);
	memcpy(a->data.digest, v.data, SHA256_SIZE);
}

static void count_commit(struct tally *t, const struct frame *f, enum curve curve)
{
	t->commits++;
	t->curves[curve]++;
	t->bytes += f->bytes.len;
	t->singles += f->op_count == 1;
	t->firsts += !f->has_prev_data;
	if (f->bytes.len > t->largest)
		t->largest = f->bytes.len;
	for (size_t i = 0; i < f->op_count; i++)
		t->actions[f->ops[i].action]++;
}

static void check_account(struct checks *c, const struct corpus_record *r, const struct frame *f)
{
	struct account *a = &c->accounts[r->account];

	c->tally.accounts++;
	c->tally.inactive += !f->active;
	CHECK(!a->is_deleted);
	a->is_inactive = !f->active;
	a->is_deleted = span_is(f->status, "deleted");
	c->tally.deleted += a->is_deleted;
}

static void check_identity(struct checks *c, const struct corpus_record *r, const struct frame *f,
			   const struct world_identity *i)
{
	char handle[LIMIT_HANDLE + 1];
	bool is_own = span_is(f->handle, world_handle(c->world, r->account, i->handle, handle));

	c->tally.identities++;
	c->tally.losers += r->loses_handle;
	CHECK(r->loses_handle == (f->handle.len > 0 && !is_own));
	CHECK(!c->accounts[r->account].is_deleted);
}

static void check_event(struct checks *c, const struct corpus_record *r)
{
	static struct frame f;
	struct world_identity i;
	char did[LIMIT_DID + 1];

	world_identity(c->world, r->account, &i);
	CHECK_INT(frame_decode(r->frame, &f), VERDICT_ACCEPTED);
	CHECK_INT(check_fields(&f, &c->rules), VERDICT_ACCEPTED);
	CHECK(span_is(f.did, world_did(c->world, r->account, did)));
	CHECK_INT(r->host, i.host);
	CHECK_INT(f.seq, r->seq);
	CHECK_INT(f.seq_offset, r->seq_offset);
	CHECK_INT(f.seq_size, r->seq_size);
	CHECK(r->seq > c->seqs[r->host]);
	c->seqs[r->host] = r->seq;
	c->tally.events++;
	switch (f.kind) {
	case EVENT_COMMIT:
		CHECK_INT(r->kind, CORPUS_COMMIT);
		count_commit(&c->tally, &f, world_curve(c->world, r->account));
		check_commit(c, r, &f, &i);
		break;
	case EVENT_SYNC:
		CHECK_INT(r->kind, CORPUS_SYNC);
		c->tally.syncs++;
		c->tally.stale += r->verdict != VERDICT_ACCEPTED;
		check_commit(c, r, &f, &i);
		break;
	case EVENT_IDENTITY:
		CHECK_INT(r->kind, CORPUS_IDENTITY_EVENT);
		CHECK_INT(r->verdict, VERDICT_ACCEPTED);
		check_identity(c, r, &f, &i);
		break;
	default:
		CHECK_INT(r->kind, CORPUS_ACCOUNT);
		CHECK_INT(r->verdict, VERDICT_ACCEPTED);
		check_account(c, r, &f);
	}
}

static void check_change(struct checks *c, const struct corpus_record *r)
{
	struct world_identity before;

	world_identity(c->world, r->account, &before);
	CHECK(before.state == WORLD_IDENTITY_PRESENT);
	c->tally.moved += r->identity.host != before.host;
	c->tally.rotated += r->identity.key != before.key;
	if (r->identity.state == WORLD_IDENTITY_TOMBSTONED) {
		CHECK(c->accounts[r->account].is_deleted);
		c->tally.buried++;
	}
	world_change(c->world, r->account, &r->identity);
}

static void check_all(struct checks *c, const char *path)
{
	struct corpus_record r;
	struct corpus corpus;
	bool is_after_barrier = false;
	int more;

	CHECK_INT(corpus_open(path, &corpus), 0);
	while ((more = corpus_next(&corpus, &r)) > 0 && !test_has_failed()) {
		if (r.type == CORPUS_EVENT)
			check_event(c, &r);
		else if (r.type == CORPUS_IDENTITY)
			check_change(c, &r);
		/* Nothing changes while something may be under way. */
		CHECK(r.type != CORPUS_IDENTITY || is_after_barrier);
		is_after_barrier = r.type == CORPUS_BARRIER ||
				   (is_after_barrier && r.type == CORPUS_IDENTITY);
	}
	CHECK_INT(more, 0);
	CHECK_INT(c->tally.events, corpus.events);
	corpus_close(&corpus);
}

static struct world_settings small_world(void)
{
	return (struct world_settings){
		.seed = test_random(),
		.hosts = 50,
		.accounts = 2000,
		.port = 2471,
		.big_hosts = 5,
		.p256_percent = 30,
		.web_percent = 10,
	};
}

/* Into a new file. */
static const char *write_traffic(const struct world_settings *s, const struct traffic_settings *t)
{
	static char path[2][PATH_MAX];
	static unsigned turn;
	struct corpus_writer *out;
	struct world *w = world_new(s);
	char *at = path[turn++ % 2];

	snprintf(at, PATH_MAX, "%s/corpus", test_folder());
	out = corpus_writer_open(at, s);
	traffic_write(w, t, out);
	corpus_writer_close(out);
	world_free(w);
	return at;
}

/* So many events that the rarest kind is met whatever the seed: a dozen of it in the mean. */
TEST(every_event_is_what_a_relay_accepts)
{
	struct world_settings s = small_world();
	struct traffic_settings t;
	struct checks c;

	traffic_defaults(24000, &t);
	t.changes = 700;
	t.records = 100;
	checks_init(&c, &s);
	check_all(&c, write_traffic(&s, &t));
	CHECK_INT(c.tally.events, 24000);
	CHECK(c.tally.firsts > 0 && c.tally.stale > 0 && c.tally.syncs > c.tally.stale);
	CHECK(c.tally.losers > 0 && c.tally.identities > 3 * c.tally.losers);
	CHECK(c.tally.inactive > c.tally.deleted && c.tally.accounts > c.tally.inactive);
	CHECK(c.tally.curves[CURVE_K256] > 0 && c.tally.curves[CURVE_P256] > 0);
	CHECK(c.tally.moved > 0 && c.tally.rotated > c.tally.moved);
	CHECK(c.tally.deleted > 0 && c.tally.buried > 0);
	checks_release(&c);
}

/* Rates within the noise of 12,000 events, whatever the seed. */
TEST(the_mix_is_like_the_networks)
{
	struct world_settings s = small_world();
	struct traffic_settings t;
	struct checks c;
	uint64_t ops = 0;

	s.accounts = 100000;
	traffic_defaults(12000, &t);
	t.active = 600;
	checks_init(&c, &s);
	check_all(&c, write_traffic(&s, &t));
	for (size_t i = 0; i < 3; i++)
		ops += c.tally.actions[i];
	printf("# commits %ju, mean %ju bytes, largest %zu, ops %ju, deletes %ju, updates %ju\n",
	       (uintmax_t)c.tally.commits, (uintmax_t)(c.tally.bytes / c.tally.commits),
	       c.tally.largest, (uintmax_t)ops, (uintmax_t)c.tally.actions[OP_DELETE],
	       (uintmax_t)c.tally.actions[OP_UPDATE]);
	CHECK(c.tally.commits > 11400 && c.tally.commits < 11950);
	CHECK(c.tally.bytes / c.tally.commits > 3500 && c.tally.bytes / c.tally.commits < 5500);
	CHECK(c.tally.largest > 100000);
	CHECK(c.tally.singles > c.tally.commits * 9 / 10);
	CHECK(c.tally.actions[OP_DELETE] > ops / 10 && c.tally.actions[OP_DELETE] < ops / 4);
	CHECK(c.tally.actions[OP_UPDATE] > ops / 200 && c.tally.actions[OP_UPDATE] < ops / 20);
	checks_release(&c);
}

TEST(all_first_means_all)
{
	struct world_settings s = small_world();
	struct traffic_settings t = {
		.events = 4000, .active = 500, .records = 5, .all_first = true};
	bool *seen = xcalloc(s.accounts, sizeof(bool));
	struct corpus_record r;
	struct corpus corpus;
	struct checks c;
	const char *path = write_traffic(&s, &t);

	checks_init(&c, &s);
	check_all(&c, path);
	checks_release(&c);
	CHECK_INT(corpus_open(path, &corpus), 0);
	for (uint32_t i = 0; i < s.accounts; i++) {
		CHECK_INT(corpus_next(&corpus, &r), 1);
		CHECK(!seen[r.account]);
		CHECK((r.kind == CORPUS_COMMIT) == (r.account < t.active));
		seen[r.account] = true;
	}
	corpus_close(&corpus);
	free(seen);
}

TEST(commits_only_means_commits)
{
	struct world_settings s = small_world();
	struct traffic_settings t = {.events = 2000,
				     .active = 100,
				     .records = 50,
				     .changes = 1000,
				     .commits_only = true};
	struct checks c;

	checks_init(&c, &s);
	check_all(&c, write_traffic(&s, &t));
	CHECK_INT(c.tally.commits, 2000);
	CHECK_INT(c.tally.rotated + c.tally.moved + c.tally.buried, 0);
	checks_release(&c);
}

/* One account on one host leaves no choice. */
TEST(the_smallest_world_goes_on)
{
	struct world_settings s = {.seed = test_random(), .hosts = 1, .accounts = 1, .port = 1};
	struct traffic_settings t = {.events = 500, .active = 10, .changes = 20000};
	struct checks c;

	checks_init(&c, &s);
	check_all(&c, write_traffic(&s, &t));
	CHECK_INT(c.tally.events, 500);
	checks_release(&c);
}

TEST(the_same_settings_give_the_same_bytes)
{
	struct world_settings s = small_world();
	struct traffic_settings t = {.events = 1500, .active = 100, .records = 50, .changes = 5000};
	struct buf one, other, third;

	test_read_file(write_traffic(&s, &t), &one);
	test_read_file(write_traffic(&s, &t), &other);
	s.seed++;
	test_read_file(write_traffic(&s, &t), &third);
	CHECK_SPAN(buf_span(&one), buf_span(&other));
	CHECK(!span_equal(buf_span(&one), buf_span(&third)));
	buf_release(&one);
	buf_release(&other);
	buf_release(&third);
}

/* The cache. */

static int64_t written_nsec(const char *path)
{
	struct stat st;

	CHECK(stat(path, &st) == 0);
	return (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}

static size_t count_files(const char *folder)
{
	char command[PATH_MAX];
	size_t count = 0;
	FILE *f;

	snprintf(command, sizeof(command), "ls -A %s", folder);
	f = popen(command, "re");
	for (int c; f && (c = fgetc(f)) != EOF;)
		count += c == '\n';
	if (f)
		pclose(f);
	return count;
}

TEST(a_corpus_is_written_once)
{
	struct world_settings s = small_world();
	struct traffic_settings t = {.events = 200, .active = 20, .records = 10};
	const char *folder = test_folder();
	char path[PATH_MAX];
	struct corpus c;
	int64_t first;

	setenv("STANDPIPE_CORPORA", folder, 1);
	snprintf(path, sizeof(path), "%s", traffic_corpus(&s, &t));
	first = written_nsec(path);
	CHECK_STR(traffic_corpus(&s, &t), path);
	CHECK_INT(written_nsec(path), first);
	CHECK_INT(count_files(folder), 1);
	/* Other settings, another file. */
	t.records++;
	CHECK(strcmp(traffic_corpus(&s, &t), path) != 0);
	s.port++;
	CHECK(strcmp(traffic_corpus(&s, &t), path) != 0);
	CHECK_INT(count_files(folder), 3);
	/* What is damaged is made anew. */
	s.port--;
	t.records--;
	CHECK_INT(truncate(path, 1000), 0);
	CHECK_STR(traffic_corpus(&s, &t), path);
	CHECK_INT(corpus_open(path, &c), 0);
	CHECK_INT(c.events, 200);
	corpus_close(&c);
	CHECK_INT(count_files(folder), 3);
}

/* A file of the same settings from a program that writes other bytes. */
TEST(what_another_program_wrote_is_replaced)
{
	struct world_settings s = small_world();
	struct traffic_settings t = {.events = 200, .active = 20, .records = 10};
	const char *folder = test_folder();
	char path[PATH_MAX], other[PATH_MAX], *at;

	setenv("STANDPIPE_CORPORA", folder, 1);
	snprintf(path, sizeof(path), "%s", traffic_corpus(&s, &t));
	memcpy(other, path, sizeof(other));
	at = strchr(strrchr(other, '/'), '-') + 1;
	*at = *at == '0' ? '1' : '0';
	CHECK_INT(rename(path, other), 0);
	CHECK_STR(traffic_corpus(&s, &t), path);
	CHECK_INT(count_files(folder), 1);
	CHECK(access(path, R_OK) == 0);
}

TEST(two_processes_ask_at_once)
{
	struct world_settings s = small_world();
	struct traffic_settings t = {.events = 1000, .active = 20, .records = 10};
	const char *folder = test_folder();
	pid_t children[3];

	setenv("STANDPIPE_CORPORA", folder, 1);
	fflush(stdout);
	for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
		children[i] = fork();
		if (children[i] == 0) {
			struct corpus c;

			_exit(corpus_open(traffic_corpus(&s, &t), &c) < 0 || c.events != 1000);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
		int status = -1;

		CHECK_INT(waitpid(children[i], &status, 0), children[i]);
		CHECK_INT(status, 0);
	}
	CHECK_INT(count_files(folder), 1);
}
