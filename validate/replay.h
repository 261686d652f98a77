/*
 * The stage's own checks over recorded frames (recording.h), for the author of a PDS: a line for
 * each frame, with its verdict. Nobody is asked for identities: they are given as DID documents, or
 * as one key for all accounts. Where there is none, everything but the signature is checked, and
 * the best that can be said of a commit is "unverified".
 *
 * What only the relay's own state tells is not checked: whether a rev is newer than the last one,
 * a prevData the tree before it, an account active, and whether a legacy host has sent prevData
 * before.
 */
#pragma once

#define REPLAY_OPTION "--check-frames" /* first argument of the program that means this */

/* argv[0] is the option. Returns the exit status: 0 if no frame was refused or left unverified, 1
 * if one was, 64 for wrong arguments, 111 if a file cannot be read. */
int replay_main(int argc, char **argv);
