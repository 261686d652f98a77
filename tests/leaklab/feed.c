#include "tests/leaklab/feed.h"

#include <assert.h>
#include <stdlib.h>

#include "tests/lib/frame.h"
#include "tests/simnet/content.h"

#define EPOCH_USEC   1735689600000000 /* 1 January 2025: no clock is behind it */
#define HISTORY_USEC UINT64_C(63072000000000)
#define RECORDS      30 /* of a repository */
#define TICK_USEC    (5 * USEC_PER_MSEC)
#define BURST_MAX    64 /* events, before everything else on the loop has its turn */
#define BLOCK_BYTES  MIB(1)

struct feed_author {
	struct repository repository;
	uint32_t host;
	bool is_begun;
};

/* Frames, one after another. */
struct feed_block {
	struct feed_block *next;
	size_t used, size;
	uint8_t bytes[];
};

/* Accounts. */

static void make_path(struct feed *f, enum content c, uint64_t usec, char ret[static 64])
{
	uint8_t key[TID_SIZE];

	tid_format(usec, random_below(&f->random, 1024), key);
	snprintf(ret, 64, "%s/%.*s", content_collection(c), TID_SIZE, (const char *)key);
}

static void make_history(struct feed *f, struct feed_author *a)
{
	struct cid cid = {.codec = CID_DAG_CBOR};
	char path[64];

	for (unsigned i = 0; i < RECORDS; i++) {
		make_path(f, CONTENT_LIKE, EPOCH_USEC - 1 - random_next(&f->random) % HISTORY_USEC,
			  path);
		random_bytes(&f->random, cid.digest, sizeof(cid.digest));
		if (!record_tree_has(&a->repository.tree, path))
			record_tree_insert(&a->repository.tree, path, &cid);
	}
	repository_begin(&a->repository, EPOCH_USEC - 1);
}

static struct feed_author *author_of(struct feed *f, uint32_t account)
{
	struct feed_author *a = &f->authors[account];
	struct world_identity identity;

	if (a->is_begun)
		return a;
	a->is_begun = true;
	world_identity(f->world, account, &identity);
	world_key(f->world, account, identity.key, &a->repository.key);
	a->host = identity.host;
	a->repository.clock_id = random_below(&f->random, 1024);
	make_history(f, a);
	return a;
}

/* Events. */

static struct span keep(struct feed *f, struct span frame)
{
	struct feed_block *b = f->blocks;
	uint8_t *at;

	if (!b || b->size - b->used < frame.len) {
		size_t size = frame.len > BLOCK_BYTES ? frame.len : BLOCK_BYTES;

		b = xmalloc(sizeof(*b) + size);
		*b = (struct feed_block){.next = f->blocks, .size = size};
		f->blocks = b;
	}
	at = b->bytes + b->used;
	memcpy(at, frame.ptr, frame.len);
	b->used += frame.len;
	f->kept_bytes += frame.len;
	return span_of(at, frame.len);
}

/* A record more, and when there are enough one less. */
static void draft_something(struct feed *f, struct feed_author *a)
{
	enum content c = random_once_in(&f->random, 4) ? CONTENT_POST : CONTENT_LIKE;
	char path[64];
	const char *old;

	make_path(f, c, ++f->commit_usec, path);
	buf_clear(&f->record);
	content_put(c, f->world, &f->random, f->commit_usec, &f->record);
	draft_put(&f->draft, &a->repository, path, buf_span(&f->record));
	old = record_tree_pick(&a->repository.tree, random_next(&f->random));
	if (a->repository.tree.count > RECORDS && old && !draft_is_taken(&f->draft, old))
		draft_delete(&f->draft, &a->repository, old);
}

static void send_event(struct feed *f, uint32_t account)
{
	struct feed_author *a = author_of(f, account);
	struct corpus_record r = {
		.type = CORPUS_EVENT,
		.kind = CORPUS_COMMIT,
		.account = account,
		.host = a->host,
		.seq = ++f->seqs[a->host],
	};
	char did[LIMIT_DID + 1];
	struct span before, after;
	struct repo_commit c;

	draft_something(f, a);
	repository_commit(&a->repository, &f->draft, world_did(f->world, account, did),
			  ++f->commit_usec, &c);
	buf_clear(&f->frame);
	frame_put_commit(&f->frame, r.seq, &c);
	repo_commit_release(&c);
	r.frame = keep(f, buf_span(&f->frame));
	frame_split(r.frame, &before, &after);
	r.seq_offset = (uint32_t)before.len;
	r.seq_size = (uint32_t)(r.frame.len - before.len - after.len);
	if (f->judge)
		judge_sent(f->judge, &r);
	if (f->on_send)
		f->on_send(f->arg, r.frame);
	network_send(f->network, &r);
	f->sent++;
}

static void send_next(struct feed *f)
{
	const struct feed_settings *s = &f->settings;

	if (random_below(&f->random, 100) >= s->cold_percent) {
		send_event(f, random_below(&f->random, s->hot));
		return;
	}
	send_event(f, s->hot + f->next_cold);
	f->next_cold = (f->next_cold + 1) % s->cold;
	f->sent_cold++;
}

static void play(void *arg)
{
	struct feed *f = arg;
	uint64_t now = loop_now_usec(f->loop), due, sent = 0;

	if (now - f->since_usec > f->settings.arrears_usec)
		f->since_usec = now - f->settings.arrears_usec;
	due = (now - f->since_usec) * f->settings.per_sec / USEC_PER_SEC;
	for (; sent < due && sent < BURST_MAX; sent++)
		send_next(f);
	f->since_usec += sent * USEC_PER_SEC / f->settings.per_sec;
	loop_timer_set(f->loop, &f->timer, sent == BURST_MAX ? 0 : TICK_USEC);
}

/* The feed itself. */

void feed_open(struct feed *f, struct loop *l, struct world *w, struct network *n,
	       const struct feed_settings *s)
{
	assert(s->hot > 0 && s->cold > 0 && s->per_sec > 0);
	assert(s->hot + s->cold <= world_settings(w)->accounts);
	*f = (struct feed){
		.loop = l,
		.world = w,
		.network = n,
		.settings = *s,
		.authors = xcalloc(s->hot + s->cold, sizeof(*f->authors)),
		.seqs = xcalloc(world_settings(w)->hosts, sizeof(*f->seqs)),
		.random = {world_settings(w)->seed},
		.commit_usec = EPOCH_USEC,
	};
	draft_init(&f->draft);
	buf_init(&f->frame, LIMIT_FRAME);
	buf_init(&f->record, LIMIT_RECORD);
	loop_timer_init(&f->timer, play, f);
}

static void free_blocks(struct feed *f)
{
	while (f->blocks) {
		struct feed_block *b = f->blocks;

		f->blocks = b->next;
		free(b);
	}
	f->kept_bytes = 0;
}

void feed_close(struct feed *f)
{
	loop_timer_cancel(f->loop, &f->timer);
	for (uint32_t i = 0; i < f->settings.hot + f->settings.cold; i++)
		repository_release(&f->authors[i].repository);
	free(f->authors);
	free(f->seqs);
	free_blocks(f);
	draft_release(&f->draft);
	buf_release(&f->frame);
	buf_release(&f->record);
}

void feed_start(struct feed *f)
{
	f->since_usec = loop_now_usec(f->loop);
	feed_resume(f);
}

void feed_stop(struct feed *f)
{
	loop_timer_cancel(f->loop, &f->timer);
}

void feed_resume(struct feed *f)
{
	loop_timer_set(f->loop, &f->timer, 0);
}

void feed_warm_up(struct feed *f)
{
	for (uint32_t i = 0; i < f->settings.hot; i++)
		send_event(f, i);
}

void feed_forget(struct feed *f)
{
	for (uint32_t i = 0; i < world_settings(f->world)->hosts; i++)
		network_reset(f->network, i);
	free_blocks(f);
}
