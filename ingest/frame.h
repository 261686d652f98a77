/*
 * The little that ingest reads of an event stream frame: what kind of message it is, its number,
 * its account and its age. Everything else in it, and whether it may be believed, is for validate
 * to find out.
 *
 * A frame is two CBOR maps one after the other, header and payload, and nothing after them [event
 * stream: Framing]. All of it is checked to be canonical CBOR, which takes about a microsecond:
 * broken CBOR ends the connection, so it has to be known here.
 *
 * Spans borrow from the frame.
 */
#pragma once

#include "common/bytes.h"

enum frame_class {
	FRAME_EVENT,      /* #commit, #sync, #identity or #account, with seq and did */
	FRAME_INFO,       /* #info: name, message */
	FRAME_ERROR,      /* op -1: name, message. The stream is over. */
	FRAME_UNKNOWN,    /* another op or t, to be skipped; seq if it has one */
	FRAME_BAD_FIELDS, /* a field that is needed here is missing or is no such thing; seq if it
			     has one */
};

struct frame {
	enum frame_class class;
	uint64_t seq;        /* 1 to 2^53 - 1; 0: none */
	uint64_t rev_usec;   /* #commit, #sync: when it was made, as `rev` has it; 0: not said */
	struct span type;    /* `t`; may be empty */
	struct span did;     /* events: `repo` of a #commit, `did` of the others; not checked */
	struct span name;    /* #info: `name`; error: `error` */
	struct span message; /* #info, error; may be empty */
};

/* 0, or -EBADMSG: not two maps of canonical CBOR. */
int frame_scan(struct span bytes, struct frame *ret) MUST_CHECK;
