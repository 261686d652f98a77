/*
 * How long events are on their way from their host to a consumer. An event is known by its last
 * bytes, which no relay changes, and which hold the CID of its commit.
 */
#pragma once

#include "common/bytes.h"

#define DELAY_SLOTS ((size_t)1 << 20) /* events on their way, and not one in eight of them filled */

struct delay {
	struct delay_slot {
		uint64_t hash, sent_usec;
	} * slots;
	uint64_t count, most_usec, total_usec;
};

void delay_init(struct delay *d);
void delay_release(struct delay *d);
void delay_sent(struct delay *d, struct span frame, uint64_t now_usec);
/* What was not sent is not counted. */
void delay_received(struct delay *d, struct span frame, uint64_t now_usec);
