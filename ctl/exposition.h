/* Reading a stage's metrics back from Prometheus' text format, as far as our own stages write it.
 */
#pragma once

#include "common/bytes.h"

/* The sum over all samples of the family, whatever their labels; -ENOENT if there is none. */
int exposition_sum(struct span text, const char *name, double *ret) MUST_CHECK;
