/*
 * What is in an event, for a store that makes its lost state anew from the log: events come on
 * standard input (common/exchange.h, struct event), and for each a struct verified goes to standard
 * output, or nothing if it is not one that is ever passed on.
 *
 * Keys and hosts are not looked at: what is in the log was verified when it came, perhaps with a
 * key that the account has no longer. All else is checked as always.
 */
#pragma once

#define FACTS_OPTION "--facts"

/* The exit status: 0 when standard input has ended. */
int facts_main(void);
