/*
 * Every way in which a host can misbehave, by name, with what a relay has to make of it. A fault is
 * switched on for a host; it acts through the network, with an account of that host as its victim.
 */
#pragma once

#include "tests/simnet/network.h"

enum fault_end {
	CONNECTION_KEPT,    /* the stream goes on behind it */
	CONNECTION_ENDED,   /* and the host is dialled again, with backoff */
	CONNECTION_REFUSED, /* there is none while the fault lasts */
};

struct fault_scene; /* a network, a victim with its repository, the host's next number */

struct fault {
	const char *name;     /* "wrong_signature" */
	const char *what;     /* one line for people */
	const char *rule;     /* the section of the specification */
	enum verdict verdict; /* of the event; VERDICT_ACCEPTED where none is refused */
	const char *counter;  /* the metric that counts it, of which stage, with which labels */
	const char *counter_stage, *counter_labels;
	enum fault_end end;
	void (*act)(struct fault_scene *s);
};

extern const struct fault faults[];
extern const size_t fault_count;
/* NULL if there is none of that name. */
const struct fault *fault_find(const char *name);
