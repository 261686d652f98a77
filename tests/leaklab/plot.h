/*
 * Lines over time as a picture: an SVG file that any browser shows, with panels one below the
 * other, axes with round numbers, and a legend.
 */
#pragma once

#include "common/bytes.h"

#define PLOT_LINES 8

struct plot_line {
	const char *name;
	const double *y; /* as many as the plot has times */
	bool is_bound;   /* a limit: drawn dashed and grey */
};

struct plot_panel {
	const char *title; /* with the unit */
	size_t line_count;
	struct plot_line lines[PLOT_LINES];
};

struct plot {
	const char *title, *x_title;
	size_t count; /* of times, at least 2, rising */
	const double *x;
	size_t panel_count;
	const struct plot_panel *panels;
};

/* Appends. */
void plot_put(struct buf *b, const struct plot *p);
/* Negative errno. */
int plot_write(const char *path, const struct plot *p) MUST_CHECK;
