#include "common/slope.h"

#include <errno.h>

#define USEC_PER_HOUR 3.6e9
#define PAIRS         (SLOPE_POINTS * (SLOPE_POINTS - 1) / 2)

void slope_init(struct slope *s)
{
	*s = (struct slope){0};
}

void slope_clear(struct slope *s)
{
	s->count = s->next = 0;
}

void slope_add(struct slope *s, uint64_t at_usec, int64_t value)
{
	s->samples[s->next] = (struct slope_sample){at_usec, value};
	s->next = (s->next + 1) % SLOPE_SAMPLES;
	s->count += s->count < SLOPE_SAMPLES ? 1 : 0;
}

/* 0 is the newest. */
static struct slope_sample sample_at(const struct slope *s, size_t age)
{
	return s->samples[(s->next + SLOPE_SAMPLES - 1 - age) % SLOPE_SAMPLES];
}

/* How many are within the window. */
static size_t count_within(const struct slope *s, uint64_t window_usec)
{
	size_t n = 0;

	while (n < s->count && sample_at(s, 0).at_usec - sample_at(s, n).at_usec <= window_usec)
		n++;
	return n;
}

/* The values are put in some other order. */
static double select_nth(double *v, size_t count, size_t nth)
{
	size_t low = 0, high = count - 1;

	while (low < high) {
		double pivot = v[low + (high - low) / 2], swap;
		size_t i = low, j = high;

		for (;;) {
			while (v[i] < pivot)
				i++;
			while (v[j] > pivot)
				j--;
			if (i >= j)
				break;
			swap = v[i];
			v[i++] = v[j];
			v[j--] = swap;
		}
		if (nth <= j)
			high = j;
		else
			low = j + 1;
	}
	return v[nth];
}

int slope_get(const struct slope *s, uint64_t window_usec, int64_t *ret_per_hour)
{
	size_t n = count_within(s, window_usec), stride, points = 0, pairs = 0;
	struct slope_sample p[SLOPE_POINTS];
	double slopes[PAIRS];

	if (n < SLOPE_MIN)
		return -EAGAIN;
	stride = (n + SLOPE_POINTS - 1) / SLOPE_POINTS;
	for (size_t age = 0; age < n; age += stride)
		p[points++] = sample_at(s, age);
	for (size_t i = 0; i < points; i++)
		for (size_t j = i + 1; j < points; j++)
			if (p[i].at_usec > p[j].at_usec)
				slopes[pairs++] = (double)(p[i].value - p[j].value) /
						  (double)(p[i].at_usec - p[j].at_usec);
	if (pairs == 0)
		return -EAGAIN;
	*ret_per_hour = (int64_t)(select_nth(slopes, pairs, pairs / 2) * USEC_PER_HOUR);
	return 0;
}
