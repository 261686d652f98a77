/* What the commands show of a member's metrics, and how numbers are written for people. */
#pragma once

#include "ctl/ask.h"

/* A metric's sum over its samples; 0 if it is not there. */
double figure_sum(const struct answer *a, const char *metric);
/* The sample whose labels contain this text; false if there is none. */
bool figure_find(const struct answer *a, const char *metric, const char *label, double *ret);
/* Seconds since the start. */
double figure_uptime(const struct answer *a);

#define FIGURE_SIZE 32
/* "42s", "3m07s", "2h05m", "1d04h"; returns ret. */
const char *figure_time(double seconds, char ret[static FIGURE_SIZE]);
/* "1.4M", "730K" */
const char *figure_bytes(double bytes, char ret[static FIGURE_SIZE]);
