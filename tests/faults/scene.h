/*
 * A relay in the simulated network, with several consumers and a judge:
 *
 *	corpus --> player --> network --> [ relay ] --> consumers --> judge
 *
 * The relay's windows and files are small, so that their ends are met. The interposer is loaded
 * into its processes, and does nothing until it is told to (control.h).
 *
 * The consumers: one that stays from the first event on and only comes back when it is cut off; one
 * that leaves and comes back all the time; one that does not read for long times; two that join
 * when events flow, one live and one from half way back; and, at the end, one that reads
 * everything again from the beginning.
 */
#pragma once

#include "tests/faults/client.h"
#include "tests/faults/control.h"
#include "tests/lib/group.h"
#include "tests/simnet/player.h"

#define SCENE_HOSTS        20
#define SCENE_SETTINGS_MAX 32
#define SCENE_WINDOW_BYTES MIB(2) /* of a lane */
/* What is to take seconds at most may take that much longer: the machine of a test may be busy, or
 * stand still. */
#define SCENE_STALL_USEC   (15 * USEC_PER_SEC)

struct scene_settings {
	uint64_t seed;   /* of the world and its traffic */
	uint64_t events; /* of the corpus */
	uint64_t per_sec;
	unsigned lanes;
	unsigned replicas;
	uint32_t accounts;     /* 0: 400 */
	bool commits_only;     /* and each account's first before any account's second */
	bool no_changes;       /* of identities, before which the player waits for all to come */
	bool makes_up_waits;   /* the player does, so that the rate is kept in the mean */
	bool forgets;          /* identities: they are asked for again after seconds */
	unsigned window_bytes; /* of a lane, and a tenth of it of a host; 0: SCENE_WINDOW_BYTES */
	unsigned lookups_per_sec; /* of resolve at the directory; 0: as it is by default */
	const char *data_folder;  /* NULL: the group's own */
};

enum scene_client {
	SCENE_STAYS,
	SCENE_LEAVES,
	SCENE_PAUSES,
	SCENE_LIVE,
	SCENE_FROM_CURSOR,
	SCENE_REPLAYS,
	SCENE_CLIENTS
};

/* Those that are counted. */
enum scene_signal { SCENE_KILL, SCENE_TERM, SCENE_STOP, SCENE_SIGNALS };

struct scene {
	struct scene_settings settings;
	struct loop *loop;
	struct corpus corpus;
	struct world *world;
	struct network *network;
	struct judge *judge;
	struct player *player;
	struct group_test *group;
	struct control *control;
	char lines[SCENE_SETTINGS_MAX][160]; /* of the group's settings */
	const char *line_list[2 * SCENE_SETTINGS_MAX];
	struct client clients[SCENE_CLIENTS];
	struct loop_timer join;
	/* That reached a process, of each stage; and the kills of a write that was torn. */
	unsigned signals[CONTROL_STAGES][SCENE_SIGNALS];
};

/* Returns when every host is subscribed to; then player_start. */
void scene_open(struct scene *s, const struct scene_settings *settings);
void scene_close(struct scene *s);

/* "stays", ... */
const char *scene_client_name(enum scene_client c);
/* A signal for the members whose bits (places in the group) are set. Returns how many got it. */
unsigned scene_signal(struct scene *s, unsigned members, int number);
/* Of those members, how many run, standing still or not. */
unsigned scene_running(struct scene *s, unsigned members);
/* Of those members, how many stand still. */
unsigned scene_stopped(struct scene *s, unsigned members);
/* All are killed at once, and nothing is left running. Returns how many there were. */
unsigned scene_crash(struct scene *s);
/* The next write to the log is torn, and store killed. */
void scene_tear(struct scene *s, uint64_t bytes);
/* Everything goes on for this time. */
void scene_pass(struct scene *s, uint64_t usec);
/* Until the condition holds; false if nothing comes to the consumers any more before it does. */
bool scene_wait(struct scene *s, bool (*condition)(const struct scene *s));
/* All is played, and what was due has come. */
bool scene_is_done(const struct scene *s);
/* Ends everything that the control block, the network and signals make the relay suffer from. */
void scene_heal(struct scene *s);
/* Waits for all that is due, and for each consumer to have everything; whether nothing was lost,
 * repeated, out of order or numbered twice. ret_usec: how long it took until what was due had
 * come. */
bool scene_finish(struct scene *s, uint64_t *ret_usec);
/* That it is so; closes the scene. */
void scene_check_whole(struct scene *s);
/* The directory's documents that were asked for until now. */
uint64_t scene_documents(const struct scene *s);
