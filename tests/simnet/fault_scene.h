/*
 * A host of the network that is about to misbehave, and an account of its: what it says right, it
 * says through this too, so that numbers and repository agree with what was said before.
 *
 *	fault_scene_init(&s, network, world, judge, host, account, newcomer);
 *	fault_scene_speak(&s);
 *	fault_scene_release(&s);	after network_free and judge_close, which borrow frames
 */
#pragma once

#include "tests/lib/repo.h"
#include "tests/simnet/judge.h"
#include "tests/simnet/network.h"

struct fault_scene {
	struct network *network;
	struct world *world;
	struct judge *judge; /* NULL: none */
	uint32_t host;
	uint64_t seq;     /* the host's last number; 0: it has said nothing */
	uint32_t account; /* the victim, whose repository is: */
	struct repo repo;
	uint32_t newcomer; /* an account of the host of which nothing was said so far */
	/* Another host, against whose account some faults are. Borrowed. */
	struct fault_scene *neighbour;
	unsigned spoken;    /* records of the victim, ever */
	struct buf *frames; /* all that were sent */
	size_t frame_count;
};

/* Borrows network, world and judge. account, newcomer: on the host, with a did:plc. */
void fault_scene_init(struct fault_scene *s, struct network *network, struct world *world,
		      struct judge *judge, uint32_t host, uint32_t account, uint32_t newcomer);
void fault_scene_release(struct fault_scene *s);
/* The account's repository, with nothing in it. */
void fault_scene_make_repo(const struct world *w, uint32_t account, struct repo *ret);

/* A record more, and another value for one that is there, staged. */
void fault_scene_stage(struct fault_scene *s);
/* A commit of the victim with nothing wrong about it. */
void fault_scene_speak(struct fault_scene *s);

/* A new frame, empty, that lives as long as the scene. */
struct buf *fault_scene_frame(struct fault_scene *s);
/* The frame as the host's event with this number, which is in the frame. Borrows the frame. The
 * verdict says what has to become of it. */
void fault_scene_send(struct fault_scene *s, enum corpus_kind kind, uint32_t account, uint64_t seq,
		      struct span frame, enum verdict v);
/* Not an event: one binary message, into no backlog. Borrows. */
void fault_scene_send_raw(struct fault_scene *s, struct span message);
