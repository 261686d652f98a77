/*
 * `standpipe rebuild`: makes store's lost state anew from its log. store reads the log and writes
 * the state, validate says what is in the events; this only starts the two, joined by pipes, and
 * waits for them. The relay must not be running.
 */
#pragma once

/* arguments: --config FILE and --set ..., for store. The exit status. */
int rebuild_state(char *const *arguments);
