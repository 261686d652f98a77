#include "tests/simnet/traffic.h"

#include <assert.h>
#include <stdio.h>

#include "common/cbor.h"
#include "tests/lib/frame.h"
#include "tests/simnet/content.h"
#include "tests/simnet/repository.h"

/* 1 January 2025: no clock of a machine that plays a corpus is behind it. An event is half a
 * millisecond later than the last, in the mean. */
#define EPOCH_USEC   1735689600000000
#define STEP_USEC    1000
#define HISTORY_USEC (uint64_t)63072000000000 /* records go back up to two years */

/* Of a thousand events so many are no commits; of an account in use, one in so many is new. */
#define OTHERS_PER_THOUSAND 15
#define NEW_ONCE_IN         20

/* Sizes. The sync specification takes one million bytes for the hard limit of a record. */
#define LARGEST_RECORD  1000000
#define HUGE_RECORD     980000 /* two of them nearly fill the blocks of a commit */
#define LARGER_MIN_LOG2 11     /* larger than most: 2 KiB to 128 KiB */
#define LARGER_MAX_LOG2 17

#define GAP_ONCE_IN  300 /* in a host's numbers */
#define GAP_MAX      50
#define CHANGE_GROUP 25 /* identity changes behind one barrier */
#define PICK_TRIES   100

/* An account that has commits. */
struct author {
	struct repository repository;
	struct world_identity identity;
	bool is_begun;   /* identity and repository are set */
	bool is_seen;    /* an event with a rev was written */
	bool is_changed; /* its identity; once is enough */
	bool is_inactive, is_deleted;
};

struct traffic {
	const struct world *world;
	const struct traffic_settings *settings;
	struct corpus_writer *out;
	struct random random;
	uint32_t active;
	struct author *authors;
	uint64_t *host_seqs;
	uint64_t usec, events;
	struct draft draft;
	struct buf frame, record;
	uint32_t *inactive, *deleted;
	size_t inactive_count, deleted_count;
	size_t buried_count; /* of the deleted: their documents are gone too */
};

void traffic_defaults(uint64_t events, struct traffic_settings *ret)
{
	uint64_t active = events / 40;

	*ret = (struct traffic_settings){
		.events = events,
		.active = active < 10       ? 10
			  : active > 100000 ? 100000
					    : (uint32_t)active,
		.records = 500,
		.changes = 200,
	};
}

static bool is_done(const struct traffic *t)
{
	return t->events >= t->settings->events;
}

static uint32_t account_of(const struct traffic *t, const struct author *a)
{
	return (uint32_t)(a - t->authors);
}

/* Records of the corpus. */

static void put_barrier(struct traffic *t)
{
	if (!is_done(t))
		corpus_writer_put(t->out, &(struct corpus_record){.type = CORPUS_BARRIER});
}

static void put_change(struct traffic *t, uint32_t account, const struct world_identity *i)
{
	struct corpus_record r = {.type = CORPUS_IDENTITY, .account = account, .identity = *i};

	if (!is_done(t))
		corpus_writer_put(t->out, &r);
}

static uint64_t next_seq(struct traffic *t, uint32_t host)
{
	uint64_t step = 1;

	if (random_once_in(&t->random, GAP_ONCE_IN))
		step += random_below(&t->random, GAP_MAX);
	return t->host_seqs[host] += step;
}

/* The value of `seq` in the frame: what the map holds before it is passed over. */
static void find_seq(struct corpus_record *r)
{
	struct reader reader = reader_of(r->frame);
	struct cbor_map map;
	struct span key, value;
	int error = cbor_skip(&reader, NULL);

	if (!error)
		error = cbor_map_open(&reader, &map);
	while (!error && cbor_map_more(&map)) {
		error = cbor_map_key(&reader, &map, &key);
		if (!error)
			error = cbor_skip(&reader, &value);
		if (!error && span_is(key, "seq")) {
			r->seq_offset = (uint32_t)(value.ptr - r->frame.ptr);
			r->seq_size = (uint32_t)value.len;
			return;
		}
	}
	assert(false); /* no frame is without it */
}

/* What is in t->frame. */
static void put_event(struct traffic *t, struct corpus_record r)
{
	if (is_done(t))
		return;
	r.type = CORPUS_EVENT;
	r.frame = buf_span(&t->frame);
	find_seq(&r);
	corpus_writer_put(t->out, &r);
	t->events++;
	buf_clear(&t->frame);
}

static void put_commit(struct traffic *t, struct author *a, const struct repo_commit *c)
{
	struct corpus_record r = {
		.kind = CORPUS_COMMIT,
		.account = account_of(t, a),
		.host = a->identity.host,
		.seq = next_seq(t, a->identity.host),
	};

	buf_clear(&t->frame);
	frame_put_commit(&t->frame, r.seq, c);
	put_event(t, r);
	a->is_seen = true;
}

/* The head of the repository once more, or a new one that says the same. */
static void put_sync(struct traffic *t, struct author *a, bool is_stale)
{
	char did[LIMIT_DID + 1];
	struct corpus_record r = {
		.kind = CORPUS_SYNC,
		.account = account_of(t, a),
		.host = a->identity.host,
		.seq = next_seq(t, a->identity.host),
		.verdict = is_stale ? VERDICT_STALE_REV : VERDICT_ACCEPTED,
	};
	struct repo_commit c;

	repository_sync(&a->repository, world_did(t->world, r.account, did),
			is_stale ? 0 : ++t->usec, &c);
	buf_clear(&t->frame);
	frame_put_sync(&t->frame, r.seq, &c);
	put_event(t, r);
	repo_commit_release(&c);
	a->is_seen = true;
}

/* handle: NULL for none. */
static void put_identity(struct traffic *t, uint32_t account, const struct world_identity *i,
			 const char *handle)
{
	char did[LIMIT_DID + 1], own[LIMIT_HANDLE + 1];
	struct corpus_record r = {
		.kind = CORPUS_IDENTITY_EVENT,
		.account = account,
		.host = i->host,
		.seq = next_seq(t, i->host),
	};

	r.loses_handle = handle &&
			 strcmp(handle, world_handle(t->world, account, i->handle, own)) != 0;
	buf_clear(&t->frame);
	frame_put_identity(&t->frame, r.seq, world_did(t->world, account, did), handle);
	put_event(t, r);
}

/* status: NULL for an active account. */
static void put_account(struct traffic *t, uint32_t account, const struct world_identity *i,
			const char *status)
{
	char did[LIMIT_DID + 1];
	struct corpus_record r = {
		.kind = CORPUS_ACCOUNT,
		.account = account,
		.host = i->host,
		.seq = next_seq(t, i->host),
	};

	buf_clear(&t->frame);
	frame_put_account(&t->frame, r.seq, world_did(t->world, account, did), !status, status);
	put_event(t, r);
}

/* Accounts. */

/* n distinct numbers below count, one for each n below it, in an order that looks like none. */
static uint32_t shuffled(uint32_t n, uint32_t count)
{
	/* A prime above the largest count divides none. */
	return (uint32_t)((uint64_t)n * 2147483647u % count);
}

static uint64_t square_root(uint64_t n)
{
	uint64_t root = 0;

	for (uint64_t bit = 1ull << 31; bit > 0; bit >>= 1)
		if ((root + bit) * (root + bit) <= n)
			root += bit;
	return root;
}

/* A few accounts do most of what is done, and have most of the records: both fall with the square
 * root of an account's rank. */
static uint32_t random_rank(struct traffic *t)
{
	uint64_t u = random_next(&t->random) >> 32;

	return (uint32_t)((u * u >> 32) * t->active >> 32);
}

static unsigned records_of_rank(const struct traffic *t, uint32_t rank)
{
	uint64_t mean = t->settings->records, most = 40 * mean;
	uint64_t n = mean * square_root(((uint64_t)t->active << 20) / (rank + 1)) / 2048;

	return (unsigned)(n < most ? n : most);
}

static void make_path(struct traffic *t, enum content c, uint64_t usec, char ret[static 64])
{
	uint8_t key[TID_SIZE];

	if (c == CONTENT_PROFILE) {
		snprintf(ret, 64, "%s/self", content_collection(c));
		return;
	}
	tid_format(usec, random_below(&t->random, 1024), key);
	snprintf(ret, 64, "%s/%.*s", content_collection(c), TID_SIZE, (const char *)key);
}

/* What stands in an older repository, by the thousand. */
static enum content old_content(struct traffic *t)
{
	uint32_t n = random_below(&t->random, 1000);

	return n < 550   ? CONTENT_LIKE
	       : n < 720 ? CONTENT_POST
	       : n < 810 ? CONTENT_REPOST
	       : n < 970 ? CONTENT_FOLLOW
	       : n < 990 ? CONTENT_BLOCK
			 : CONTENT_OTHER;
}

static void make_history(struct traffic *t, struct author *a, unsigned records)
{
	struct cid cid = {.codec = CID_DAG_CBOR};
	char path[64];

	for (unsigned i = 0; i < records; i++) {
		enum content c = i == 0 ? CONTENT_PROFILE : old_content(t);

		make_path(t, c, EPOCH_USEC - 1 - random_next(&t->random) % HISTORY_USEC, path);
		random_bytes(&t->random, cid.digest, sizeof(cid.digest));
		if (!record_tree_has(&a->repository.tree, path))
			record_tree_insert(&a->repository.tree, path, &cid);
	}
	repository_begin(&a->repository,
			 EPOCH_USEC - 1 - random_next(&t->random) % (HISTORY_USEC / 100));
}

/* The account of this rank; as it is before its first event here, if this is the first. */
static struct author *author_of(struct traffic *t, uint32_t rank)
{
	uint32_t account = shuffled(rank, t->active);
	struct author *a = &t->authors[account];

	if (a->is_begun)
		return a;
	a->is_begun = true;
	world_identity(t->world, account, &a->identity);
	world_key(t->world, account, a->identity.key, &a->repository.key);
	a->repository.clock_id = random_below(&t->random, 1024);
	if (!random_once_in(&t->random, NEW_ONCE_IN))
		make_history(t, a, records_of_rank(t, rank));
	return a;
}

static bool is_silent(const struct author *a)
{
	return a->is_inactive || a->is_deleted;
}

/* At most a quarter of all is silent. */
static struct author *random_author(struct traffic *t)
{
	for (;;) {
		struct author *a = author_of(t, random_rank(t));

		if (!is_silent(a))
			return a;
	}
}

static bool may_fall_silent(const struct traffic *t)
{
	return t->inactive_count + t->deleted_count < t->active / 4;
}

/* Commits. */

static void draft_content(struct traffic *t, struct author *a, enum content c)
{
	uint64_t usec = ++t->usec;
	char path[64];

	make_path(t, c, usec, path);
	if (draft_is_taken(&t->draft, path))
		return;
	buf_clear(&t->record);
	content_put(c, t->world, &t->random, usec, &t->record);
	draft_put(&t->draft, &a->repository, path, buf_span(&t->record));
}

static void draft_record(struct traffic *t, struct author *a, size_t size)
{
	char path[64];

	make_path(t, CONTENT_OTHER, ++t->usec, path);
	buf_clear(&t->record);
	content_put_large(&t->random, size, &t->record);
	draft_put(&t->draft, &a->repository, path, buf_span(&t->record));
}

static void draft_deletion(struct traffic *t, struct author *a)
{
	const char *path = record_tree_pick(&a->repository.tree, random_next(&t->random));

	if (path && !draft_is_taken(&t->draft, path))
		draft_delete(&t->draft, &a->repository, path);
	else
		draft_content(t, a, CONTENT_LIKE);
}

/* Such as a list that is filled, or an account that clears up. */
static void draft_many(struct traffic *t, struct author *a, unsigned ops)
{
	bool clears_up = random_once_in(&t->random, 3);

	for (unsigned i = 0; i < ops; i++) {
		if (random_below(&t->random, 10) < (clears_up ? 8 : 1))
			draft_deletion(t, a);
		else
			draft_content(t, a,
				      random_once_in(&t->random, 8) ? CONTENT_PROFILE
								    : CONTENT_LISTITEM);
	}
}

static void draft_larger(struct traffic *t, struct author *a)
{
	unsigned log2 = LARGER_MIN_LOG2 +
			random_below(&t->random, LARGER_MAX_LOG2 - LARGER_MIN_LOG2);

	draft_record(t, a, (1u << log2) + random_below(&t->random, 1u << log2));
}

/* What an account does in one commit, by the hundred thousand. */
static void draft_something(struct traffic *t, struct author *a)
{
	static const struct {
		unsigned share;
		enum content content;
	} singles[] = {
		{47000, CONTENT_LIKE},   {13000, CONTENT_POST}, {9250, CONTENT_REPOST},
		{11500, CONTENT_FOLLOW}, {1500, CONTENT_BLOCK}, {700, CONTENT_LISTITEM},
		{900, CONTENT_PROFILE},  {900, CONTENT_OTHER},
	};
	unsigned n = random_below(&t->random, 100000);

	for (size_t i = 0; i < ARRAY_SIZE(singles); i++) {
		if (n < singles[i].share) {
			draft_content(t, a, singles[i].content);
			return;
		}
		n -= singles[i].share;
	}
	if (n < 11000) {
		draft_deletion(t, a);
	} else if (n < 12000) {
		draft_content(t, a, CONTENT_POST);
		draft_content(t, a, CONTENT_THREADGATE);
	} else if (n < 14200) {
		draft_many(t, a, 3 + random_below(&t->random, 18));
	} else if (n < 14204) {
		draft_record(t, a, LARGEST_RECORD);
	} else if (n < 14206) {
		draft_record(t, a, HUGE_RECORD);
		draft_record(t, a, HUGE_RECORD);
	} else if (n < 14250) {
		draft_many(t, a, 20 + random_below(&t->random, LIMIT_OPS - 20 + 1));
	} else {
		draft_larger(t, a);
	}
}

static void commit(struct traffic *t, struct author *a)
{
	char did[LIMIT_DID + 1];
	struct repo_commit c;

	if (!a->repository.has_commit && !record_tree_pick(&a->repository.tree, 0))
		draft_content(t, a, CONTENT_PROFILE);
	else
		draft_something(t, a);
	repository_commit(&a->repository, &t->draft, world_did(t->world, account_of(t, a), did),
			  ++t->usec, &c);
	put_commit(t, a, &c);
	repo_commit_release(&c);
}

/* A new account introduces itself [account lifecycle: creation]. */
static void write_commit(struct traffic *t, struct author *a)
{
	char handle[LIMIT_HANDLE + 1];

	if (!a->repository.has_commit && !t->settings->commits_only && !t->settings->all_first) {
		put_identity(t, account_of(t, a), &a->identity,
			     world_handle(t->world, account_of(t, a), a->identity.handle, handle));
		put_account(t, account_of(t, a), &a->identity, NULL);
	}
	commit(t, a);
}

/* Everything else. */

/* Half of the #identity and #account events are of accounts that say nothing else. */
static uint32_t quiet_account(struct traffic *t, struct world_identity *ret)
{
	uint32_t rest = world_settings(t->world)->accounts - t->active, account;
	struct author *a;

	if (rest > 0 && random_once_in(&t->random, 2)) {
		account = t->active + random_below(&t->random, rest);
		world_identity(t->world, account, ret);
		return account;
	}
	a = random_author(t);
	*ret = a->identity;
	return account_of(t, a);
}

/* Now and then the handle is one that the document does not say. */
static void write_identity(struct traffic *t, uint32_t account, const struct world_identity *i)
{
	char handle[LIMIT_HANDLE + 1];
	uint32_t n = random_below(&t->random, 10);

	put_identity(t, account, i,
		     n == 0   ? "handle.invalid"
		     : n <= 2 ? NULL
			      : world_handle(t->world, account, i->handle, handle));
}

static void fall_silent(struct traffic *t)
{
	static const char *const statuses[] = {"deactivated", "suspended", "takendown"};
	struct author *a = random_author(t);

	put_account(t, account_of(t, a), &a->identity,
		    statuses[random_below(&t->random, ARRAY_SIZE(statuses))]);
	a->is_inactive = true;
	t->inactive[t->inactive_count++] = account_of(t, a);
}

static void come_back(struct traffic *t)
{
	uint32_t at = random_below(&t->random, (uint32_t)t->inactive_count);
	struct author *a = &t->authors[t->inactive[at]];

	t->inactive[at] = t->inactive[--t->inactive_count];
	a->is_inactive = false;
	put_account(t, account_of(t, a), &a->identity, NULL);
}

static void write_account(struct traffic *t)
{
	struct world_identity i;
	uint32_t account;

	if (t->inactive_count > 0 && random_once_in(&t->random, 3)) {
		come_back(t);
	} else if (may_fall_silent(t) && random_once_in(&t->random, 3)) {
		fall_silent(t);
	} else {
		account = quiet_account(t, &i);
		put_account(t, account, &i, NULL);
	}
}

static void write_sync(struct traffic *t)
{
	struct author *a = random_author(t);

	if (a->repository.has_commit)
		put_sync(t, a, a->is_seen && random_once_in(&t->random, 3));
	else
		write_commit(t, a);
}

static void write_other(struct traffic *t)
{
	struct world_identity i;
	uint32_t n = random_below(&t->random, 10), account;

	if (n < 4) {
		account = quiet_account(t, &i);
		write_identity(t, account, &i);
	} else if (n < 8) {
		write_account(t);
	} else {
		write_sync(t);
	}
}

/* Identity changes. */

enum change {
	CHANGE_KEY,         /* said by an #identity, */
	CHANGE_KEY_SILENT,  /* or to be found out from the signature */
	CHANGE_HOST,        /* said by the new host, */
	CHANGE_HOST_SILENT, /* or to be found out from its commit */
	CHANGE_HANDLE,
	CHANGE_DELETE,
};

static enum change random_change(struct traffic *t)
{
	static const enum change changes[] = {
		CHANGE_KEY,         CHANGE_KEY,    CHANGE_KEY_SILENT, CHANGE_HOST,   CHANGE_HOST,
		CHANGE_HOST_SILENT, CHANGE_HANDLE, CHANGE_HANDLE,     CHANGE_DELETE,
	};
	enum change c = changes[random_below(&t->random, ARRAY_SIZE(changes))];
	bool is_move = c == CHANGE_HOST || c == CHANGE_HOST_SILENT;

	if (is_move && world_settings(t->world)->hosts < 2)
		return CHANGE_KEY;
	return c == CHANGE_DELETE && !may_fall_silent(t) ? CHANGE_HANDLE : c;
}

static void move(struct traffic *t, struct author *a)
{
	uint32_t hosts = world_settings(t->world)->hosts;

	a->identity.host = (a->identity.host + 1 + random_below(&t->random, hosts - 1)) % hosts;
}

/* What the document says from now on. An account that moves takes a new key. */
static void apply(struct traffic *t, struct author *a, enum change c)
{
	uint32_t account = account_of(t, a);

	a->is_changed = true;
	if (c == CHANGE_DELETE) {
		/* Its document goes later: see bury. */
		a->is_deleted = true;
		t->deleted[t->deleted_count++] = account;
		return;
	}
	if (c == CHANGE_HOST || c == CHANGE_HOST_SILENT)
		move(t, a);
	if (c == CHANGE_HANDLE)
		a->identity.handle++;
	else
		a->identity.key++;
	world_key(t->world, account, a->identity.key, &a->repository.key);
	put_change(t, account, &a->identity);
}

/* What the account's host says of it. */
static void tell(struct traffic *t, struct author *a, enum change c)
{
	uint32_t account = account_of(t, a);
	char handle[LIMIT_HANDLE + 1];

	if (c == CHANGE_DELETE) {
		put_account(t, account, &a->identity, "deleted");
		return;
	}
	if (c != CHANGE_KEY_SILENT && c != CHANGE_HOST_SILENT)
		put_identity(t, account, &a->identity,
			     world_handle(t->world, account, a->identity.handle, handle));
	if (c == CHANGE_HOST)
		put_account(t, account, &a->identity, NULL);
	if (c == CHANGE_HOST)
		put_sync(t, a, false);
	commit(t, a);
}

/* The documents of accounts that were deleted since the last time. */
static void bury(struct traffic *t)
{
	for (; t->buried_count < t->deleted_count; t->buried_count++) {
		uint32_t account = t->deleted[t->buried_count];
		struct world_identity i = t->authors[account].identity;

		i.state = WORLD_IDENTITY_TOMBSTONED;
		put_change(t, account, &i);
	}
}

/* A relay asks for an identity at most once in a while because of what an account sends; so no
 * account changes twice. NULL if none is found. */
static struct author *unchanged_author(struct traffic *t)
{
	for (unsigned i = 0; i < PICK_TRIES; i++) {
		struct author *a = random_author(t);

		if (!a->is_changed && a->repository.has_commit)
			return a;
	}
	return NULL;
}

static void write_changes(struct traffic *t, size_t wanted)
{
	struct author *authors[CHANGE_GROUP];
	enum change changes[CHANGE_GROUP];
	size_t count = 0;

	put_barrier(t);
	bury(t);
	for (; count < wanted; count++) {
		authors[count] = unchanged_author(t);
		if (!authors[count])
			break;
		changes[count] = random_change(t);
		apply(t, authors[count], changes[count]);
	}
	for (size_t i = 0; i < count; i++)
		tell(t, authors[i], changes[i]);
}

/* The whole. */

static void write_first(struct traffic *t)
{
	uint32_t accounts = world_settings(t->world)->accounts;
	uint32_t count = t->settings->commits_only ? t->active : accounts;

	for (uint32_t n = 0; n < count && !is_done(t); n++) {
		uint32_t account = shuffled(n, count);
		struct world_identity i;

		t->usec += random_below(&t->random, STEP_USEC);
		world_identity(t->world, account, &i);
		if (account < t->active)
			commit(t, author_of(t, account));
		else if (account % 2)
			write_identity(t, account, &i);
		else
			put_account(t, account, &i, NULL);
	}
}

static void write_something(struct traffic *t)
{
	t->usec += random_below(&t->random, STEP_USEC);
	if (!t->settings->commits_only && random_below(&t->random, 1000) < OTHERS_PER_THOUSAND)
		write_other(t);
	else
		write_commit(t, random_author(t));
}

static void write_mix(struct traffic *t)
{
	uint64_t begin = t->events, left = t->settings->events - begin, group = 0;
	uint64_t changes = t->settings->commits_only ? 0 : left * t->settings->changes / 100000;
	uint64_t groups = (changes + CHANGE_GROUP - 1) / CHANGE_GROUP;

	while (!is_done(t)) {
		if (group < groups && t->events >= begin + (2 * group + 1) * left / (2 * groups)) {
			write_changes(t, changes / groups);
			group++;
		} else {
			write_something(t);
		}
	}
}

void traffic_write(const struct world *w, const struct traffic_settings *s,
		   struct corpus_writer *out)
{
	const struct world_settings *world = world_settings(w);
	uint32_t active = s->active < world->accounts ? s->active : world->accounts;
	struct traffic t = {
		.world = w,
		.settings = s,
		.out = out,
		.random = {world->seed},
		.active = active,
		.authors = xcalloc(active, sizeof(*t.authors)),
		.host_seqs = xcalloc(world->hosts, sizeof(*t.host_seqs)),
		.usec = EPOCH_USEC,
		.inactive = xcalloc(active, sizeof(uint32_t)),
		.deleted = xcalloc(active, sizeof(uint32_t)),
	};

	assert(active > 0);
	draft_init(&t.draft);
	buf_init(&t.frame, LIMIT_FRAME);
	buf_init(&t.record, LIMIT_RECORD);
	if (s->all_first)
		write_first(&t);
	write_mix(&t);
	for (uint32_t i = 0; i < active; i++)
		repository_release(&t.authors[i].repository);
	free(t.authors);
	free(t.host_seqs);
	free(t.inactive);
	free(t.deleted);
	draft_release(&t.draft);
	buf_release(&t.frame);
	buf_release(&t.record);
}
