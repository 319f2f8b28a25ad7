/* Upsampling and blur are both linear and separable, so each axis is one banded matrix, made in double once: about 9
 * taps at feature resolution instead of 2 + 25 at image resolution, and exact. */
#include "infer/infer.h"

#include <math.h>
#include <string.h>

enum { RADIUS = 12 };
#define SIGMA 4.0

/* ---- the matrices ---------------------------------------------------------------------------------------- */

/* Reflection without repeating the edge (PyTorch's "reflect"), as often as it takes; n is 2 or more. */
static size_t reflect(ptrdiff_t i, size_t n) {
    ptrdiff_t last = (ptrdiff_t)n - 1, period = 2 * last;
    i %= period;
    if (i < 0) i += period;
    return (size_t)(i <= last ? i : period - i);
}

/* Adds weight * (row r of bilinear upsampling with half-pixel centres) to a dense row of `in` numbers. */
static void add_upsampled(size_t r, size_t in, size_t out, double weight, double *row) {
    double at = fmax(((double)r + 0.5) * (double)in / (double)out - 0.5, 0.0);
    size_t low = (size_t)at;
    if (low > in - 1) low = in - 1;
    size_t high = low + 1 < in ? low + 1 : low;
    double part = at - (double)low;
    row[low] += weight * (1.0 - part);
    row[high] += weight * part;
}

static void smooth_row(size_t r, size_t in, size_t out, const double *kernel, double *row) {
    memset(row, 0, in * sizeof *row);
    for (int k = -RADIUS; k <= RADIUS; k++)
        add_upsampled(reflect((ptrdiff_t)r + k, out), in, out, kernel[k + RADIUS], row);
}

static void support(const double *row, size_t n, size_t *first, size_t *count) {
    size_t low = 0, high = n;
    while (low + 1 < n && row[low] == 0.0) low++;
    while (high > low + 1 && row[high - 1] == 0.0) high--;
    *first = low;
    *count = high - low;
}

static BlemishStatus band_smooth(Band *band, size_t in, size_t out, Error *e) {
    double kernel[2 * RADIUS + 1], sum = 0;
    for (int k = -RADIUS; k <= RADIUS; k++) sum += kernel[k + RADIUS] = exp(-0.5 * k * k / (SIGMA * SIGMA));
    for (int k = 0; k <= 2 * RADIUS; k++) kernel[k] /= sum;
    size_t taps = 1, first, count;
    double *row = array_new(in, sizeof *row, e);
    if (row == NULL) return e->status;
    for (size_t r = 0; r < out; r++) {
        smooth_row(r, in, out, kernel, row);
        support(row, in, &first, &count);
        if (count > taps) taps = count;
    }
    *band = (Band){.in = in, .out = out, .taps = taps};
    band->first = array_new(out, sizeof *band->first, e);
    band->weight = array_new(out * taps, sizeof *band->weight, e);
    for (size_t r = 0; r < out && band->first && band->weight; r++) {
        smooth_row(r, in, out, kernel, row);
        support(row, in, &first, &count);
        if (first + taps > in) first = in - taps;
        band->first[r] = first;
        for (size_t t = 0; t < taps; t++) band->weight[r * taps + t] = (float)row[first + t];
    }
    array_free(row);
    if (band->first == NULL || band->weight == NULL) band_close(band);
    return band->first ? BLEMISH_OK : e->status;
}

static BlemishStatus band_transpose(Band *out, const Band *in, Error *e) {
    size_t *end = array_new(in->in, sizeof *end, e);
    *out = (Band){.out = in->in, .in = in->out, .taps = 1};
    out->first = array_new(in->in, sizeof *out->first, e);
    if (end == NULL || out->first == NULL) goto done;
    for (size_t r = in->out; r-- > 0;)
        for (size_t t = 0; t < in->taps; t++) {
            size_t column = in->first[r] + t;
            if (in->weight[r * in->taps + t] == 0.0f) continue;
            if (end[column] == 0) end[column] = r + 1;
            out->first[column] = r;
        }
    for (size_t c = 0; c < in->in; c++)
        if (end[c] && end[c] - out->first[c] > out->taps) out->taps = end[c] - out->first[c];
    out->weight = array_new(out->out * out->taps, sizeof *out->weight, e);
    if (out->weight == NULL) goto done;
    for (size_t c = 0; c < in->in; c++)
        if (out->first[c] + out->taps > out->in) out->first[c] = out->in - out->taps;
    for (size_t r = 0; r < in->out; r++)
        for (size_t t = 0; t < in->taps; t++) {
            size_t column = in->first[r] + t;
            float weight = in->weight[r * in->taps + t];
            if (weight != 0.0f) out->weight[column * out->taps + r - out->first[column]] = weight;
        }
done:
    array_free(end);
    if (out->weight == NULL) band_close(out);
    return out->weight ? BLEMISH_OK : e->status;
}

/* Rows are widened first, then added up along y. */
static BlemishStage band_work(size_t h, size_t w, size_t x_taps, size_t height, size_t width, size_t y_taps) {
    const size_t macs = h * w * x_taps + height * width * y_taps, floats = h * w + 2 * h * width + height * width;
    return (BlemishStage){.gmac = 1e-9 * (double)macs, .gb = 1e-9 * (double)(floats * sizeof(float))};
}

BlemishStatus smooth_open(Smooth *s, size_t h, size_t w, size_t height, size_t width, Error *e) {
    *s = (Smooth){0};
    Band x;
    if (band_smooth(&x, w, width, e)) return e->status;
    BlemishStatus status = band_transpose(&s->x_columns, &x, e);
    band_close(&x);
    size_t pixels = 0;
    if (status == BLEMISH_OK && !size_mul(h, width, &pixels))
        status = error_set(e, BLEMISH_ERROR_MEMORY, "map: %zux%zu is larger than memory", h, width);
    if (status == BLEMISH_OK && (s->wide = array_new(pixels, sizeof *s->wide, e)) == NULL) status = e->status;
    if (status == BLEMISH_OK) status = band_smooth(&s->y, h, height, e);
    if (status != BLEMISH_OK)
        smooth_close(s);
    else
        s->work = band_work(h, w, s->x_columns.taps, height, width, s->y.taps);
    return status;
}

void smooth_close(Smooth *s) {
    band_close(&s->y);
    band_close(&s->x_columns);
    array_free(s->wide);
    *s = (Smooth){0};
}

/* ---- running --------------------------------------------------------------------------------------------- */

/* e^-x for the sigmoid: 2^n * 2^f with n = round(x / ln 2) taken from the bits of x / ln 2 + 1.5 * 2^23, and a Taylor
 * series in f ln 2, |f ln 2| <= 0.347, whose first term left out is below 1.2e-7 relative. Beyond +-87 the sigmoid is
 * 0 or 1 to float precision, and 2^n would leave the exponent's range. */
static inline float sigmoid_fast(float x) {
    x = x > 87.0f ? 87.0f : x;
    x = x < -87.0f ? -87.0f : x;
    float shifted = x * -1.44269504f + 12582912.0f, n = shifted - 12582912.0f;
    float f = (-x - n * 0.693145752f) - n * 1.42860677e-6f; /* ln 2 in two parts: the first has zeros to spare */
    float p =
        1.0f +
        f * (1.0f + f * (0.5f + f * (0.166666667f + f * (4.16666667e-2f + f * (8.33333333e-3f + f * 1.38888889e-3f)))));
    union {
        float value;
        uint32_t bits;
    } from = {.value = shifted}, power = {.bits = (from.bits << 23) + 0x3f800000u};
    return 1.0f / (1.0f + p * power.value);
}

void sigmoid_rows(float *values, size_t n) {
    for (size_t i = 0; i < n; i++) values[i] = sigmoid_fast(values[i]);
}

/* out (W) = the horizontal matrix applied to one row of logits. */
static void widen_row(const Band *columns, const float *logits, float *restrict out) {
    memset(out, 0, columns->in * sizeof *out);
    const size_t taps = columns->taps;
    for (size_t j = 0; j < columns->out; j++) {
        float *restrict o = out + columns->first[j];
        const float v = logits[j], *restrict weight = columns->weight + j * taps;
        for (size_t t = 0; t < taps; t++) o[t] += v * weight[t];
    }
}

/* out (W) = weighted sum of `taps` rows, four at a time: fewer passes over the output. */
static void sum_rows(const float *rows, const float *weight, size_t taps, size_t width, float *restrict out) {
    size_t t = taps % 4;
    memset(out, 0, width * sizeof *out);
    for (size_t i = 0; i < t; i++) {
        const float *restrict row = rows + i * width;
        for (size_t x = 0; x < width; x++) out[x] += weight[i] * row[x];
    }
    for (; t < taps; t += 4) {
        const float *restrict a = rows + t * width, *restrict b = a + width, *restrict c = b + width;
        const float *restrict d = c + width;
        const float wa = weight[t], wb = weight[t + 1], wc = weight[t + 2], wd = weight[t + 3];
        for (size_t x = 0; x < width; x++) out[x] += wa * a[x] + wb * b[x] + wc * c[x] + wd * d[x];
    }
}

static float largest(const float *values, size_t n) {
    float lanes[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t k = 0; k < 8; k++) lanes[k] = values[i + k] > lanes[k] ? values[i + k] : lanes[k];
    for (; i < n; i++) lanes[0] = values[i] > lanes[0] ? values[i] : lanes[0];
    for (size_t k = 1; k < 8; k++) lanes[0] = lanes[k] > lanes[0] ? lanes[k] : lanes[0];
    return lanes[0];
}

float smooth_run(Smooth *s, const float *logits, float *map) {
    const size_t h = s->y.in, w = s->x_columns.out, height = s->y.out, width = s->x_columns.in;
    float peak = 0;
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (size_t i = 0; i < h; i++) widen_row(&s->x_columns, logits + i * w, s->wide + i * width);
#pragma omp for schedule(static) reduction(max : peak)
        for (size_t y = 0; y < height; y++) {
            float *row = map + y * width;
            sum_rows(s->wide + s->y.first[y] * width, s->y.weight + y * s->y.taps, s->y.taps, width, row);
            sigmoid_rows(row, width);
            float value = largest(row, width);
            peak = value > peak ? value : peak;
        }
    }
    return peak;
}
