/*
 * Consumers for a bench: a process of its own that reads on many sockets by epoll, keeps nothing
 * (TCP takes the bytes off without copying them), and counts.
 *
 * Live ones are timed, one in READERS_TIMED of them, spread over all: such a one is woken by what
 * comes, and an event counts as there when its last byte is. The others are emptied in turn, each
 * once in READERS_ROUND_USEC, so that the readers' calls do not need more of the machine than what
 * is measured. Times are told by event, so a consumer has to join while no event is under way,
 * all messages have one size, and no control frame comes.
 *
 * The owner of struct readers shares its counts with the process, which ends with readers_stop.
 */
#pragma once

#include <stdatomic.h>
#include <sys/types.h>

#include "common/bytes.h"

#define READERS_MAX        4096
#define READERS_TIMED      20
#define READERS_ROUND_USEC 20000
#define READERS_EVENTS_MAX 65536 /* announced, in the readers' life */
#define READERS_WAITS      50000 /* of READERS_WAIT_USEC each; the last has all that are longer */
#define READERS_WAIT_USEC  100

enum readers_kind {
	READERS_REPLAY, /* each woken for what comes */
	READERS_LIVE,
};

struct readers_counts {
	_Atomic uint64_t bytes[READERS_LIVE + 1]; /* by kind */
	_Atomic uint64_t live_least; /* bytes of the live consumer farthest behind; a round old */
	_Atomic uint64_t ended;      /* connections that the other end closed */
	_Atomic uint64_t announced;  /* events */
	_Atomic uint64_t announced_nsec[READERS_EVENTS_MAX];
	_Atomic uint32_t waits[READERS_WAITS]; /* from announced to there */
};

struct readers {
	pid_t pid;
	int fd;
	struct readers_counts *counts;
};

void readers_start(struct readers *r, uint16_t port, uint64_t message_bytes);
/* Opens so many more, with this query; readers_wait_open returns when they are. */
void readers_add(struct readers *r, enum readers_kind kind, size_t count, const char *query);
void readers_wait_open(struct readers *r);
/* The next event is about to be told to the server. */
void readers_note(struct readers *r);
/* Of all waits since readers_forget_waits, the one that this share of them (0 to 1) is not longer
 * than, in milliseconds. */
double readers_wait_ms(const struct readers *r, double share);
void readers_forget_waits(struct readers *r);
void readers_stop(struct readers *r);
