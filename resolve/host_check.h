/*
 * Whether a host is a PDS: it answers com.atproto.server.describeServer with a JSON object that has
 * a DID in `did`. A host whose Server header says that it is a relay is none, whatever it answers:
 * relays that follow each other would loop.
 */
#pragma once

#include "common/message.h"
#include "resolve/http.h"

#define HOST_CHECK_USEC     (5 * USEC_PER_SEC) /* as deployed relays have it */
#define HOST_CHECK_BODY_MAX 65536              /* bytes; real answers have under 1,000 */

/* done is called once, never from inside this function; the reason is borrowed until it returns. */
void host_check_start(struct http *http, const struct host_policy *policy, const struct host *host,
		      void (*done)(void *arg, const struct host_check *check), void *arg);

/* What an answer says about its host. The reason borrows from the answer. */
struct host_check host_check_judge(const struct http_answer *answer);
