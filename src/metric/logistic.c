#include "metric/calibrate.h"

#include <math.h>
#include <string.h>

enum { WEIGHTS_MAX = LOGISTIC_INPUTS_MAX + 1 };

typedef struct Problem {
    const double *x, *targets;
    size_t n, inputs;
    double ridge;
} Problem;

static double linear(const Problem *p, const double *w, size_t i) {
    double z = w[0];
    for (size_t k = 0; k < p->inputs; k++) z += w[k + 1] * p->x[i * p->inputs + k];
    return z;
}

static double loss(const Problem *p, const double *w) {
    double sum = 0;
    for (size_t k = 1; k <= p->inputs; k++) sum += 0.5 * p->ridge * w[k] * w[k];
    for (size_t i = 0; i < p->n; i++) {
        const double z = linear(p, w, i);
        sum += fmax(z, 0) + log1p(exp(-fabs(z))) - p->targets[i] * z;
    }
    return sum;
}

/* Gradient and Hessian; the latter with a little on its diagonal, so that it can be inverted for inputs that are all
 * alike. */
static void derivatives(const Problem *p, const double *w, double g[WEIGHTS_MAX], double h[WEIGHTS_MAX][WEIGHTS_MAX]) {
    const size_t d = p->inputs + 1;
    memset(g, 0, WEIGHTS_MAX * sizeof *g);
    memset(h, 0, WEIGHTS_MAX * sizeof *h);
    for (size_t i = 0; i < p->n; i++) {
        const double q = probability_sigmoid(linear(p, w, i)), slope = q * (1 - q);
        double x[WEIGHTS_MAX] = {1};
        memcpy(x + 1, p->x + i * p->inputs, p->inputs * sizeof *x);
        for (size_t a = 0; a < d; a++) {
            g[a] += (q - p->targets[i]) * x[a];
            for (size_t b = 0; b < d; b++) h[a][b] += slope * x[a] * x[b];
        }
    }
    for (size_t a = 0; a < d; a++) {
        if (a) g[a] += p->ridge * w[a];
        h[a][a] += (a ? p->ridge : 0) + 1e-12;
    }
}

/* Solves h step = g by Gauss' elimination; h is positive definite. */
static void solve(double h[WEIGHTS_MAX][WEIGHTS_MAX], double g[WEIGHTS_MAX], size_t d) {
    for (size_t a = 0; a < d; a++)
        for (size_t row = a + 1; row < d; row++) {
            const double factor = h[row][a] / h[a][a];
            for (size_t b = a; b < d; b++) h[row][b] -= factor * h[a][b];
            g[row] -= factor * g[a];
        }
    for (size_t a = d; a-- > 0;) {
        for (size_t b = a + 1; b < d; b++) g[a] -= h[a][b] * g[b];
        g[a] /= h[a][a];
    }
}

void logistic_fit(const double *x, const double *targets, size_t n, size_t inputs, double ridge, double *w) {
    const Problem p = {x, targets, n, inputs, ridge};
    const size_t d = inputs + 1;
    memset(w, 0, d * sizeof *w);
    double best = loss(&p, w);
    for (int round = 0; round < 200; round++) {
        double step[WEIGHTS_MAX], h[WEIGHTS_MAX][WEIGHTS_MAX], trial[WEIGHTS_MAX], here = INFINITY;
        derivatives(&p, w, step, h);
        solve(h, step, d);
        double size = 1;
        for (; size > 1e-10; size /= 2) {
            for (size_t k = 0; k < d; k++) trial[k] = w[k] - size * step[k];
            if ((here = loss(&p, trial)) < best) break;
        }
        if (!(here < best)) break; /* no step goes down: the minimum, to rounding */
        memcpy(w, trial, d * sizeof *w);
        best = here;
    }
}

BlemishStatus platt_fit(const double *x, const uint8_t *labels, size_t n, double *slope, double *intercept, Error *e) {
    double positives = 0, w[2];
    for (size_t i = 0; i < n; i++) positives += labels[i] != 0;
    double *targets = array_new(n, sizeof *targets, e);
    if (targets == NULL) return n ? e->status : error_set(e, BLEMISH_ERROR_ARGUMENT, "probability: found no images");
    for (size_t i = 0; i < n; i++)
        targets[i] = labels[i] ? (positives + 1) / (positives + 2) : 1 / ((double)n - positives + 2);
    logistic_fit(x, targets, n, 1, 0, w);
    *intercept = w[0];
    *slope = w[1];
    array_free(targets);
    return BLEMISH_OK;
}

/* Mean and standard deviation; 1 for values that are all alike. */
static void scale_of(const double *values, size_t n, double *mean, double *deviation) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += values[i];
    *mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) squares += (values[i] - *mean) * (values[i] - *mean);
    *deviation = squares > 0 ? sqrt(squares / (double)n) : 1;
}

BlemishStatus combination_fit(const double *score_logits, const double *map_logits, const uint8_t *labels, size_t n,
                              double w[3], Error *e) {
    const double *inputs[2] = {score_logits, map_logits};
    double mean[2], deviation[2];
    if (n == 0) return error_set(e, BLEMISH_ERROR_ARGUMENT, "combination: found no images");
    double *x = array_new(n, 2 * sizeof *x, e), *targets = array_new(n, sizeof *targets, e);
    if (x && targets) {
        for (size_t k = 0; k < 2; k++) {
            scale_of(inputs[k], n, &mean[k], &deviation[k]);
            for (size_t i = 0; i < n; i++) x[2 * i + k] = (inputs[k][i] - mean[k]) / deviation[k];
        }
        for (size_t i = 0; i < n; i++) targets[i] = labels[i] ? 1 : 0;
        logistic_fit(x, targets, n, 2, 1, w);
        for (size_t k = 0; k < 2; k++) {
            w[k + 1] /= deviation[k];
            w[0] -= w[k + 1] * mean[k];
        }
    }
    const bool fitted = x && targets;
    array_free(x);
    array_free(targets);
    return fitted ? BLEMISH_OK : e->status;
}
