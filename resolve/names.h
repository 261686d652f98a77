/*
 * Whether a name exists in DNS. Asked only after curl failed to resolve one, because curl does not
 * say why, and "there is no such host" is an answer about an account (not found) where "DNS does
 * not answer" is a passing failure [DID: did:web].
 */
#pragma once

#include "common/loop.h"

enum name_state {
	NAME_UNKNOWN, /* DNS did not answer */
	NAME_MISSING, /* NXDOMAIN, or no address */
	NAME_EXISTS,
};

struct names;

/* servers: "ADDRESS[:PORT],..." in place of those in /etc/resolv.conf; NULL for the system's. */
struct names *names_new(struct loop *loop, const char *servers);
/* Questions under way end without a word. */
void names_free(struct names *n);
/* Calls done once, possibly from inside this function; within 5 s. */
void names_ask(struct names *n, const char *name, void (*done)(void *arg, enum name_state state),
	       void *arg);
