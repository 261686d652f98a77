/*
 * Pipes between the stages, on nng's transports and protocols (endpoint.h), driven by our loop.
 *
 *	pair	two ends; messages stay in order; what was sent when a connection breaks is lost
 *		(lane.h makes that safe)
 *	pub/sub	to everybody, losing what does not fit
 *	req/rep	calls: many may be under way on one pipe; a call has a deadline
 *
 * Both ends may come and go in any order; dialling goes on for ever. Everything is non-blocking and
 * on the loop's thread, handlers included. A message from outside LIMIT_MESSAGE is never delivered.
 */
#pragma once

#include "common/bytes.h"
#include "common/loop.h"

struct pipe;
struct call; /* a request that waits for its reply */

struct pipe_handler {
	/* A peer is there (pair only). */
	void (*up)(void *arg);
	/* The peer is gone, and with it whatever was on its way in either direction (pair only). No
	 * message of that connection comes after this. */
	void (*down)(void *arg);
	/* pair, sub: a message, borrowed until the handler returns. */
	void (*message)(void *arg, struct span message);
	/* rep: a request, borrowed until the handler returns; answer it now or later, once, with
	 * call_reply or call_drop. */
	void (*request)(void *arg, struct call *call, struct span message);
	/* pair: pipe_send may work again after -EAGAIN. */
	void (*writable)(void *arg);
	void *arg;
};

/* url: ipc://path or tcp://host:port. A stale ipc socket file is replaced. -EADDRINUSE, -EINVAL
 * (url), -EACCES, ... */
int pipe_listen_pair(struct loop *l, const char *url, const struct pipe_handler *h,
		     struct pipe **ret) MUST_CHECK;
int pipe_dial_pair(struct loop *l, const char *url, const struct pipe_handler *h,
		   struct pipe **ret) MUST_CHECK;
int pipe_listen_pub(struct loop *l, const char *url, struct pipe **ret) MUST_CHECK;
int pipe_dial_sub(struct loop *l, const char *url, const struct pipe_handler *h,
		  struct pipe **ret) MUST_CHECK;
int pipe_listen_rep(struct loop *l, const char *url, const struct pipe_handler *h,
		    struct pipe **ret) MUST_CHECK;
int pipe_dial_req(struct loop *l, const char *url, struct pipe **ret) MUST_CHECK;
/* Calls under way end with -ECANCELED. */
void pipe_close(struct pipe *p);

/* pair, pub: copies. -EAGAIN (pair): full or no peer; writable follows. pub never fails. */
int pipe_send(struct pipe *p, struct span message) MUST_CHECK;
/* pair: stops taking messages from the peer (true), so that it has to wait; or goes on. */
void pipe_hold(struct pipe *p, bool hold);
/* pair: ends the connection; both ends see down, then up again. */
void pipe_break(struct pipe *p);
bool pipe_is_up(const struct pipe *p);

/* req: asks now, or when the other end is there; and again when the connection is made anew before
 * the reply has come, so that a request may be taken twice. done is called once, with 0 and the
 * reply (borrowed), or a negative errno: -ETIMEDOUT, -ECANCELED, -ENOBUFS (too many under way).
 * Never from inside this function. */
void pipe_call(struct pipe *req, struct span message, uint64_t timeout_usec,
	       void (*done)(void *arg, int error, struct span reply), void *arg);
/* rep: copies; takes the call. */
void call_reply(struct call *c, struct span message);
void call_drop(struct call *c);
