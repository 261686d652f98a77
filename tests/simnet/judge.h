/*
 * An independent consumer: it knows what was sent, and says what is missing, repeated, out of order
 * or forged. It shares no parsing with the relay: an event is known by its bytes around `seq`.
 *
 * Any number of readers of the same relay hold their frames against it. For each reader: the
 * numbers rise by one from its first; for all: a number has one content, every accepted event
 * comes once, the events of an account come in the order in which they were sent, nothing comes
 * that was not sent or had to be refused.
 *
 * Events of the same content cannot be told apart: their numbers are dealt out to them rising.
 *
 * Events are borrowed until judge_close. An event of 4.5 KB takes 1.3 us of CPU when it is sent,
 * and as much for each reader; about 100 bytes are kept of it.
 */
#pragma once

#include "tests/simnet/corpus.h"

struct judge;
struct judge_reader;

/* Not new and free: validate has a judge too, and some tests link with both. */
struct judge *judge_open(void);
void judge_close(struct judge *j);
/* This event has been, or is about to be, sent. */
void judge_sent(struct judge *j, const struct corpus_record *r);
/* It may come out or not: a fault made it uncertain. Whether it was given to judge_sent before or
 * not. */
void judge_excuse(struct judge *j, const struct corpus_record *r);

/* name: for messages; copied. */
struct judge_reader *judge_reader_new(struct judge *j, const char *name);
void judge_reader_free(struct judge_reader *r);
/* The reader connects again with this cursor: its next number is one above. */
void judge_reader_resume(struct judge_reader *r, uint64_t cursor);
/* A frame as it came. */
void judge_received(struct judge_reader *r, struct span frame);
uint64_t judge_reader_last_seq(const struct judge_reader *r);
uint64_t judge_reader_count(const struct judge_reader *r);

struct judge_report {
	uint64_t sent, due;    /* due: those of them that have to come out */
	uint64_t received;     /* of the due, by at least one reader */
	uint64_t missing;      /* due and received by nobody */
	uint64_t repeated;     /* an event under two numbers */
	uint64_t reordered;    /* before an earlier event of the same account */
	uint64_t forged;       /* never sent, or altered, or without a number */
	uint64_t let_through;  /* had to be refused */
	uint64_t gaps;         /* a number that is not one above the last, over all readers */
	uint64_t two_contents; /* a number with two contents */
};
/* Goes over all events. */
void judge_report(const struct judge *j, struct judge_report *ret);
/* Whether everything due is received; costs nothing. */
bool judge_is_complete(const struct judge *j);
/* True if nothing is wrong; else prints "# ..." lines: the report, and the first offenders. */
bool judge_verdict(const struct judge *j);
