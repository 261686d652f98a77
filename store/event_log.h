/*
 * The log: files of events (common/log_file.h) that grow by groups. A group is put together in
 * memory and becomes real in steps, which the owner of the marker takes in this order:
 *
 *	event_log_put ...	numbers the events and makes their messages
 *	event_log_write		appends the messages to the newest file, or to a new one
 *	event_log_sync		they are on disk
 *				the owner makes event_log_next_marker durable: now they exist
 *	event_log_finish	appends their index records
 *
 * After a failure in any step the log is good for event_log_close only. event_log_open takes it
 * back to the marker, whatever was written beyond it: that was never acknowledged or seen.
 *
 * An index that does not reach the next file is made anew from the messages. Files before a gap (a
 * file is missing, or has not the messages that it should) are left alone and not served. Whole
 * files leave by age or by size of the log, the oldest first, and never the
 * one that is written to.
 */
#pragma once

#include "common/log_file.h"
#include "common/message.h"
#include "store/marker.h"

/* A group is full with this many events or bytes: what a sync costs is spread over enough of them,
 * and a consumer does not wait long. One largest message may go beyond the bytes. */
#define EVENT_LOG_GROUP_EVENTS 1024
#define EVENT_LOG_GROUP_BYTES  MIB(1)

struct event_log;

struct event_log_options {
	uint64_t file_bytes;      /* a file takes no more groups when it would grow past this */
	uint64_t retention_usec;  /* files whose newest event is older leave */
	uint64_t retention_bytes; /* the oldest leave while the .ws files have more; 0: no limit */
};

/* The log's folder, made if it is not there, with an empty first file; gives the marker to begin
 * with. -EEXIST if there are events already. Logs why it fails. */
int event_log_create(const char *folder, uint64_t first_seq, struct marker *ret) MUST_CHECK;

/* Takes the log back to the marker. -EUCLEAN if that
 * cannot be done without losing events or using numbers twice: the log ends before the marker, or
 * goes on after it for more than one group, or with events that were real. Logs why it fails, and
 * what to do. */
int event_log_open(const char *folder, const struct marker *m, const struct event_log_options *o,
		   struct event_log **ret) MUST_CHECK;
void event_log_close(struct event_log *l);
/*
 * How far the log is real at least, without a marker to say it: a record of an index is written
 * when its event is real (event_log_finish), so what the indexes of the newest files say was so. A
 * kill may have cost the records of one group, and a power cut more. Changes nothing. -ENOENT:
 * there is none such.
 */
int event_log_peek(const char *folder, struct head *ret) MUST_CHECK;
/* Whether there is room for one more group: a disk that is full is found full before the first
 * event is taken. -ENOSPC, -EDQUOT, -EFBIG, logged. */
int event_log_find_room(const struct event_log *l) MUST_CHECK;

/* Whether there are no sequence numbers left [event stream: below 2^53]. */
bool event_log_is_spent(const struct event_log *l);
/* Whether the frame keeps within LIMIT_FRAME with its new number. */
bool event_log_fits(const struct event_log *l, const struct verified *v);
/* Copies. */
void event_log_put(struct event_log *l, const struct verified *v, uint64_t now_usec);
size_t event_log_group_events(const struct event_log *l);
size_t event_log_group_bytes(const struct event_log *l);

/* The steps log why they fail. */
int event_log_write(struct event_log *l) MUST_CHECK;
int event_log_sync(struct event_log *l) MUST_CHECK;
/* After event_log_write: where the log ends with this group. Borrows until event_log_finish. */
const struct marker *event_log_next_marker(const struct event_log *l);
int event_log_finish(struct event_log *l) MUST_CHECK;

/* Unlinks what is too old or too much. Returns how many files it unlinked. */
unsigned event_log_retain(struct event_log *l, uint64_t now_usec);
/* The same, of a log that cannot be opened because there is no room for that; two files stay. */
unsigned event_log_make_room(const char *folder, const struct event_log_options *o,
			     uint64_t now_usec);

/* As of the last group that was finished; the time is not set. */
void event_log_head(const struct event_log *l, struct head *ret);
/* Of all .ws files. */
uint64_t event_log_bytes(const struct event_log *l);
size_t event_log_files(const struct event_log *l);
/* Memory it holds. */
size_t event_log_memory_bytes(const struct event_log *l);
