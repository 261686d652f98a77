/*
 * `standpipe run`: the whole group in the foreground, without systemd.
 *
 * Starts every stage as a child, passes its log lines on with its name before them, starts it again
 * when it dies (at once, then with a delay that doubles from 100 ms to 5 s while it dies young),
 * and on SIGTERM or SIGINT stops the group in the order in which events flow, so that what is in
 * hand gets through. A stage that ends with 64 or 78 (its arguments or configuration are wrong)
 * ends the group with that status: starting it again would not help.
 *
 * The children are told to end when this process does, however it ends.
 */
#pragma once

#include "ctl/group.h"

/* arguments: what every stage is started with after its name (--config FILE, --set ...), NULL at
 * the end. Returns the exit status. */
int run_group(const struct group *g, const struct config *config, char *const *arguments);
