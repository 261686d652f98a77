#include "ctl/ask.h"

#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "common/loop.h"
#include "common/pipe.h"

struct question {
	struct ask *ask;
	struct pipe *pipe;
	enum message_type want;
	struct answer answer;
};

struct ask {
	struct loop *loop;
	struct loop_timer pause;
	size_t open; /* questions without an answer yet */
	bool stopped;
	size_t count;
	struct question questions[GROUP_MAX];
};

static void on_answer(void *arg, int error, struct span reply)
{
	struct question *q = arg;
	struct reader r = reader_of(reply);
	enum message_type type;

	if (error == 0 && message_get_type(&r, &type) == 0 && type == q->want) {
		q->answer.answered = true;
		buf_append(&q->answer.body, span_of(r.ptr, r.left));
	}
	if (--q->ask->open == 0)
		loop_quit(q->ask->loop, 0);
}

static void on_pause_end(void *arg)
{
	struct ask *a = arg;

	loop_quit(a->loop, 0);
}

static void on_stop(void *arg)
{
	struct ask *a = arg;

	a->stopped = true;
	loop_quit(a->loop, 0);
}

static bool has_name(const struct member *m, const char *name)
{
	return !name || strcmp(m->name, name) == 0 || strcmp(m->stage, name) == 0;
}

static void add(struct ask *a, const struct member *m, const struct config *config)
{
	struct question *q = &a->questions[a->count++];
	char url[CONFIG_URL_SIZE];

	q->ask = a;
	q->answer.member = m;
	buf_init(&q->answer.body, LIMIT_MESSAGE);
	config_pipe_url(config, "control", m->name, 0, url);
	if (pipe_dial_req(a->loop, url, &q->pipe) != 0)
		q->pipe = NULL;
}

int ask_open(const struct group *g, const struct config *config, const char *name, struct ask **ret)
{
	struct ask *a = xcalloc(1, sizeof(*a));

	a->loop = loop_new();
	loop_timer_init(&a->pause, on_pause_end, a);
	for (size_t i = 0; i < g->count; i++)
		if (has_name(&g->members[i], name))
			add(a, &g->members[i], config);
	if (a->count == 0) {
		ask_close(a);
		return -ENOENT;
	}
	*ret = a;
	return 0;
}

void ask_close(struct ask *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < a->count; i++) {
		if (a->questions[i].pipe)
			pipe_close(a->questions[i].pipe);
		buf_release(&a->questions[i].answer.body);
	}
	loop_free(a->loop);
	free(a);
}

void ask_all(struct ask *a, struct span message, enum message_type want)
{
	for (size_t i = 0; i < a->count; i++) {
		struct question *q = &a->questions[i];

		q->answer.answered = false;
		buf_clear(&q->answer.body);
		q->want = want;
		if (!q->pipe)
			continue;
		a->open++;
		pipe_call(q->pipe, message, ASK_USEC, on_answer, q);
	}
	while (a->open > 0)
		loop_run(a->loop);
}

void ask_metrics(struct ask *a)
{
	struct buf message;

	buf_init(&message, 16);
	message_put_type(&message, MESSAGE_METRICS);
	ask_all(a, buf_span(&message), MESSAGE_METRICS_REPLY);
	buf_release(&message);
}

size_t ask_count(const struct ask *a)
{
	return a->count;
}

const struct answer *ask_answer(const struct ask *a, size_t i)
{
	return &a->questions[i].answer;
}

bool ask_pause(struct ask *a, uint64_t usec)
{
	loop_on_stop(a->loop, on_stop, a);
	loop_timer_set(a->loop, &a->pause, usec);
	loop_run(a->loop);
	loop_timer_cancel(a->loop, &a->pause);
	return !a->stopped;
}
