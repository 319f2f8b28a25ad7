#include "compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int by_path(const void *a, const void *b) {
    const RunRow *const *x = a, *const *y = b;
    return strcmp((*x)->path, (*y)->path);
}

/* A run's rows sorted by path; NULL when memory is short or a path stands twice, which was printed. */
static const RunRow **sort_rows(const EvaluatedRun *run) {
    const RunRow **rows = calloc(run->count ? run->count : 1, sizeof *rows);
    if (!rows) return fail("memory is short"), NULL;
    for (size_t i = 0; i < run->count; i++) rows[i] = &run->rows[i];
    qsort(rows, run->count, sizeof *rows, by_path);
    for (size_t i = 1; i < run->count; i++) {
        if (strcmp(rows[i - 1]->path, rows[i]->path)) continue;
        fail("%s: %s: found twice, expected every image once", run->given, rows[i]->path);
        free(rows);
        return NULL;
    }
    return rows;
}

/* Drops from common[first->count] (the first run's row of each image; NULL where some run lacks it) what this run
 * lacks. False, and why, where a label disagrees. */
static bool keep_common(const EvaluatedRun *run, const EvaluatedRun *first, const RunRow **found) {
    const RunRow **sorted = sort_rows(run);
    bool fine = sorted != NULL;
    for (size_t i = 0; i < first->count && fine; i++) {
        const RunRow *row = &first->rows[i];
        const RunRow *const *at = bsearch(&row, sorted, run->count, sizeof *sorted, by_path);
        found[i] = at ? *at : NULL;
        if (!at || (*at)->label == row->label) continue;
        fine = false;
        fail("%s: label: found %s in %s and %s in %s, expected one", row->path,
             row->label == BLEMISH_LABEL_GOOD ? "good" : "defect", first->given,
             (*at)->label == BLEMISH_LABEL_GOOD ? "good" : "defect", run->given);
    }
    free(sorted);
    return fine;
}

static bool of_pixels(const RunRow *row) {
    return row->marked || row->label == BLEMISH_LABEL_GOOD;
}

/* Whether both evaluations drew the same maps in each resample. */
static bool same_maps(const EvaluatedRun *a, const EvaluatedRun *b) {
    bool same = a->count == b->count && a->seed == b->seed && a->resamples == b->resamples;
    for (size_t i = 0; i < a->count && same; i++)
        same = !strcmp(a->rows[i].path, b->rows[i].path) && a->rows[i].marked == b->rows[i].marked &&
               of_pixels(&a->rows[i]) == of_pixels(&b->rows[i]);
    return same;
}

/* Pixel metrics are of all of a run's images: they are compared only where all runs have the same. */
static void pair_pixels(Paired *paired, const EvaluatedRun *runs) {
    bool whole = true;
    for (size_t k = 0; k < paired->count; k++) whole &= runs[k].count == paired->n;
    for (size_t k = 0; k < paired->count; k++) {
        BlemishRun *to = &paired->runs[k];
        for (size_t m = 0; m < PIXEL_METRICS; m++) to->pixels[m] = whole ? runs[k].pixels[m] : (double)NAN;
        if (!whole || isnan(runs[k].pixels[0]) || !runs[k].resampled) continue;
        if (same_maps(&runs[k], &runs[0])) {
            to->pixels_resampled = runs[k].resampled;
            to->pixel_resamples = runs[k].resamples;
        } else if (runs[0].resampled) {
            say("%s: pixel metrics are not paired: its masks, order of images or seed are not those of %s",
                runs[k].given, runs[0].given);
        }
    }
    if (!whole) say("pixel metrics are left out: the runs are not over the same images");
}

static bool allocate(Paired *p) {
    p->runs = calloc(p->count, sizeof *p->runs);
    p->values = calloc(p->count * p->n, 2 * sizeof *p->values);
    p->verdicts = calloc(p->count * p->n, 1);
    p->labels = calloc(p->n, 1);
    return p->runs && p->values && p->verdicts && p->labels;
}

static void take_rows(Paired *p, size_t k, size_t i, const RunRow *row) {
    p->values[2 * k * p->n + i] = row->score;
    p->values[(2 * k + 1) * p->n + i] = row->map_max;
    p->verdicts[k * p->n + i] = row->defect;
}

/* Fewer of a class than this say nothing of a difference. */
enum { FEWEST = 10 };

static int check_number(const Paired *p) {
    const size_t good = p->n - p->defects;
    char text[BLEMISH_ERROR_SIZE];
    if (!p->n) return fail("found no image in common, expected runs over the same images (paths as they were given)");
    if ((good && good < FEWEST) || (p->defects && p->defects < FEWEST))
        return fail("found %zu good and %zu defective images in common, expected %d or more of each", good, p->defects,
                    FEWEST);
    if (blemish_too_few(good, p->defects, 0.05, 0.95, text)) say("warning: %s", text);
    return EXIT_OK;
}

static void say_left_out(const Paired *p, const EvaluatedRun *runs) {
    for (size_t k = 0; k < p->count; k++) {
        const size_t out = runs[k].count - p->n;
        if (out)
            say("%s: %zu of %zu images %s left out: not in every run", runs[k].given, out, runs[k].count,
                out == 1 ? "is" : "are");
        else if (runs[k].count == runs[0].count && *runs[k].fingerprint && *runs[0].fingerprint &&
                 strcmp(runs[k].fingerprint, runs[0].fingerprint))
            say("warning: %s: its data set is not that of %s (fingerprint): images or masks may have changed",
                runs[k].given, runs[0].given);
    }
}

int paired_open(Paired *p, const EvaluatedRun *runs, size_t count) {
    const EvaluatedRun *first = &runs[0];
    *p = (Paired){.count = count};
    const RunRow **found = calloc(count * first->count + 1, sizeof *found);
    bool fine = found != NULL, *common = calloc(first->count + 1, sizeof *common);
    if (!found || !common) fail("memory is short"), fine = false;
    for (size_t k = 0; k < count && fine; k++) fine = keep_common(&runs[k], first, found + k * first->count);
    for (size_t i = 0; i < first->count && fine; i++) {
        common[i] = true;
        for (size_t k = 0; k < count; k++) common[i] &= found[k * first->count + i] != NULL;
        p->n += common[i];
        p->defects += common[i] && first->rows[i].label == BLEMISH_LABEL_DEFECT;
    }
    if (fine) fine = check_number(p) == EXIT_OK;
    if (fine && !allocate(p)) fail("memory is short"), fine = false;
    for (size_t i = 0, to = 0; i < first->count && fine; i++) {
        if (!common[i]) continue;
        for (size_t k = 0; k < count; k++) take_rows(p, k, to, found[k * first->count + i]);
        p->labels[to++] = first->rows[i].label == BLEMISH_LABEL_DEFECT;
    }
    for (size_t k = 0; k < count && fine; k++) {
        p->runs[k].scores = p->values + 2 * k * p->n;
        p->runs[k].map_maxima = p->values + (2 * k + 1) * p->n;
        p->runs[k].defects = p->verdicts + k * p->n;
    }
    if (fine) say_left_out(p, runs);
    if (fine) pair_pixels(p, runs);
    free(found);
    free(common);
    return fine ? EXIT_OK : EXIT_FAILED;
}

void paired_close(Paired *p) {
    free(p->runs);
    free(p->values);
    free(p->verdicts);
    free(p->labels);
}
