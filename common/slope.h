/*
 * The slope of a noisy series: how fast something grows, in spite of steps, spikes and saw teeth.
 * The median of the slopes between all pairs of points (Theil and Sen), which no three points in
 * ten can mislead.
 *
 * A series keeps the last SLOPE_SAMPLES values; a window of more than SLOPE_POINTS of them is
 * thinned out evenly. Times only rise.
 */
#pragma once

#include "common/bytes.h"

#define SLOPE_SAMPLES 720 /* an hour of one each 5 s */
#define SLOPE_POINTS  120 /* of one estimate: 7,140 pairs, about 0.1 ms */
#define SLOPE_MIN     12  /* fewer tell nothing */

struct slope {
	size_t count, next;
	struct slope_sample {
		uint64_t at_usec;
		int64_t value;
	} samples[SLOPE_SAMPLES];
};

void slope_init(struct slope *s);
void slope_clear(struct slope *s);
void slope_add(struct slope *s, uint64_t at_usec, int64_t value);
/* Of the values that are at most window_usec older than the newest, per hour. -EAGAIN: fewer than
 * SLOPE_MIN. */
int slope_get(const struct slope *s, uint64_t window_usec, int64_t *ret_per_hour) MUST_CHECK;
