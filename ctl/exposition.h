/* Reading a stage's metrics back from Prometheus' text format, as far as our own stages write it.
 */
#pragma once

#include "common/bytes.h"

struct exposition_sample {
	struct span labels; /* with braces; empty if there are none. Borrows */
	double value;
};

/* The next sample of the family in what is left of the text, which is moved on past it; false if
 * there is none. */
bool exposition_next(struct span *text, const char *name, struct exposition_sample *ret);
/* The sum over all samples of the family, whatever their labels; -ENOENT if there is none. */
int exposition_sum(struct span text, const char *name, double *ret) MUST_CHECK;
/* The sample whose labels contain this text; -ENOENT. */
int exposition_find(struct span text, const char *name, const char *label, double *ret) MUST_CHECK;
/* The value of a label, without its quotes; empty if it is not there. Borrows. */
struct span exposition_label(struct span labels, const char *name);
