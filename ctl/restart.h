/*
 * `standpipe restart`: the processes of a stage end one after another, as by SIGTERM, and whoever
 * started them (systemd, `standpipe run`) starts them again. The next one is asked to end when the
 * one before is ready again and, of fanout, knows as much of the log as its predecessor. If one
 * does not come back, the rest are left alone.
 */
#pragma once

#include "ctl/group.h"

/* name: of a stage or a process. 0 if all are back, 1 if not. */
int restart_members(const struct group *g, const struct config *config, const char *name);
