/*
 * A relay group for tests: the real `standpipe run` as a child, with its own folders and free
 * loopback ports, and a consumer of its event stream. Waiting goes through the test's loop, so that
 * fake hosts on it go on meanwhile.
 *
 * The programs are those in test_programs().
 */
#pragma once

#include <sys/types.h>

#include "common/loop.h"
#include "tests/lib/wait.h"

struct group_test;

#define GROUP_TEST_MEMBERS_MAX 16

/* settings: lines "section.key=value", NULL at the end; they win over what this sets. With
 * group.lanes and group.replicas there are so many more members. */
struct group_test *group_new(struct loop *l, const char *const *settings);
/* For the processes of the group, from its next start on. */
void group_set_environment(struct group_test *g, const char *name, const char *value);
/* Stops it if it runs. Whenever the group has ended, the test fails if it did not end with status 0
 * when it was asked to, if a sanitizer spoke in its log, or if a member ended that the test did not
 * end: by a signal that was not sent to it by group_signal, group_kill or group_crash, more often
 * than they were, or with a status that is not 0. */
void group_free(struct group_test *g);
/* Returns when every stage says that it is ready. */
void group_start(struct group_test *g);
void group_stop(struct group_test *g);
/* Runs `standpipe COMMAND` with its settings, while it is stopped; the exit status. */
int group_command(struct group_test *g, const char *command);
/* Runs `standpipe WORDS` for it, while it runs; the exit status. ret: emptied, and filled with both
 * outputs. */
int group_order(struct group_test *g, const char *words, struct buf *ret);
/* SIGKILL for one stage ("validate-0"); returns when it has a successor that answers. */
void group_kill(struct group_test *g, const char *member);
/* A signal for a member; false if it has no process now. */
bool group_signal(struct group_test *g, const char *member, int number);
/* One SIGKILL more may end it, which others than these functions send. */
void group_expect_kill(struct group_test *g, const char *member);
/* Members may end with status 111, as those do whose disk or pipes fail. */
void group_expect_failures(struct group_test *g);
/* "ingest", "resolve", "store", "validate-0", ..., "fanout-0", ...; NULL after the last. */
const char *group_member_name(const struct group_test *g, size_t i);
/* The process of a member, as the system knows it, so that it may be stopped; 0: it has none
 * now. */
pid_t group_pid(struct group_test *g, const char *member);
/* All that it is told, what group_new sets included, NULL at the end; a later line wins over an
 * earlier one of the same key. Valid until group_free. */
const char *const *group_settings(const struct group_test *g);
/* Its folders. Valid until group_free. */
const char *group_data_folder(const struct group_test *g);
uint16_t group_port(const struct group_test *g);
/* SIGKILL for all of it at once, as by a power cut but for the disk. group_start starts it
 * again. */
void group_crash(struct group_test *g);
/* A sum over the samples of a metric whose line contains labels ("": all); -1 if there is none or
 * nobody answers. */
int64_t group_metric(struct group_test *g, const char *member, const char *name,
		     const char *labels);
/* The same of many metrics at one time: all that a member says of itself (ret: emptied, and filled;
 * it stays empty if nobody answers), and one of them. */
void group_metrics(struct group_test *g, const char *member, struct buf *ret);
int64_t group_metric_in(struct span metrics, const char *name, const char *labels);
/* Waits until it is at least wanted, for twice WAIT_USEC; false (and a failed check) if it does not
 * get there. */
bool group_wait_metric(struct group_test *g, const char *member, const char *name,
		       const char *labels, int64_t wanted);
/* GET on the public port: the status, or -1; body is cleared first. */
int group_get(struct group_test *g, const char *path, struct buf *body);
/* POST of JSON. */
int group_post(struct group_test *g, const char *path, const char *json, struct buf *body);

/* A consumer: keeps every frame in order. */
struct consumer {
	struct loop *loop;
	struct loop_io io;
	struct buf in;
	struct buf frames; /* all, one after another */
	size_t count, cap;
	struct consumer_frame {
		uint64_t seq;
		size_t offset, size;
	} * list;
	bool closed;
	bool told_to_go; /* by a close frame; then it goes */
	bool bad;        /* something that is no binary message with a frame that has a seq */
};
/* cursor: -1 for none. The connection is made when this returns. */
void consumer_open(struct consumer *c, struct group_test *g, int64_t cursor);
/* false: it was refused; it is closed then. */
bool consumer_try(struct consumer *c, struct group_test *g, int64_t cursor);
void consumer_close(struct consumer *c);
struct span consumer_frame(const struct consumer *c, size_t i);
