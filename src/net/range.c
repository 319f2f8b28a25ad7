/* How large the values of a map are, and the integers' step for them. */
#include "net/net.h"

#include <math.h>

/* Until all of it fits, pairs of bins become one. */
static void range_widen(Range *r, float most) {
    if (r->width == 0) r->width = most / RANGE_BINS;
    while (most > r->width * RANGE_BINS) {
        for (size_t i = 0; i < RANGE_BINS; i++)
            r->bins[i] = i < RANGE_BINS / 2 ? r->bins[2 * i] + r->bins[2 * i + 1] : 0;
        r->width *= 2;
    }
}

void range_add(Range *r, const float *values, size_t count) {
    float most = 0;
    for (size_t i = 0; i < count; i++) most = fmaxf(most, fabsf(values[i]));
    if (!(most > 0) || !isfinite(most)) return;
    range_widen(r, most);
    for (size_t i = 0; i < count; i++) {
        const float v = fabsf(values[i]);
        const size_t bin = (size_t)(v / r->width);
        if (v > 0) r->bins[bin < RANGE_BINS ? bin : RANGE_BINS - 1]++;
    }
}

/* The squared error of all values where those above `end` bins saturate: rounding makes step^2 / 12 on average. */
static double clipping_error(const Range *r, size_t end, size_t levels) {
    const double step = (double)r->width * (double)end / (double)levels;
    double error = 0;
    for (size_t i = 0; i < RANGE_BINS; i++) {
        const double beyond = ((double)i + 0.5 - (double)end) * (double)r->width;
        error += (double)r->bins[i] * (i < end ? step * step / 12 : beyond * beyond);
    }
    return error;
}

float range_step(const Range *r, size_t levels) {
    enum { TURN = RANGE_BINS / 128, FIRST = 2 * TURN };
    double least = INFINITY;
    size_t end = RANGE_BINS;
    if (r->width == 0) return 1;
    for (size_t i = FIRST; i <= RANGE_BINS; i += TURN) least = fmin(least, clipping_error(r, i, levels));
    while (clipping_error(r, end, levels) > RANGE_SLACK * least) end -= TURN;
    return (float)((double)r->width * (double)end / (double)levels);
}
