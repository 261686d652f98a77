/*
 * The commands of the program build/tests/simnet/simnet, and what their arguments have in common.
 * A command gets its name and what follows it, and gives the exit status: 0, 1 for what went wrong,
 * EXIT_USAGE for arguments that are none of its.
 */
#pragma once

#include "tests/simnet/traffic.h"

#define EXIT_USAGE 64

/* Writes a corpus of these options. */
int command_write(int argc, char **argv);
/* What a corpus holds: how many of each kind and verdict, and how large. */
int command_show(int argc, char **argv);
/* Its records, a line each. */
int command_records(int argc, char **argv);
/* Its frames and the documents of their accounts, for readers that share no code with it: sections
 * of a type, a length (u32, little-endian) and bytes. 'D': the DID document of an account from here
 * on, before its first frame and after each change; 'F': a frame; 'R': one that has to be refused.
 */
int command_export(int argc, char **argv);
/* The network of a corpus, which is played at a rate (0: as fast as may be), until SIGTERM. Says
 * first what a relay has to be told to read it; the files that this names are in the folder. */
int command_serve(int argc, char **argv);
/* What a relay's or a host's stream says, an event a line, or how much it is every second, until
 * SIGTERM. Without a cursor from now on. */
int command_read(int argc, char **argv);
/* A small network, a relay that reads it, and every event that comes out of it in a line, until
 * SIGINT or SIGTERM. */
int command_demo(int argc, char **argv);

/* Sets a field of either struct from "hosts=100", "plain=1", "events=200000", ...: the names are
 * those of the fields. -EINVAL. */
int option_parse(const char *text, struct world_settings *w, struct traffic_settings *t) MUST_CHECK;
/* All of them over what a small network is like; ends the process with EXIT_USAGE for one that is
 * none. */
void options_parse(char **texts, size_t count, struct world_settings *ret_w,
		   struct traffic_settings *ret_t);
