/*
 * What the tests of resolve have in common: a loop, a configuration, an HTTP client, and waiting
 * for conditions.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "common/config.h"
#include "resolve/http.h"
#include "tests/lib/http_server.h"
#include "tests/test.h"

#define FIXTURE_LIMIT_USEC (30 * USEC_PER_SEC) /* nothing here takes a tenth of it */

struct fixture {
	struct config *config;
	struct loop *loop;
	struct metrics *metrics;
	struct memory *memory;
	struct host_policy *policy;
	struct http *http;
	/* of a fixture_wait that runs */
	struct loop_timer poll;
	bool (*condition)(void *arg);
	void *condition_arg;
	uint64_t limit_usec;
};

static inline void fixture_set(struct fixture *f, const char *assignment)
{
	char error[512];

	if (config_set(f->config, assignment, error, sizeof(error)) < 0)
		test_fail(__FILE__, __LINE__, "%s", error);
}

/* sets: of the configuration, ended by NULL. */
static inline void fixture_open(struct fixture *f, const char *const *sets)
{
	char error[512] = "";

	*f = (struct fixture){.config = config_new(), .loop = loop_new()};
	for (; *sets; sets++)
		fixture_set(f, *sets);
	f->metrics = metrics_new("resolve", -1);
	f->memory = memory_new(f->metrics);
	if (host_policy_new(f->config, error, sizeof(error), &f->policy) < 0 ||
	    http_new(f->config, f->policy, f->loop, f->metrics, f->memory, &f->http) < 0) {
		printf("Bail out! %s\n", error);
		exit(1);
	}
}

static inline void fixture_close_http(struct fixture *f)
{
	http_free(f->http);
	f->http = NULL;
}

static inline void fixture_close(struct fixture *f)
{
	fixture_close_http(f);
	host_policy_free(f->policy);
	memory_free(f->memory);
	metrics_free(f->metrics);
	loop_free(f->loop);
	config_free(f->config);
}

static inline void fixture_poll(void *arg)
{
	struct fixture *f = arg;

	if (f->condition(f->condition_arg))
		loop_quit(f->loop, 0);
	else if (loop_now_usec(f->loop) > f->limit_usec)
		loop_quit(f->loop, 1);
	else
		loop_timer_set(f->loop, &f->poll, USEC_PER_MSEC);
}

/* Runs the loop until the condition holds; false if it does not in time. */
static inline bool fixture_wait(struct fixture *f, bool (*condition)(void *arg), void *arg)
{
	f->condition = condition;
	f->condition_arg = arg;
	f->limit_usec = loop_now_usec(f->loop) + FIXTURE_LIMIT_USEC;
	loop_timer_init(&f->poll, fixture_poll, f);
	loop_timer_set(f->loop, &f->poll, 0);
	return loop_run(f->loop) == 0;
}

/* Of a row of relay_accounted_bytes. */
#define FIXTURE_HELD(what) "relay_accounted_bytes{stage=\"resolve\",what=\"" what "\"}"

/* The value of a sample: "relay_x_total{stage=\"resolve\",...}". -1 if there is none. */
static inline int64_t fixture_metric(struct fixture *f, const char *sample)
{
	int64_t value = -1;
	struct buf text;
	const char *at;

	buf_init(&text, MIB(1));
	metrics_render(f->metrics, &text);
	buf_put_u8(&text, 0);
	at = strstr((const char *)text.ptr, sample);
	if (!at || sscanf(at + strlen(sample), " %" SCNd64, &value) != 1)
		value = -1;
	buf_release(&text);
	return value;
}
