#include "image/image.h"

#include <string.h>

/* Output columns are taken in groups whose taps and rows fit on the stack: nothing is allocated on the way from a
 * picture to the network, and nothing can fail. */
enum { GROUP = 256 };

typedef struct Taps {
    size_t low[GROUP], high[GROUP]; /* byte or float offsets of the two neighbours in a row */
    float weight[GROUP];            /* of the high one */
    bool same;                      /* output columns are the input's */
} Taps;

/* Where output index i of `out` lies among `in` samples: between *low and *high, *weight of the way. */
static void tap(size_t i, size_t in, size_t out, bool corners, size_t *low, size_t *high, float *weight) {
    double x;
    if (corners)
        x = out > 1 ? (double)i * (double)(in - 1) / (double)(out - 1) : 0;
    else
        x = ((double)i + 0.5) * ((double)in / (double)out) - 0.5;
    if (x < 0) x = 0;
    *low = (size_t)x;
    if (*low >= in - 1) {
        *low = *high = in - 1;
        *weight = 0;
        return;
    }
    *high = *low + 1;
    *weight = (float)(x - (double)*low);
}

static void taps_make(Taps *t, size_t first, size_t count, size_t in, size_t out, size_t channels, bool corners) {
    t->same = in == out;
    for (size_t i = 0; i < count; i++) {
        tap(first + i, in, out, corners, &t->low[i], &t->high[i], &t->weight[i]);
        t->low[i] *= channels;
        t->high[i] *= channels;
    }
}

/* A source row where columns are not resized: what blending makes of it, several times as fast. */
static void convert_columns(const uint8_t *restrict row, size_t count, float *restrict out) {
    for (size_t i = 0; i < count; i++) out[i] = row[i];
}

/* One source row blended along x: count * channels floats. */
static void blend_columns(const uint8_t *restrict row, const Taps *t, size_t count, size_t channels,
                          float *restrict out) {
    for (size_t i = 0; i < count; i++) {
        const uint8_t *low = row + t->low[i], *high = row + t->high[i];
        float weight = t->weight[i];
        for (size_t c = 0; c < channels; c++) {
            float a = low[c], b = high[c];
            *out++ = a + (b - a) * weight;
        }
    }
}

/* The two source rows around each output row, blended along x; consecutive output rows often share them. */
typedef struct RowPair {
    float rows[2][3 * GROUP];
    size_t held[2]; /* source row in each; SIZE_MAX: none */
} RowPair;

static const float *pair_row(RowPair *pair, const BlemishImage *image, size_t y, size_t keep, const Taps *t,
                             size_t count) {
    for (int i = 0; i < 2; i++)
        if (pair->held[i] == y) return pair->rows[i];
    int slot = pair->held[0] == keep;
    const uint8_t *row = image->data + y * image->stride;
    if (t->same)
        convert_columns(row + t->low[0], count * (size_t)image->channels, pair->rows[slot]);
    else if (image->channels == 3) /* a constant count: the inner loop unrolls */
        blend_columns(row, t, count, 3, pair->rows[slot]);
    else
        blend_columns(row, t, count, 1, pair->rows[slot]);
    pair->held[slot] = y;
    return pair->rows[slot];
}

const float image_mean[3] = {0.485f, 0.456f, 0.406f}, image_std[3] = {0.229f, 0.224f, 0.225f};

/* ImageNet's scale and shift for every float of a row of RGB, so that the loop over it is flat and vectorises. */
typedef struct Normal {
    float scale[3 * GROUP], shift[3 * GROUP];
} Normal;

static void normal_make(Normal *n, size_t count) {
    for (size_t i = 0; i < 3 * count; i++) {
        n->scale[i] = 1 / (255 * image_std[i % 3]);
        n->shift[i] = -image_mean[i % 3] / image_std[i % 3];
    }
}

static void normalise_colour(const float *restrict a, const float *restrict b, float weight, size_t count,
                             const Normal *restrict n, float *restrict out) {
    for (size_t i = 0; i < 3 * count; i++) out[i] = (a[i] + (b[i] - a[i]) * weight) * n->scale[i] + n->shift[i];
}

static void normalise_grey(const float *restrict a, const float *restrict b, float weight, size_t count,
                           const Normal *restrict n, float *restrict out) {
    for (size_t i = 0; i < count; i++) {
        float v = a[i] + (b[i] - a[i]) * weight;
        for (size_t c = 0; c < 3; c++) out[3 * i + c] = v * n->scale[c] + n->shift[c];
    }
}

static void round_row(const float *restrict a, const float *restrict b, float weight, size_t count,
                      uint8_t *restrict out) {
    for (size_t i = 0; i < count; i++) out[i] = (uint8_t)(a[i] + (b[i] - a[i]) * weight + 0.5f);
}

/* Output rows from .. end - 1, of `height`. Writes to exactly one of input (3 normalised floats a pixel) and pixels
 * (the image's channels). */
static void resample(const BlemishImage *image, size_t height, size_t width, size_t from, size_t end, float *input,
                     uint8_t *pixels) {
    size_t channels = (size_t)image->channels;
    Taps taps;
    RowPair pair;
    Normal normal;
    normal_make(&normal, width < GROUP ? width : GROUP);
    for (size_t first = 0; first < width; first += GROUP) {
        size_t count = width - first < GROUP ? width - first : GROUP;
        taps_make(&taps, first, count, image->width, width, channels, false);
        pair.held[0] = pair.held[1] = SIZE_MAX;
        for (size_t y = from; y < end; y++) {
            size_t low, high;
            float weight;
            tap(y, image->height, height, false, &low, &high, &weight);
            const float *a = pair_row(&pair, image, low, high, &taps, count);
            const float *b = pair_row(&pair, image, high, low, &taps, count);
            if (input == NULL)
                round_row(a, b, weight, count * channels, pixels + channels * (y * width + first));
            else if (channels == 3)
                normalise_colour(a, b, weight, count, &normal, input + 3 * (y * width + first));
            else
                normalise_grey(a, b, weight, count, &normal, input + 3 * (y * width + first));
        }
    }
}

void image_to_input(const BlemishImage *image, size_t height, size_t width, float *out) {
    enum { ROWS = 64 }; /* so many that what is worked out for the columns counts little */
#pragma omp parallel for schedule(static)
    for (size_t y = 0; y < height; y += ROWS)
        resample(image, height, width, y, height - y < ROWS ? height : y + ROWS, out, NULL);
}

void roi_fill(const uint8_t *roi, size_t pixels, float *input) {
    for (size_t i = 0; i < pixels; i++)
        if (!roi[i]) input[3 * i] = input[3 * i + 1] = input[3 * i + 2] = 0;
}

BlemishStatus image_resize(const BlemishImage *image, size_t width, size_t height, BlemishImage *out, Error *e) {
    if (image_new(out, width, height, image->channels, e) != BLEMISH_OK) return e->status;
    resample(image, height, width, 0, height, NULL, image_pixels(out));
    return BLEMISH_OK;
}

/* One row of the plane blended along x, kept in the pair while the other one is `keep`. */
static const float *pair_plane_row(RowPair *pair, const float *in, size_t y, size_t keep, const Taps *t, size_t count) {
    for (int i = 0; i < 2; i++)
        if (pair->held[i] == y) return pair->rows[i];
    const int slot = pair->held[0] == keep;
    float *out = pair->rows[slot];
    for (size_t i = 0; i < count; i++) {
        const float low = in[t->low[i]], high = in[t->high[i]];
        out[i] = low + (high - low) * t->weight[i];
    }
    pair->held[slot] = y;
    return out;
}

static void blend_rows(const float *restrict a, const float *restrict b, float weight, size_t count,
                       float *restrict out) {
    for (size_t i = 0; i < count; i++) out[i] = a[i] + (b[i] - a[i]) * weight;
}

/* Output rows from .. end - 1, of `height`. */
static void plane_resize(const float *in, size_t in_height, size_t in_width, float *out, size_t height, size_t width,
                         size_t from, size_t end, bool corners) {
    Taps taps;
    RowPair pair;
    for (size_t first = 0; first < width; first += GROUP) {
        size_t count = width - first < GROUP ? width - first : GROUP;
        taps_make(&taps, first, count, in_width, width, 1, corners);
        pair.held[0] = pair.held[1] = SIZE_MAX;
        for (size_t y = from; y < end; y++) {
            size_t low, high;
            float weight;
            tap(y, in_height, height, corners, &low, &high, &weight);
            const float *a = pair_plane_row(&pair, in + low * in_width, low, high, &taps, count);
            const float *b = pair_plane_row(&pair, in + high * in_width, high, low, &taps, count);
            blend_rows(a, b, weight, count, out + y * width + first);
        }
    }
}

void plane_resize_bilinear(const float *in, size_t in_height, size_t in_width, float *out, size_t height,
                           size_t width) {
    plane_resize(in, in_height, in_width, out, height, width, 0, height, false);
}

void plane_resize_bilinear_rows(const float *in, size_t in_height, size_t in_width, float *out, size_t height,
                                size_t width, size_t from, size_t end) {
    plane_resize(in, in_height, in_width, out, height, width, from, end, false);
}

void plane_resize_bilinear_corners(const float *in, size_t in_height, size_t in_width, float *out, size_t height,
                                   size_t width) {
    plane_resize(in, in_height, in_width, out, height, width, 0, height, true);
}

void mask_resize_nearest(const uint8_t *in, size_t in_height, size_t in_width, uint8_t *out, size_t height,
                         size_t width) {
    for (size_t y = 0; y < height; y++) {
        const uint8_t *row = in + y * in_height / height * in_width;
        for (size_t x = 0; x < width; x++) *out++ = row[x * in_width / width];
    }
}
