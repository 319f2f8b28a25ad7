#include "compare.h"

#include <math.h>
#include <string.h>

/* Pixels. Columns: names, values' numbers, values from 0 to 1, differences, their numbers. */
enum {
    ROW = 18,
    TITLE = 26,
    TOP = 62,
    NAMES_X = 24,
    NUMBER_X = 262,
    VALUES_X = 276,
    VALUES_END = 516,
    DIFFERENCES_X = 548,
    DIFFERENCES_END = 788,
    CHANGE_X = 866,
    WIDTH = 880,
    NAME_CHARACTERS = 28
};

typedef struct Axis {
    double from, to; /* pixels */
    double low, high;
} Axis;

static double place(const Axis *a, double value) {
    return a->from + (a->to - a->from) * (value - a->low) / (a->high - a->low);
}

static void put_text(FILE *out, const char *text) {
    for (; *text; text++) {
        if (strchr("<>&\"", *text))
            fprintf(out, "&#%d;", *text);
        else
            fputc(*text, out);
    }
}

/* The end of a long name, which tells runs apart; cut between characters of UTF-8. */
static const char *shortened(const char *name) {
    size_t characters = 0;
    for (const char *c = name; *c; c++) characters += (*c & 0xc0) != 0x80;
    while (characters > NAME_CHARACTERS) {
        do {
            name++;
        } while ((*name & 0xc0) == 0x80);
        characters--;
    }
    return name;
}

/* 1, 2 or 5 times a power of ten, not below value. */
static double round_up(double value) {
    const double ten = pow(10, floor(log10(value))), steps[] = {1, 2, 5, 10};
    int i = 0;
    while (i < 3 && steps[i] * ten < value * (1 - 1e-9)) i++;
    return steps[i] * ten;
}

static Axis differences_axis(const Comparison *c) {
    double largest = 1e-4;
    for (size_t k = 1; k < c->count; k++)
        for (size_t m = 0; m < BLEMISH_COMPARED; m++) {
            const BlemishInterval i = compared(c, k, m)->difference_interval;
            if (!isnan(i.low)) largest = fmax(largest, fmax(fabs(i.low), fabs(i.high)));
        }
    const double end = round_up(largest);
    return (Axis){DIFFERENCES_X, DIFFERENCES_END, -end, end};
}

static void put_axis(FILE *out, const Axis *a, const char *title, int bottom) {
    fprintf(out, "<text class='head' x='%g' y='22' text-anchor='middle'>", (a->from + a->to) / 2);
    put_text(out, title);
    fputs("</text>\n", out);
    for (int i = 0; i <= 4; i++) {
        const double value = a->low + (a->high - a->low) * i / 4, x = place(a, value);
        fprintf(out, "<path class='%s' d='M%.1f 46V%d'/><text class='tick' x='%.1f' y='40' text-anchor='middle'>%.3g",
                a->low < 0 && i == 2 ? "zero" : "grid", x, bottom, x, value);
        fputs("</text>\n", out);
    }
}

static void put_dot(FILE *out, const Axis *a, double value, BlemishInterval i, int y, bool hollow) {
    if (!isnan(i.low)) fprintf(out, "<path class='bar' d='M%.1f %dH%.1f'/>", place(a, i.low), y, place(a, i.high));
    fprintf(out, "<circle class='%s' cx='%.1f' cy='%d' r='4'/>\n", hollow ? "hollow" : "dot", place(a, value), y);
}

static void put_row(FILE *out, const Comparison *c, size_t run, size_t metric, const Axis *values,
                    const Axis *differences, int y) {
    const BlemishCompared *m = compared(c, run, metric);
    fprintf(out, "<g class='run%zu'><text x='%d' y='%d'>", run % 6, NAMES_X, y + 4);
    put_text(out, shortened(c->runs[run].name));
    fprintf(out, "</text><text x='%d' y='%d' text-anchor='end'>", NUMBER_X, y + 4);
    if (isnan(m->value))
        fputs("-</text>", out);
    else
        fprintf(out, "%.4f</text>", m->value);
    if (!isnan(m->value)) put_dot(out, values, m->value, m->interval, y, false);
    if (run && !isnan(m->difference)) {
        put_dot(out, differences, m->difference, m->difference_interval, y, !m->differs);
        fprintf(out, "<text x='%d' y='%d' text-anchor='end'>%+.4f</text>", CHANGE_X, y + 4, m->difference);
    }
    fputs("</g>\n", out);
}

void plot_write(FILE *out, const Comparison *c) {
    static const char style[] =
        "text{font:12px system-ui,sans-serif;fill:#222}.head{font-weight:600}.tick{font-size:10px;fill:#555}"
        ".metric{font-weight:600}.grid{stroke:#ddd}.zero{stroke:#555}"
        ".bar{stroke-width:2.5;stroke:var(--c)}.dot{fill:var(--c)}.hollow{fill:#fff;stroke-width:2;stroke:var(--c)}"
        ".run0{--c:#333}.run1{--c:#0072b2}.run2{--c:#d55e00}.run3{--c:#008a63}.run4{--c:#b5578f}.run5{--c:#8a6d00}";
    size_t metrics = 0;
    for (size_t m = 0; m < BLEMISH_COMPARED; m++) metrics += metric_known(c, m);
    const int bottom = TOP + (int)metrics * TITLE + (int)(metrics * c->count) * ROW;
    const Axis values = {VALUES_X, VALUES_END, 0, 1}, differences = differences_axis(c);
    char title[64];
    fprintf(out,
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' width='%d' height='%d'>\n<style>%s</style>\n"
            "<rect width='100%%' height='100%%' fill='#fff'/>\n",
            WIDTH, bottom + 46, WIDTH, bottom + 46, style);
    snprintf(title, sizeof title, "value, %g %% interval", 100 * c->settings.confidence);
    put_axis(out, &values, title, bottom);
    put_axis(out, &differences, "difference to the first run", bottom);
    int y = TOP;
    for (size_t m = 0; m < BLEMISH_COMPARED; m++) {
        if (!metric_known(c, m)) continue;
        fprintf(out, "<text class='metric' x='8' y='%d'>%s</text>\n", y + 8, metric_title(m));
        y += TITLE - 4;
        for (size_t k = 0; k < c->count; k++, y += ROW) put_row(out, c, k, m, &values, &differences, y);
        y += 4;
    }
    fprintf(out,
            "<text x='8' y='%d'>%zu images in common, %zu with a defect. A filled difference's interval excludes 0; of "
            "escapes and false alarms less is better.</text>\n</svg>\n",
            bottom + 30, c->images, c->defects);
}
