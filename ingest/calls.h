/*
 * What ingest answers to the public port: requestCrawl and listHosts.
 *
 * A host that somebody asks for is verified before it is added, never after: resolve is asked
 * whether it is a PDS, and only then it is registered and dialled. At most CALLS_PENDING_MAX such
 * checks are under way.
 */
#pragma once

#include "common/host.h"
#include "common/pipe.h"
#include "ingest/crawler.h"

#define CALLS_PENDING_MAX   64 /* of each kind: host checks, and pages of hosts */
#define CALLS_CHECK_USEC    (10 * USEC_PER_SEC)
#define CALLS_COUNT_USEC    (2 * USEC_PER_SEC)
#define CALLS_HOSTS_MAX     1000 /* of one page [lexicon: listHosts] */
#define CALLS_HOSTS_DEFAULT 200

struct calls {
	struct crawler *crawler;
	struct pipe *pipe;
	struct pipe *resolve; /* calls */
	struct pipe *store;   /* calls */
	unsigned checks;
	unsigned pages;
};

/* Listens, and dials store. Borrows crawler and resolve. Logs; 0, or the exit status. */
int calls_init(struct calls *c, struct crawler *crawler, struct pipe *resolve) MUST_CHECK;
/* Ends the calls to store; those to resolve must have ended. */
void calls_release(struct calls *c);

/*
 * A hostname as people write it: "name[:port]" or a URL, any case. -EINVAL with a reason if it is
 * no name of a public host: addresses, single labels, ports and http are for hosts that the
 * configuration names.
 */
int calls_parse_hostname(const struct crawler *c, struct span text, struct host *ret,
			 const char **ret_reason) MUST_CHECK;
/* The body of an ACCOUNTS_COUNTED message that was asked with `count` hosts. ret: count numbers.
 * -EBADMSG. */
int calls_decode_counts(struct reader r, size_t count, uint64_t *ret) MUST_CHECK;
