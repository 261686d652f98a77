/*
 * A relay in the simulated network: a group that is told how to reach it, and a reader of what
 * comes out.
 *
 *	network --> [ relay ] --> reader
 */
#pragma once

#include "tests/lib/group.h"
#include "tests/simnet/judge.h"
#include "tests/simnet/network.h"
#include "tests/simnet/reader.h"

#define RELAY_SETTINGS_MAX 32 /* the network's own included */

/* settings: more lines "section.key=value", NULL at the end, which win over the network's; NULL:
 * none. Not started. */
struct group_test *relay_new(struct loop *l, struct network *n, const char *const *settings);
/* Every host of the network has a subscriber. arg: the network. */
bool relay_has_hosts(void *arg);
/* Waits for that, as long as more of them come in good time; false (and a failed check) if not. */
bool relay_wait_hosts(struct loop *l, struct network *n);
/* A reader of the relay's stream; cursor: -1 for none. */
struct stream_reader *relay_read(struct loop *l, const struct group_test *g, int64_t cursor,
				 const struct reader_handler *h);
/* One whose frames go to the judge's reader, from what that has on. That the stream ends is a
 * failed check. */
struct stream_reader *relay_judge(struct loop *l, const struct group_test *g,
				  struct judge_reader *judged);
/* Waits until the relay is done with so many events of its hosts, those included that it refuses,
 * and whatever of them is in its log has come to the judge's reader: there is nothing on its way
 * any more. False (and a failed check) if that does not come about. */
bool relay_settle(struct loop *l, struct group_test *g, uint64_t events,
		  const struct judge_reader *reader);
