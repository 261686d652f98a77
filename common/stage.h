/*
 * What every stage's main does before and after its own work: arguments, configuration, log level,
 * loop, metrics, memory accounts, control pipe, readiness, watchdog, stopping.
 *
 *	struct stage stage;
 *	int status = stage_init(&stage, "validate", STAGE_INSTANCES, argc, argv);
 *	if (status != STAGE_GO)
 *		return status;
 *	... open databases, then pipes, downstream first ...
 *	status = stage_run(&stage, stop, arg);
 *	... close ...
 *	stage_release(&stage);
 *	return status;
 *
 * stage_init gives another status than STAGE_GO after --help, --version and --check-config, and for
 * a usage or configuration error; it has logged and released everything then. stage_run says
 * READY=1, and calls stop on SIGTERM: finish what is in hand, then loop_quit.
 *
 * Arguments of every stage:
 *	[--config FILE] [--set section.key=value]... [--check-config] [--version] [--help]
 * and of one that has instances [--instance N].
 *
 * Exit status: 0, 64 usage, 78 configuration, 111 try again (a port in use, a database that is
 * locked, ...).
 *
 * Every process of the group runs with umask 0007: its sockets are for the group, and what its
 * files let the group do is said where they are made.
 */
#pragma once

#include "common/config.h"
#include "common/control.h"
#include "common/loop.h"
#include "common/memory.h"
#include "common/metrics.h"
#include "common/pipe.h"

#define STAGE_VERSION "0.1.0"

#define STAGE_GO          (-1)
#define STAGE_EXIT_USAGE  64
#define STAGE_EXIT_CONFIG 78
#define STAGE_EXIT_AGAIN  111

/* A stage that does not finish in this time after SIGTERM is ended by its loop; whoever waits for
 * its end is told the time. */
#define STAGE_STOP_USEC (10 * USEC_PER_SEC)

enum stage_kind { STAGE_SINGLE, STAGE_INSTANCES };

struct stage {
	const char *name;
	unsigned instance; /* 0 for a single stage */
	struct config *config;
	struct loop *loop;
	struct metrics *metrics;
	struct memory *memory;
	struct metrics_server *metrics_server;
	struct settings *settings; /* settings_on_change is the stage's to call */
	struct heap *heap;
	struct control *control;
	bool leak_report; /* at the end: what was never freed */
	struct loop_timer watchdog;
	struct loop_timer stop_limit;
	uint64_t watchdog_usec;
	uint64_t stop_usec; /* STAGE_STOP_USEC, unless the stage or a test says otherwise */
	bool stopping;
	int64_t *ready; /* the metric */
	void (*stop)(void *arg);
	void *stop_arg;
};

int stage_init(struct stage *s, const char *name, enum stage_kind kind, int argc,
	       char **argv) MUST_CHECK;
/* "DATA/NAME", made if it is not there. ret: PATH_MAX bytes. Logs and returns negative errno if it
 * cannot be made. */
int stage_data_dir(struct stage *s, const char *name, char *ret) MUST_CHECK;
/* config_pipe_url for this stage's configuration. */
const char *stage_pipe_url(const struct stage *s, const char *name, const char *stage,
			   unsigned lane, char *ret);
int stage_run(struct stage *s, void (*stop)(void *arg), void *arg);
/* What SIGTERM does: the stage ends of its own accord, while stage_run runs. */
void stage_stop(struct stage *s);
void stage_release(struct stage *s);
/* The lane of an account, 0 to lanes - 1. */
unsigned stage_lane_of(struct span did, unsigned lanes);
