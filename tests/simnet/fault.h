/*
 * Every way in which a host can misbehave, by name, with what a relay has to make of it. A fault is
 * done by one host of a network, with an account of that host as its victim; whether the relay
 * took it rightly is for its caller to see.
 *
 *	fault_scene_speak(&s);			a commit that has to come out
 *	fault_do(fault_find("bad_cbor"), &s);
 *	fault_undo(fault_find("bad_cbor"), &s);
 *	fault_scene_speak(&s);
 *
 * The judge is told of every event that is one. Of other bytes it is not told: whatever comes out
 * of them is forged.
 */
#pragma once

#include "tests/lib/forge.h"
#include "tests/simnet/fault_scene.h"

/* What ingest counts, by reason. */
#define COUNT_ACKNOWLEDGED "relay_events_acknowledged_total"
#define COUNT_DROPPED      "relay_frames_dropped_total"
#define COUNT_FAILED       "relay_connection_failures_total"

enum fault_end {
	CONNECTION_KEPT,    /* the stream goes on behind it */
	CONNECTION_ENDED,   /* and the host is dialled again, after which the stream goes on */
	CONNECTION_REFUSED, /* none lasts until the fault is undone; dials are further and further
			       apart */
};

enum fault_curve { ANY_CURVE, ON_K256, ON_P256 };

struct fault {
	const char *name; /* "wrong_signature" */
	const char *what; /* one line for people */
	const char *rule; /* the section of the specification; "": it says nothing of it */
	/* What counts it, on the metrics page of ingest: the name, and what the line contains.
	 * NULL: nothing does. */
	const char *counter, *labels;
	unsigned count;       /* how often; at least, if the connection is refused */
	enum verdict verdict; /* that the events get; VERDICT_ACCEPTED: ingest deals with it */
	unsigned drops;       /* frames that ingest drops */
	enum fault_end end;
	unsigned dials; /* CONNECTION_ENDED: until the stream goes on. CONNECTION_REFUSED: how many
			   are to be seen. */
	enum fault_curve curve; /* of the victim's key */
	/* How it is done: fault.c's business. */
	void (*act)(const struct fault *f, struct fault_scene *s);
	void (*spoil)(struct fault_scene *s, struct repo_commit *c);
	void (*edit)(struct span frame, struct buf *out);
	void (*tree)(struct forge *f);
	unsigned number;
};

extern const struct fault faults[];
extern const size_t fault_count;
/* NULL if there is none of that name. */
const struct fault *fault_find(const char *name);
void fault_do(const struct fault *f, struct fault_scene *s);
/* The host is as it was; does nothing where the fault is nothing that lasts. */
void fault_undo(const struct fault *f, struct fault_scene *s);
