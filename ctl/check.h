/*
 * `standpipe check`: checks recorded frames. That is what standpipe-validate does, so it is asked
 * to do it, in the place of this process.
 */
#pragma once

/* argv[0] is "check". Returns an exit status, and only if the program cannot be run. */
int check_frames(int argc, char **argv);
