/*
 * store's counters. What a group adds to them counts when the group is durable; a group that fails
 * never was.
 */
#pragma once

#include "common/lag.h"
#include "store/storage.h"

struct tally;

struct tally *tally_new(struct metrics *m);
void tally_free(struct tally *t);

/* An event that was decided on. */
void tally_add(struct tally *t, const struct verified *v, const struct storage_decision *d);
/* The group is durable, as of now. */
void tally_keep(struct tally *t, const struct storage_group *g);
/* The group failed. */
void tally_drop(struct tally *t);
/* What the log and the state have now. */
void tally_show(struct tally *t, const struct storage *s);
