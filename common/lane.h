/*
 * A lane: one session after another over a pair pipe, upstream end (the one that sends events) and
 * downstream end (the one that acknowledges them). What nng does not promise is made up for here:
 *
 *	upstream                              downstream
 *	   | -- OPEN(session) -----------------> |  `opened`: forget all that is in hand on
 *	   |      (again every 200 ms)           |  this lane, then call lane_ready, at once
 *	   | <----------------- READY(session) - |  or when its own downstream is ready
 *	`opened`: send the whole window again    |
 *	   | -- messages 0, 1, 2 ... ----------> |
 *	   | <---------- messages 0, 1, 2 ... -- |
 *
 * A session ends when the connection does, when either end calls lane_reset, or when a message is
 * missing or does not decode. `closed` says so, and the upstream end opens the next one by itself.
 * There is no other recovery: a crash, a restart, an upgrade and a network fault all take this way.
 * Messages of an older session are dropped unseen.
 *
 * Ends of two versions do not understand each other, and to connect again would not help: each says
 * so by `foreign`, downstream tells upstream (MESSAGE_REFUSED), and both leave the connection as it
 * is until the process at one of its ends is replaced.
 *
 * Session numbers are random, so that an end that was restarted never continues another's session
 * by accident.
 *
 * Frame of every message: u8 version, u8 type (message.h), u16 zero, u32 number within the session
 * and direction, u64 session.
 */
#pragma once

#include "common/loop.h"
#include "common/message.h"

struct lane;

struct lane_handler {
	void (*opened)(void *arg);
	void (*closed)(void *arg);
	/* A message of this session, without its frame; borrowed. -EBADMSG ends the session. */
	int (*message)(void *arg, enum message_type type, struct reader body);
	/* lane_send may work again after -EAGAIN. */
	void (*writable)(void *arg);
	/* The other end speaks another version. Once a connection, before any session of it. */
	void (*foreign)(void *arg, unsigned version);
	void *arg;
};

int lane_dial_upstream(struct loop *l, const char *url, const struct lane_handler *h,
		       struct lane **ret) MUST_CHECK;
int lane_listen_downstream(struct loop *l, const char *url, const struct lane_handler *h,
			   struct lane **ret) MUST_CHECK;
void lane_close(struct lane *lane);

/* Downstream, after `opened`: the session may begin. */
void lane_ready(struct lane *lane);
bool lane_is_open(const struct lane *lane);
/* Starts a message in a buffer of the lane's: append the body, then lane_send. One at a time.
 * Borrows until lane_send. A message that outlives its session may be given up, and a new one
 * started. */
struct buf *lane_start(struct lane *lane, enum message_type type);
/* 0: it is on its way. -EAGAIN: it is kept, and goes out before anything else; until `writable` no
 * other may be started. -ENOTCONN: no session, it is dropped. */
int lane_send(struct lane *lane) MUST_CHECK;
bool lane_is_writable(const struct lane *lane);
/* Ends the session at both ends; `closed` is not called at this one. */
void lane_reset(struct lane *lane);
/* Downstream: stops taking messages, so that upstream has to wait. Outlasts the session: without
 * messages no new one opens. */
void lane_hold(struct lane *lane, bool hold);
