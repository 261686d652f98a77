/*
 * The PLC directories: the first serves all lookups while it is well, the next one when it is not.
 *
 * A directory rests when it says so (429, Retry-After), and when DIRECTORIES_FAILURES requests in a
 * row failed in a way that is its fault: for as long as it says (Retry-After), or else for a
 * second, and twice as long each time; a second at least and a minute at most. One request after
 * the rest shows whether it is well again; if not, it rests again at once. Each is asked at most
 * resolve.directory_rate times a second, and as many times at once after a pause.
 */
#pragma once

#include "common/config.h"
#include "resolve/document_place.h"

#define DIRECTORIES_MAX           8
#define DIRECTORIES_FAILURES      8 /* at 64 requests under way a hiccup fails some of them */
#define DIRECTORIES_REST_MIN_USEC (1 * USEC_PER_SEC)
#define DIRECTORIES_REST_MAX_USEC (60 * USEC_PER_SEC)

struct directories;
struct directory;

/* From resolve.plc_url. -EINVAL: one of them is no URL of a host, or http: where the policy has no
 * plain host; ret_bad is it then, cut to fit. */
int directories_new(const struct config *config, const struct host_policy *policy, char *ret_bad,
		    size_t size, struct directories **ret) MUST_CHECK;
void directories_free(struct directories *d);
/* Reads resolve.directory_rate. */
void directories_configure(struct directories *d, const struct config *config);

/* Times: loop_now_usec. The one to ask now, and counts the request, which directory_done ends;
 * tried: bits of those that are not to be asked, by their numbers. NULL: none; ret_wait_usec says
 * when there may be one, UINT64_MAX if only by an end of a request. */
struct directory *directories_pick(struct directories *d, unsigned tried, uint64_t now_usec,
				   uint64_t *ret_wait_usec);
/* None can be asked because all of them rest. */
bool directories_rest(const struct directories *d, uint64_t now_usec);
/* Where any of them has its documents: the first. */
const struct document_place *directories_first(const struct directories *d);

unsigned directory_number(const struct directory *d);
const struct document_place *directory_place(const struct directory *d);

enum directory_outcome {
	DIRECTORY_WELL,   /* it answered */
	DIRECTORY_FAILED, /* it did not, or not as a directory does */
	DIRECTORY_BUSY,   /* it wants rest */
};
/* rest_usec: what it says that it wants, of one that is busy; 0: it did not say. Gives how long it
 * rests if it begins to with this, else 0. */
uint64_t directory_done(struct directory *d, enum directory_outcome outcome, uint64_t rest_usec,
			uint64_t now_usec);
