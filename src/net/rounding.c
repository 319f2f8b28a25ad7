/* Weights to integers: to the nearest, or so that the outputs change least for the inputs that are to be expected. */
#include "net/net.h"

#include <math.h>
#include <stdlib.h>

void quantise_rows(const float *weight, size_t rows, size_t per, size_t stride, int8_t *out, float *scale) {
    for (size_t r = 0; r < rows; r++) {
        const float *row = weight + r * stride;
        float most = 0;
        for (size_t i = 0; i < per; i++) most = fmaxf(most, fabsf(row[i]));
        scale[r] = most > 0 ? most / INT8_MOST : 1.0f;
        for (size_t i = 0; i < per; i++) out[r * per + i] = (int8_t)lrintf(row[i] / scale[r]);
    }
}

BlemishStatus scale_rows(const float *rounded, const float *scale, size_t rows, size_t per, size_t stride, float *out,
                         const char *path, const char *name, Error *e) {
    bool finite = true;
    for (size_t i = 0; i < rows * per; i++) {
        const float value = rounded[i] * scale[i / per];
        finite &= isfinite(value);
        out[i / per * stride + i % per] = value;
    }
    if (finite) return BLEMISH_OK;
    return error_set(e, BLEMISH_ERROR_FORMAT, "%s: %s: found a weight that is not finite", path, name);
}

/* Of the integers next to one another, the best for row `q` in turn, until none is better: the row's error d = q - w /
 * scale makes d' M d of squared error in the output, M being the moments. The largest stays: it is the row's scale. */
static void descend(const float *w, float scale, const float *moments, size_t per, int8_t *q, double *slope) {
    enum { SWEEPS = 64 }; /* far more than it takes; rounding of sums must not make it endless */
    size_t largest = 0;
    while (largest + 1 < per && abs(q[largest]) < INT8_MOST) largest++;
    for (size_t i = 0; i < per; i++) {
        slope[i] = 0;
        for (size_t k = 0; k < per; k++)
            slope[i] += (double)moments[i * per + k] * ((double)q[k] - (double)w[k] / (double)scale);
    }
    bool moved = true;
    for (int sweep = 0; moved && sweep < SWEEPS; sweep++) {
        moved = false;
        for (size_t i = 0; i < per; i++) {
            const float *m = moments + i * per;
            if (i == largest || !(m[i] > 0)) continue;
            const double best = rint((double)q[i] - slope[i] / (double)m[i]);
            const double next = fmax(-INT8_MOST, fmin(INT8_MOST, best)), change = next - (double)q[i];
            if (change == 0) continue;
            for (size_t k = 0; k < per; k++) slope[k] += change * (double)m[k];
            q[i] = (int8_t)next;
            moved = true;
        }
    }
}

BlemishStatus quantise_rows_for(const float *weight, size_t rows, size_t per, const float *moments, int8_t *out,
                                float *scale, Error *e) {
    double *slope = array_new(rows * per, sizeof *slope, e);
    if (slope == NULL) return e->status;
    quantise_rows(weight, rows, per, per, out, scale);
#pragma omp parallel for schedule(dynamic)
    for (size_t r = 0; r < rows; r++) descend(weight + r * per, scale[r], moments, per, out + r * per, slope + r * per);
    array_free(slope);
    return BLEMISH_OK;
}

/* ---- what a convolution sees ------------------------------------------------------------------------------ */

/* out: a row for each output pixel from `first` to `end` - 1, in the weight's order; zeros beyond the border. */
static void gather_patches(const TrunkConv *c, const float *input, size_t height, size_t width, size_t first,
                           size_t end, float *out) {
    const size_t across = conv_out_size(width, c->kernel, c->stride, c->padding);
    for (size_t p = first; p < end; p++)
        for (size_t i = 0; i < c->in; i++)
            for (size_t u = 0; u < c->kernel; u++)
                for (size_t v = 0; v < c->kernel; v++) { /* a place before the border wraps to one behind it */
                    const size_t y = p / across * c->stride + u - c->padding;
                    const size_t x = p % across * c->stride + v - c->padding;
                    *out++ = y < height && x < width ? input[(y * width + x) * c->in + i] : 0;
                }
}

BlemishStatus moments_add(float *moments, Engine *engine, const TrunkConv *c, const float *input, size_t height,
                          size_t width, Error *e) {
    enum { CHUNK = 1 << 14 };
    const size_t per = c->in * c->kernel * c->kernel;
    const size_t pixels = conv_out_size(height, c->kernel, c->stride, c->padding) *
                          conv_out_size(width, c->kernel, c->stride, c->padding);
    float *patches = array_new((pixels < CHUNK ? pixels : CHUNK) * per, sizeof *patches, e);
    if (patches == NULL) return e->status;
    for (size_t first = 0; first < pixels && e->status == BLEMISH_OK; first += CHUNK) {
        const size_t end = pixels - first < CHUNK ? pixels : first + CHUNK;
        gather_patches(c, input, height, width, first, end, patches);
        gemm(engine, true, false, per, per, end - first, patches, per, patches, per, true, moments, per, e);
    }
    array_free(patches);
    return e->status;
}

BlemishStatus moments_add_map(float *moments, Engine *engine, const float *map, size_t pixels, size_t c, Error *e) {
    return gemm(engine, true, false, c, c, pixels, map, c, map, c, true, moments, c, e);
}
