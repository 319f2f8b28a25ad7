#include "net/net.h"

#include <math.h>

/* Row r of the upsampling matrix: two weights at *at and *at + 1. */
static void bilinear_row(size_t r, size_t in, size_t out, bool align_corners, size_t *at, double weight[2]) {
    double position;
    if (align_corners)
        position = out > 1 ? (double)r * (double)(in - 1) / (double)(out - 1) : 0.0;
    else
        position = fmax(((double)r + 0.5) * (double)in / (double)out - 0.5, 0.0);
    size_t low = (size_t)position;
    if (low > in - 1) low = in - 1;
    weight[1] = position - (double)low;
    weight[0] = 1.0 - weight[1];
    if (low + 1 == in) weight[0] = 1.0, weight[1] = 0.0;
    *at = low;
}

/* First column, one past the last, of what output row r reads. */
static void row_support(size_t r, size_t in, size_t out, bool align_corners, size_t *first, size_t *end) {
    double weight[2];
    size_t low, high;
    bilinear_row(r ? r - 1 : r, in, out, align_corners, &low, weight);
    *first = low;
    bilinear_row(r + 1 < out ? r + 1 : r, in, out, align_corners, &high, weight);
    *end = high + (weight[1] != 0.0 ? 2 : 1);
}

BlemishStatus band_lift(Band *band, size_t in, size_t out, bool align_corners, Error *e) {
    size_t taps = 1, first, end;
    for (size_t r = 0; r < out; r++) {
        row_support(r, in, out, align_corners, &first, &end);
        if (end - first > taps) taps = end - first;
    }
    *band = (Band){.in = in, .out = out, .taps = taps};
    band->first = array_new(out, sizeof *band->first, e);
    band->weight = array_new(out * taps, sizeof *band->weight, e);
    if (band->first == NULL || band->weight == NULL) {
        band_close(band);
        return e->status;
    }
    for (size_t r = 0; r < out; r++) {
        row_support(r, in, out, align_corners, &first, &end);
        if (first + taps > in) first = in - taps;
        band->first[r] = first;
        for (size_t s = r ? r - 1 : r; s <= r + 1 && s < out; s++) {
            double weight[2];
            size_t at;
            bilinear_row(s, in, out, align_corners, &at, weight);
            band->weight[r * taps + at - first] += (float)(weight[0] / 3.0);
            if (weight[1] != 0.0) band->weight[r * taps + at + 1 - first] += (float)(weight[1] / 3.0);
        }
    }
    return BLEMISH_OK;
}

void band_close(Band *band) {
    array_free(band->first);
    array_free(band->weight);
    *band = (Band){0};
}
