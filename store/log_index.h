/*
 * Recovery of one .idx file (common/log_file.h). It is not synced with every group: a kill may cost
 * it the records of the last group, and a power cut more than that, with zeros in between. What it
 * had can be read from the .ws, but for the host.
 */
#pragma once

#include "common/log_file.h"
#include "store/marker.h"

/*
 * Makes the index say what the messages up to the marker say: records are kept up to the first that
 * is not right, the rest is made anew with the time now_usec, and what is beyond the marker is cut
 * off. Reads all of the index, and the messages whose records are made anew.
 *
 * -EBADMSG: there are not as many messages as the marker says, or other bytes than messages; the
 * index may have been changed.
 */
int log_index_recover(int messages_fd, int index_fd, const struct marker *m, uint64_t now_usec,
		      uint64_t *ret_made) MUST_CHECK;

/* How far the records are right by themselves: they follow each other within so many bytes of
 * messages. Gives how many records that are, and where the messages of them end. */
int log_index_measure(int index_fd, uint64_t messages_bytes, uint64_t *ret_records,
		      uint64_t *ret_end_bytes) MUST_CHECK;
/* The last of so many records. False if there is none, or none that is right. */
bool log_index_get_last(int index_fd, uint64_t count, struct log_index_record *ret);

/* The kind of a frame by its header [event stream: Framing]; 0 if it is none that store writes. */
uint8_t log_index_kind(struct span frame);
