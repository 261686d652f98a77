/*
 * One page of another relay's list of hosts: com.atproto.sync.listHosts. Hosts of every status are
 * in it; names that are no host names are left out, and so is what is beyond HOST_LIST_MAX.
 */
#pragma once

#include "common/message.h"
#include "resolve/http.h"

#define HOST_PAGE_USEC (30 * USEC_PER_SEC) /* a thousand hosts from a busy relay */
#define HOST_PAGE_BODY_MAX                                                                         \
	1048576 /* bytes: 1,000 hosts of the longest names, several times over                     \
		 */

/* base: URL of the relay. cursor: empty for the first page. done is called once, never from inside
 * this function; the list is borrowed until it returns, and not ok if there is no answer that can
 * be read. -EINVAL: base is no URL of a host, or one by http: that the policy does not allow. */
int host_page_start(struct http *http, const struct host_policy *policy, struct span base,
		    struct span cursor, void (*done)(void *arg, const struct host_list *list),
		    void *arg) MUST_CHECK;

/* The hosts of a page's JSON; the list is given to take while it lasts. Not ok if the JSON is not a
 * page. */
void host_page_parse(struct span json, void (*take)(void *arg, const struct host_list *list),
		     void *arg);
