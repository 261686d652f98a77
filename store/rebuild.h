/*
 * A lost state made anew from the log, as far as the log goes back: the accounts that have an event
 * in it, with the commit, the status and the place of the last of them, the counts of hosts, and
 * the marker. What events say is asked of validate (validate/facts.h), which is at the other end of
 * standard input and output.
 *
 *	log files --> [ store ] --- events ---> [ validate ]
 *	   state <-----'    ^------ facts -------'
 *
 * Everything whole in the log's newest file counts as real: consumers may have seen it. The host of
 * an event whose index record was lost is not known; should its host send that event again, a
 * commit is known by its rev all the same, but an #account or #identity goes out twice.
 *
 * An index that is missing or damaged is made anew from its messages (store/log_run.h), as at a
 * start. A log with a hole is refused: what to leave out is not decided here.
 *
 * The state is made as state.half and gets its name when it is whole, so that a rebuild that was
 * cut short is one that has not begun. Neither does store start meanwhile, nor a rebuild while
 * store runs: the folder is locked.
 */
#pragma once

#define REBUILD_OPTION "--rebuild"

/* argv: as of the stage. The exit status. */
int rebuild_main(int argc, char **argv);
/* folder: the stage's own. in, out: the ends towards validate. -EEXIST: there is a state; -ENOENT:
 * there is no log; -EUCLEAN: it is damaged, or has a hole; -EAGAIN: another process has it. Logs
 * why it cannot. */
int rebuild(const char *folder, int in, int out);
