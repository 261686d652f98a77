/*
 * Traffic in a file: every event that the simulated hosts send, in the order of their sending, with
 * what a relay has to do with it. Signing is as dear as verifying, so traffic is written once and
 * replayed at any rate, with fresh connections.
 *
 *	head: magic, version, world_settings			   fixed size, little-endian
 *	record | frame | record | frame | ...			   frames as they go over the wire
 *
 * A reader maps the file; what it gives borrows from the map until corpus_close. Two files of the
 * same settings are the same, byte for byte.
 */
#pragma once

#include "common/verdict.h"
#include "tests/simnet/world.h"

enum corpus_type {
	CORPUS_EVENT = 1,
	/* Everything sent so far has to be out before what follows begins: an account's key or host
	 * changes. */
	CORPUS_BARRIER = 2,
	/* From here on the account's identity is this one. No frame. */
	CORPUS_IDENTITY = 3,
};

enum corpus_kind { CORPUS_COMMIT, CORPUS_SYNC, CORPUS_IDENTITY_EVENT, CORPUS_ACCOUNT };

struct corpus_record {
	enum corpus_type type;
	uint32_t account;
	/* CORPUS_EVENT */
	enum corpus_kind kind;
	uint32_t host;        /* that sends it */
	uint64_t seq;         /* the host's number, from 1 */
	enum verdict verdict; /* VERDICT_ACCEPTED: it must come out; else it must not */
	uint32_t seq_offset;  /* where the value of `seq` stands in the frame, */
	uint32_t seq_size;    /* as CBOR */
	/* The frame of an #identity whose handle is not in the account's document: it has to come
	 * out without it. Every other frame comes out byte for byte but for `seq`. */
	bool loses_handle;
	struct span frame;
	/* CORPUS_IDENTITY */
	struct world_identity identity;
};

struct corpus_writer;

/* Creates the file, under a name of its own until corpus_writer_close. Exits with a message if the
 * file cannot be written: tests have no use for half a corpus. */
struct corpus_writer *corpus_writer_open(const char *path, const struct world_settings *s);
void corpus_writer_put(struct corpus_writer *w, const struct corpus_record *r);
void corpus_writer_close(struct corpus_writer *w);

struct corpus {
	struct world_settings settings;
	struct span map;
	size_t offset;   /* of the next record */
	uint64_t events; /* in all */
};

/* -ENOENT, or why it cannot be read; -EBADMSG: not a corpus, another version, cut short. */
int corpus_open(const char *path, struct corpus *ret) MUST_CHECK;
/* 1: a record; 0: the end; -EBADMSG: it is broken here. */
int corpus_next(struct corpus *c, struct corpus_record *ret) MUST_CHECK;
void corpus_rewind(struct corpus *c);
void corpus_close(struct corpus *c);
