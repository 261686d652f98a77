/*
 * Metrics in Prometheus' text format, served on a loopback port (libmicrohttpd) and through the
 * control pipe. Names are the same in every stage; each sample bears the label stage="...", and
 * instance="N" in stages that have instances.
 *
 * A family is registered once with its help and type; samples of one family are registered one
 * after another.
 */
#pragma once

#include "common/bytes.h"
#include "common/loop.h"

struct metrics;

struct metrics *metrics_new(const char *stage, int instance /* -1: none */);
void metrics_free(struct metrics *m);

/* labels: "verdict=\"bad_signature\"" or NULL. The pointer is valid until metrics_free; the caller
 * adds to it (counter) or sets it (gauge); the same name and labels give the same pointer. Copies
 * the strings. Asserts that the name begins with relay_ and that counters, and they alone, end in
 * _total. */
uint64_t *metrics_counter(struct metrics *m, const char *name, const char *help,
			  const char *labels);
int64_t *metrics_gauge(struct metrics *m, const char *name, const char *help, const char *labels);
/* Asked when rendered; METRICS_ABSENT: there is no value now, and no sample is written. */
#define METRICS_ABSENT INT64_MIN
void metrics_gauge_call(struct metrics *m, const char *name, const char *help, const char *labels,
			int64_t (*get)(void *arg), void *arg);
/* In seconds, and asked for its microseconds when rendered: a counter if its name ends in _total,
 * else a gauge. */
void metrics_seconds_call(struct metrics *m, const char *name, const char *help, const char *labels,
			  uint64_t (*get_usec)(void *arg), void *arg);

/* Appends name="value", the value escaped: for labels that are not constant. */
void metrics_put_label(struct buf *out, const char *name, struct span value);

/* Appends the exposition. */
void metrics_render(struct metrics *m, struct buf *out);

/* Serves GET /metrics on 127.0.0.1:port; port 0: a free one. -EADDRINUSE, ...
 * METRICS_CONNECTIONS_MAX at a time, each with a request's head and one page at most; others wait
 * to be accepted until one has ended, which one that is idle does after 10 seconds. */
#define METRICS_CONNECTIONS_MAX  16         /* one Prometheus, and people with curl */
#define METRICS_CONNECTION_BYTES (9 * 1024) /* a page apart */
struct metrics_server;
int metrics_server_new(struct metrics *m, struct loop *l, uint16_t port,
		       struct metrics_server **ret) MUST_CHECK;
uint16_t metrics_server_port(const struct metrics_server *s);
/* What it holds for connections. server: a struct metrics_server. */
int64_t metrics_server_bytes(void *server);
void metrics_server_free(struct metrics_server *s);
