#include "store/storage.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <unistd.h>

#include "common/log.h"
#include "common/loop.h"
#include "store/file.h"
#include "store/state.h"

struct storage {
	int lock; /* of the folder; -1: not ours */
	struct state *state;
	struct event_log *log;
	uint64_t accounts;
};

/* The marker of a new database is written before the first event is: a log without a marker has no
 * events. */
static int begin(struct state *state, const char *log_path, uint64_t first_seq, struct marker *ret)
{
	int r = event_log_create(log_path, first_seq, ret);

	if (r < 0)
		return r;
	log_notice("a new log begins first_seq=%" PRIu64, first_seq);
	return state_write(state, ret);
}

static int open_log(struct storage *s, const char *folder, const struct storage_options *o)
{
	char path[PATH_MAX];
	struct marker marker;
	int n = snprintf(path, sizeof(path), "%s/log", folder), r;

	assert(n > 0 && n < (int)sizeof(path));
	r = state_get_marker(s->state, &marker);
	if (r == -ENOENT)
		r = begin(s->state, path, o->first_seq, &marker);
	if (r == 0)
		r = event_log_open(path, &marker, &o->log, &s->log);
	return r;
}

static int open_state(struct storage *s, const char *folder, const struct storage_options *o)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/state", folder);

	assert(n > 0 && n < (int)sizeof(path));
	return state_open(path, o->cache_bytes, &s->state);
}

static int lock_folder(struct storage *s, const char *folder)
{
	int r = file_lock_folder(folder, &s->lock);

	if (r < 0)
		log_error("%s: %s folder=%s",
			  r == -EAGAIN ? "another store, or standpipe rebuild, is at work"
				       : "cannot lock the data",
			  strerror(-r), folder);
	return r;
}

/* What is too old or too much of the log may be what has filled the disk. */
static bool make_room(const char *folder, const struct storage_options *o)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/log", folder);

	assert(n > 0 && n < (int)sizeof(path));
	return event_log_make_room(path, &o->log, clock_usec()) > 0;
}

bool storage_may_pass(int error)
{
	return error == -ENOSPC || error == -EDQUOT || error == -EFBIG;
}

int storage_find_room(const struct storage *s)
{
	return event_log_find_room(s->log);
}

int storage_open(const char *folder, const struct storage_options *o, struct storage **ret)
{
	struct storage *s = xcalloc(1, sizeof(*s));
	int r;

	s->lock = -1;
	r = lock_folder(s, folder);
	if (r == 0)
		r = open_state(s, folder, o);
	if (storage_may_pass(r) && make_room(folder, o))
		r = open_state(s, folder, o);
	if (r == 0)
		r = open_log(s, folder, o);
	if (r == 0)
		r = state_count_accounts(s->state, &s->accounts);
	if (r < 0) {
		storage_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

int storage_peek(const char *folder, struct head *ret)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/log", folder);

	assert(n > 0 && n < (int)sizeof(path));
	return event_log_peek(path, ret);
}

void storage_close(struct storage *s)
{
	if (!s)
		return;
	event_log_close(s->log);
	state_close(s->state);
	if (s->lock >= 0)
		close(s->lock);
	free(s);
}

bool storage_is_full(const struct storage *s)
{
	return event_log_group_events(s->log) >= EVENT_LOG_GROUP_EVENTS ||
	       event_log_group_bytes(s->log) >= EVENT_LOG_GROUP_BYTES;
}

/* Takes an accepted event into the group. */
static int keep(struct storage *s, const struct verified *v, const struct account *a,
		uint64_t counted_for)
{
	uint64_t counts_for = account_counts_for(a);
	int r = 0;

	if (event_log_is_spent(s->log))
		return -ERANGE;
	if (counted_for != counts_for)
		r = state_move_account(s->state, counted_for, counts_for);
	if (r == 0)
		r = state_note_prev_data(s->state, v);
	if (r < 0)
		return r;
	s->accounts += (uint64_t)(counts_for != 0) - (uint64_t)(counted_for != 0);
	state_put_account(s->state, v->did, a);
	event_log_put(s->log, v, clock_usec());
	return 0;
}

/* Lanes are not in step: what counts is the order in which the host has sent. */
static int check_host(struct storage *s, const struct verified *v, struct storage_decision *d)
{
	bool is_fallback = false;
	int r = v->is_legacy ? state_is_after_prev_data(s->state, v, &is_fallback) : 0;

	if (is_fallback)
		*d = (struct storage_decision){.verdict = VERDICT_PREV_DATA_MISSING};
	return r;
}

int storage_put(struct storage *s, const struct verified *v, struct storage_decision *ret)
{
	struct storage_decision d = {.verdict = VERDICT_FRAME_TOO_LARGE};
	struct account a;
	uint64_t counted_for;
	int r = state_get_account(s->state, v->did, &a);

	if (r == -ENOENT)
		account_init(&a);
	else if (r < 0)
		return r;
	r = 0;
	counted_for = account_counts_for(&a);
	if (event_log_fits(s->log, v))
		d.verdict = account_apply(&a, v, &d.discontinuous);
	if (d.verdict == VERDICT_ACCEPTED)
		r = check_host(s, v, &d);
	if (r == 0 && d.verdict == VERDICT_ACCEPTED)
		r = keep(s, v, &a, counted_for);
	if (r < 0)
		return r;
	*ret = d;
	return 0;
}

static int write_messages(struct storage *s)
{
	return event_log_write(s->log);
}

static int sync_messages(struct storage *s)
{
	return event_log_sync(s->log);
}

static int write_state(struct storage *s)
{
	return state_write(s->state, event_log_next_marker(s->log));
}

static int write_index(struct storage *s)
{
	return event_log_finish(s->log);
}

/* The order is what nothing lost, nothing twice, and durable before visible rest on. */
static int (*const steps[STORAGE_STEPS])(struct storage *s) = {
	write_messages,
	sync_messages,
	write_state,
	write_index,
};

int storage_commit_steps(struct storage *s, unsigned count)
{
	int r = 0;

	assert(count <= STORAGE_STEPS);
	for (unsigned i = 0; r == 0 && i < count; i++)
		r = steps[i](s);
	return r;
}

size_t storage_pending(const struct storage *s)
{
	return event_log_group_events(s->log);
}

static uint64_t monotonic_usec(void)
{
	struct timespec ts = {0};

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

int storage_commit(struct storage *s, struct storage_group *ret)
{
	struct storage_group g = {
		.events = event_log_group_events(s->log),
		.bytes = event_log_group_bytes(s->log),
		.usec = monotonic_usec(),
	};
	size_t files = event_log_files(s->log);
	int r = g.events > 0 ? storage_commit_steps(s, STORAGE_STEPS) : 0;

	if (r < 0)
		return r;
	g.usec = monotonic_usec() - g.usec;
	if (event_log_files(s->log) != files)
		storage_retain(s, clock_usec());
	*ret = g;
	return 0;
}

unsigned storage_retain(struct storage *s, uint64_t now_usec)
{
	return event_log_retain(s->log, now_usec);
}

int storage_get_account(struct storage *s, struct span did, struct account *ret)
{
	return state_get_account(s->state, did, ret);
}

int storage_get_host_accounts(struct storage *s, uint64_t host_id, uint64_t *ret)
{
	return state_get_host_accounts(s->state, host_id, ret);
}

uint64_t storage_accounts(const struct storage *s)
{
	return s->accounts;
}

const struct event_log *storage_log(const struct storage *s)
{
	return s->log;
}

int64_t storage_database_bytes(const struct storage *s)
{
	return state_database_bytes(s->state);
}

int64_t storage_overlay_bytes(const struct storage *s)
{
	return state_overlay_bytes(s->state);
}

int64_t storage_log_bytes(const struct storage *s)
{
	return (int64_t)event_log_memory_bytes(s->log);
}
