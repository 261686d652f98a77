#include "ctl/restart.h"

#include "common/limits.h"
#include "common/loop.h"
#include "common/stage.h"
#include "ctl/ask.h"
#include "ctl/figures.h"

#define POLL_USEC (100 * USEC_PER_MSEC)
/* From the end of a process until its successor is ready. */
#define BACK_USEC (60 * USEC_PER_SEC)

/* What a process says of itself. */
struct state {
	bool answered;
	uint64_t pid;
	bool ready;
	double head_seq; /* of the log, as fanout knows it */
};

static struct state look(struct ask *ask)
{
	const struct answer *a = ask_answer(ask, 0);

	ask_metrics(ask);
	if (!a->answered)
		return (struct state){0};
	return (struct state){true, (uint64_t)figure_sum(a, "relay_process_pid"),
			      figure_sum(a, "relay_process_ready") > 0,
			      figure_sum(a, "relay_head_seq")};
}

/* Whether it said that it will, or has ended before it could. */
static bool tell_to_stop(struct ask *ask, uint64_t pid)
{
	const struct answer *a = ask_answer(ask, 0);
	struct buf message;
	uint8_t ok = 1;

	buf_init(&message, 16);
	message_put_type(&message, MESSAGE_STOP);
	buf_put_u64(&message, pid);
	ask_all(ask, buf_span(&message), MESSAGE_TOLD);
	buf_release(&message);
	struct reader r = reader_of(buf_span(&a->body));

	if (a->answered && reader_get_u8(&r, &ok) == 0 && !ok)
		fprintf(stderr, "%s: %.*s\n", a->member->name, (int)r.left, (const char *)r.ptr);
	return ok;
}

/* Waits for the successor. */
static bool wait_for(struct ask *ask, const struct state *old, uint64_t limit_usec,
		     struct state *ret)
{
	for (uint64_t until = uptime_usec() + limit_usec; uptime_usec() < until;) {
		if (!ask_pause(ask, POLL_USEC))
			return false;
		*ret = look(ask);
		if (ret->answered && ret->pid != old->pid && ret->ready &&
		    ret->head_seq >= old->head_seq)
			return true;
	}
	return false;
}

static int restart_one(struct ask *ask, const char *name, uint64_t limit_usec)
{
	uint64_t since = uptime_usec();
	struct state old = look(ask), new = {0};

	if (!old.answered) {
		fprintf(stderr, "%s does not answer\n", name);
		return 1;
	}
	if (!tell_to_stop(ask, old.pid))
		return 1;
	if (!wait_for(ask, &old, limit_usec, &new)) {
		bool same = new.pid == old.pid &&new.ready;
		fprintf(stderr, "%s (pid %ju) %s\n", name, (uintmax_t)old.pid,
			same ? "does not take the order" : "is not back");
		return 1;
	}
	printf("%s: pid %ju, before %ju; %.1f s\n", name, (uintmax_t) new.pid, (uintmax_t)old.pid,
	       (double)(uptime_usec() - since) / (double)USEC_PER_SEC);
	fflush(stdout);
	return 0;
}

static uint64_t limit_of(const struct member *m, const struct config *config)
{
	bool drains = strcmp(m->stage, "fanout") == 0;

	return STAGE_STOP_USEC + BACK_USEC +
	       (drains ? config_time(config, "fanout.drain_time") : 0);
}

int restart_members(const struct group *g, const struct config *config, const char *name)
{
	bool found = false;

	for (size_t i = 0; i < g->count; i++) {
		const char *member = g->members[i].name;
		struct ask *ask;
		int result;

		if (strcmp(member, name) != 0 && strcmp(g->members[i].stage, name) != 0)
			continue;
		found = true;
		if (ask_open(g, config, member, &ask) < 0)
			return 1;
		result = restart_one(ask, member, limit_of(&g->members[i], config));
		ask_close(ask);
		if (result != 0)
			return result;
	}
	if (!found)
		fprintf(stderr, "standpipe: no such process: %s\n", name);
	return found ? 0 : 1;
}
