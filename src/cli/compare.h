/* blemish compare: runs as they are read, and what is made of them. */
#ifndef BLEMISH_CLI_COMPARE_H
#define BLEMISH_CLI_COMPARE_H

#include "cli.h"

enum { PIXEL_METRICS = BLEMISH_COMPARED - BLEMISH_COMPARED_P_AUROC };

typedef struct RunRow {
    char *path;
    BlemishLabel label;
    float score, map_max;
    bool defect;
    bool marked; /* it has a mask, so that it counts in pixel metrics though defective */
} RunRow;

/* What one evaluation left behind. Pixel metrics stand in a report only. */
typedef struct EvaluatedRun {
    const char *given; /* the word of the command line */
    char *name;        /* what tells it from the other runs, in UTF-8 */
    RunRow *rows;      /* of known label, in the evaluation's order */
    size_t count, capacity;
    double pixels[PIXEL_METRICS]; /* NaN where not known */
    double *resampled;            /* (PIXEL_METRICS, resamples); NULL without */
    size_t resamples;
    uint64_t seed;
    char fingerprint[65]; /* of the data; "" where not known */
} EvaluatedRun;

/* ---- compare_read.c -------------------------------------------------------------------------------------- */

/* Reads a folder of 'blemish eval --report', its report.json, or a predictions.csv. Returns an exit code, what is wrong
 * was printed; run_close in either case. */
int run_read(EvaluatedRun *run, const char *given);
void run_close(EvaluatedRun *run);
/* Takes over row->path. False, and why, when it fails. */
bool run_add(EvaluatedRun *run, const char *file, RunRow *row);

/* ---- compare_csv.c --------------------------------------------------------------------------------------- */

int run_read_csv(EvaluatedRun *run, const char *file);

/* ---- compare_pair.c -------------------------------------------------------------------------------------- */

/* The images that all runs have, in the first one's order, as blemish_compare wants them. */
typedef struct Paired {
    BlemishRun *runs; /* (count) */
    float *values;    /* what they point to */
    uint8_t *verdicts, *labels;
    size_t count, n, defects;
} Paired;

/* Says what is left out. Refuses runs whose labels disagree or that have too few images in common. Returns an exit
 * code; paired_close in either case. */
int paired_open(Paired *paired, const EvaluatedRun *runs, size_t count);
void paired_close(Paired *paired);

/* ---- compare_plot.c -------------------------------------------------------------------------------------- */

/* What the tables and the plot show. */
typedef struct Comparison {
    const EvaluatedRun *runs;
    size_t count, images, defects;
    BlemishCompareSettings settings;
    const BlemishCompared *of; /* (count, BLEMISH_COMPARED) */
} Comparison;

static inline const BlemishCompared *compared(const Comparison *c, size_t run, size_t metric) {
    return &c->of[run * BLEMISH_COMPARED + metric];
}
/* Some run has a value of it. */
bool metric_known(const Comparison *c, size_t metric);
/* As tables and plots name it. */
const char *metric_title(size_t metric);

/* An SVG of dots and intervals, a row for each metric and run: values, and differences to the first run. */
void plot_write(FILE *out, const Comparison *comparison);

#endif
