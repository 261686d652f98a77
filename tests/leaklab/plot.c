#include "tests/leaklab/plot.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>

#define WIDTH        960
#define PANEL_HEIGHT 320
#define LEFT         80 /* of the axes */
#define RIGHT        30
#define TOP          70
#define BELOW        50 /* of a panel: numbers and title of its axis */
#define TICKS        6  /* about so many on an axis */
#define PLOT_MAX     MIB(16)

/* Apart for the colour-blind too. */
static const char *const colours[PLOT_LINES] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
						"#e69f00", "#56b4e9", "#000000", "#888888"};

struct axis {
	double from, to, step;
};

/* 1, 2 or 5 times a power of ten, of which about TICKS make the range. */
static double round_step(double range)
{
	static const double factors[] = {1, 2, 5, 10};
	double power = pow(10, floor(log10(range / TICKS)));

	for (size_t i = 0; i < ARRAY_SIZE(factors); i++)
		if (factors[i] * power * TICKS >= range)
			return factors[i] * power;
	return 10 * power;
}

/* From one round number to another, with all values between them. */
static struct axis axis_of(double least, double most)
{
	struct axis a;

	if (most - least < 1e-9)
		most = least + 1;
	a.step = round_step(most - least);
	a.from = floor(least / a.step) * a.step;
	a.to = ceil(most / a.step) * a.step;
	return a;
}

static struct axis y_axis(const struct plot *p, const struct plot_panel *panel)
{
	double least = 0, most = 0;

	for (size_t l = 0; l < panel->line_count; l++)
		for (size_t i = 0; i < p->count; i++) {
			least = fmin(least, panel->lines[l].y[i]);
			most = fmax(most, panel->lines[l].y[i]);
		}
	return axis_of(least, most);
}

static double x_of(const struct axis *a, double x)
{
	return LEFT + (x - a->from) / (a->to - a->from) * (WIDTH - LEFT - RIGHT);
}

static double y_of(const struct axis *a, double y, double top)
{
	return top + PANEL_HEIGHT - (y - a->from) / (a->to - a->from) * PANEL_HEIGHT;
}

static void put_text(struct buf *b, double x, double y, const char *anchor, const char *text)
{
	buf_printf(b, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor,
		   text);
}

static void put_rule(struct buf *b, double x1, double y1, double x2, double y2)
{
	buf_printf(b, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n",
		   x1, y1, x2, y2);
}

static void put_axes(struct buf *b, const struct axis *x, const struct axis *y, double top)
{
	char number[32];

	/* By their number, so that errors of rounding do not add up. */
	for (int i = 0; i <= (int)lround((y->to - y->from) / y->step); i++) {
		double value = y->from + i * y->step, at = y_of(y, value, top);

		put_rule(b, LEFT, at, WIDTH - RIGHT, at);
		snprintf(number, sizeof(number), "%g", fabs(value) < y->step / 2 ? 0 : value);
		put_text(b, LEFT - 8, at + 4, "end", number);
	}
	for (int i = 0; i <= (int)floor((x->to - x->from) / x->step + 1e-6); i++) {
		double value = x->from + i * x->step, at = x_of(x, value);

		put_rule(b, at, top, at, top + PANEL_HEIGHT);
		snprintf(number, sizeof(number), "%g", value);
		put_text(b, at, top + PANEL_HEIGHT + 18, "middle", number);
	}
}

static void put_line(struct buf *b, const struct plot *p, const struct plot_line *line,
		     const char *colour, const struct axis *x, const struct axis *y, double top)
{
	buf_printf(b, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"%s\"%s points=\"",
		   line->is_bound ? "#999" : colour, line->is_bound ? "1" : "2",
		   line->is_bound ? " stroke-dasharray=\"6 4\"" : "");
	for (size_t i = 0; i < p->count; i++)
		buf_printf(b, "%.1f,%.1f ", x_of(x, p->x[i]), y_of(y, line->y[i], top));
	buf_append_str(b, "\"/>\n");
}

static void put_legend(struct buf *b, const struct plot_panel *panel, double top)
{
	double x = LEFT;

	for (size_t l = 0; l < panel->line_count; l++) {
		if (panel->lines[l].is_bound)
			continue;
		buf_printf(b,
			   "<rect x=\"%.1f\" y=\"%.1f\" width=\"18\" height=\"4\" fill=\"%s\"/>\n",
			   x, top - 14, colours[l]);
		put_text(b, x + 24, top - 8, "start", panel->lines[l].name);
		x += 110;
	}
}

static void put_panel(struct buf *b, const struct plot *p, const struct plot_panel *panel,
		      double top)
{
	struct axis x = axis_of(p->x[0], p->x[p->count - 1]), y = y_axis(p, panel);

	/* Time begins at a round number, and ends where it does. */
	x.to = fmax(x.from + x.step / 2, p->x[p->count - 1]);
	buf_append_str(b, "<g font-weight=\"bold\">");
	put_text(b, LEFT, top - 28, "start", panel->title);
	buf_append_str(b, "</g>\n");
	put_axes(b, &x, &y, top);
	put_legend(b, panel, top);
	for (size_t l = 0; l < panel->line_count; l++)
		put_line(b, p, &panel->lines[l], colours[l], &x, &y, top);
	put_text(b, (LEFT + WIDTH - RIGHT) / 2.0, top + PANEL_HEIGHT + 38, "middle", p->x_title);
}

void plot_put(struct buf *b, const struct plot *p)
{
	size_t height = 30 + p->panel_count * (TOP + PANEL_HEIGHT + BELOW);

	assert(p->count >= 2);
	buf_printf(b,
		   "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%zu\" "
		   "viewBox=\"0 0 %d %zu\" font-family=\"sans-serif\" font-size=\"13\">\n"
		   "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
		   WIDTH, height, WIDTH, height);
	buf_append_str(b, "<g font-size=\"16\">");
	put_text(b, LEFT, 26, "start", p->title);
	buf_append_str(b, "</g>\n");
	for (size_t i = 0; i < p->panel_count; i++)
		put_panel(b, p, &p->panels[i],
			  30 + (double)(i * (TOP + PANEL_HEIGHT + BELOW)) + TOP);
	buf_append_str(b, "</svg>\n");
}

int plot_write(const char *path, const struct plot *p)
{
	struct buf b;
	FILE *f;
	int error = 0;

	buf_init(&b, PLOT_MAX);
	plot_put(&b, p);
	f = fopen(path, "we");
	if (!f || fwrite(b.ptr, 1, b.len, f) != b.len)
		error = -errno;
	if (f && fclose(f) != 0 && !error)
		error = -errno;
	buf_release(&b);
	return error;
}
