#include "data/roi.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Below this, in grey levels of 255, a change cannot be told from the rounding to 8 bits. */
#define FLOOR 0.25f
/* Two parts must differ this much, and the split between them explain this much of the variance of log deviation; the
 * best split of a single bell explains 0.64 of it, of a uniform spread 0.75. */
#define RATIO 3.0
#define EXPLAINED 0.8
/* A part this large leaves nothing worth leaving out. */
#define WHOLE 0.98

/* ---- how much each pixel changes ------------------------------------------------------------------------- */

/* One channel-interleaved plane, blurred by (1 2 1) / 4 along one axis in place; edges are repeated. */
static void blur(float *v, size_t count, size_t stride) {
    float before = v[0];
    for (size_t i = 0; i < count; i++) {
        const float now = v[i * stride], after = i + 1 < count ? v[(i + 1) * stride] : now;
        v[i * stride] = 0.25f * (before + after) + 0.5f * now;
        before = now;
    }
}

/* The image at (height, width), slightly blurred against the camera's noise, as normalised channels. */
static BlemishStatus load(const char *path, size_t height, size_t width, float *out, Error *e) {
    BlemishImage image;
    if (image_decode(&image, path, e)) return e->status;
    image_to_input(&image, height, width, out);
    image_free(&image);
    for (size_t y = 0; y < height; y++)
        for (size_t c = 0; c < 3; c++) blur(out + y * width * 3 + c, width, 3);
    for (size_t i = 0; i < width * 3; i++) blur(out + i, height, width * 3);
    return BLEMISH_OK;
}

static void add_squares(const float *a, const float *b, size_t pixels, float *squares) {
    for (size_t i = 0; i < pixels; i++)
        for (size_t c = 0; c < 3; c++) {
            const float d = 255 * image_std[c] * (a[3 * i + c] - b[3 * i + c]);
            squares[i] += d * d / 3;
        }
}

static BlemishStatus report(size_t done, size_t total, BlemishProgressFn progress, void *user, Error *e) {
    const BlemishProgress p = {.stage = "learn region", .done = done, .total = total, .loss = NAN, .seconds_left = -1};
    if (progress == NULL || progress(user, &p) == 0) return BLEMISH_OK;
    return error_set(e, BLEMISH_ERROR_INTERRUPTED, "stopped while learning the region of interest");
}

/* Of successive images: half the mean square difference is the variance, and a slow drift of the light hardly adds to
 * it. */
static BlemishStatus measure(const Manifest *m, size_t good, size_t height, size_t width, float *planes[2],
                             float *deviation, size_t *read, BlemishProgressFn progress, void *user, Error *e) {
    const size_t wanted = good < ROI_IMAGES_MOST ? good : ROI_IMAGES_MOST, pixels = height * width;
    size_t seen = 0;
    *read = 0;
    for (size_t i = 0; i < m->count; i++) {
        const Sample *s = &m->samples[i];
        if (s->split != BLEMISH_SPLIT_TRAIN || s->label != BLEMISH_LABEL_GOOD) continue;
        seen++;
        if (seen * wanted / good == (seen - 1) * wanted / good) continue;
        if (report(*read, wanted, progress, user, e) || load(s->path, height, width, planes[*read % 2], e))
            return e->status;
        if ((*read)++) add_squares(planes[0], planes[1], pixels, deviation);
    }
    for (size_t i = 0; i < pixels; i++) deviation[i] = sqrtf(deviation[i] / (float)(2 * (*read - 1)));
    return report(wanted, wanted, progress, user, e);
}

/* ---- two parts, if there are two ------------------------------------------------------------------------- */

enum { BINS = 256 };

/* Otsu's split of the logarithms: the largest variance between the two sides. Returns the part of the variance that it
 * explains, 0 where all are equal. */
static double split(const float *deviation, size_t pixels, float *threshold) {
    float low = INFINITY, high = 0;
    for (size_t i = 0; i < pixels; i++) {
        low = fminf(low, fmaxf(deviation[i], FLOOR));
        high = fmaxf(high, fmaxf(deviation[i], FLOOR));
    }
    if (!(high > low)) return 0;
    const double first = log((double)low), step = (log((double)high) - first) / BINS;
    size_t bins[BINS] = {0};
    for (size_t i = 0; i < pixels; i++) {
        const size_t b = (size_t)((log(fmax((double)deviation[i], (double)FLOOR)) - first) / step);
        bins[b < BINS ? b : BINS - 1]++;
    }
    double n = 0, sum = 0, squares = 0, below = 0, sum_below = 0, best = 0;
    for (size_t b = 0; b < BINS; b++) {
        n += (double)bins[b];
        sum += (double)bins[b] * (double)b;
        squares += (double)bins[b] * (double)b * (double)b;
    }
    const double variance = squares / n - sum / n * (sum / n);
    size_t from = 0, to = 0; /* bins after which the split is best: in a gap all are */
    for (size_t b = 0; b + 1 < BINS; b++) {
        below += (double)bins[b];
        sum_below += (double)bins[b] * (double)b;
        if (below == 0 || below == n) continue;
        const double apart = sum_below / below - (sum - sum_below) / (n - below);
        const double between = below / n * (1 - below / n) * apart * apart;
        if (between > best) best = between, from = b;
        if (between == best) to = b;
    }
    *threshold = (float)exp(first + step * ((double)(from + to) / 2 + 1));
    return variance > 0 ? best / variance : 0;
}

static int by_value(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The median on each side of the threshold; both sides hold pixels. */
static BlemishStatus medians(const float *deviation, size_t pixels, float threshold, BlemishRoi *found, Error *e) {
    float *sorted = array_new(pixels, sizeof *sorted, e);
    if (sorted == NULL) return e->status;
    memcpy(sorted, deviation, pixels * sizeof *sorted);
    qsort(sorted, pixels, sizeof *sorted, by_value);
    size_t below = 0;
    while (below < pixels && sorted[below] < threshold) below++;
    found->still = below ? (double)sorted[below / 2] : NAN;
    found->moving = below < pixels ? (double)sorted[below + (pixels - below) / 2] : NAN;
    array_free(sorted);
    return BLEMISH_OK;
}

/* ---- from pixels to a region ------------------------------------------------------------------------------ */

static void invert(uint8_t *mask, size_t pixels) {
    for (size_t i = 0; i < pixels; i++) mask[i] = !mask[i];
}

static BlemishStatus dilate(uint8_t *mask, uint8_t *scratch, size_t height, size_t width, size_t radius, Error *e) {
    if (mask_dilate_square(mask, height, width, 2 * radius + 1, scratch, e)) return e->status;
    memcpy(mask, scratch, height * width);
    return BLEMISH_OK;
}

static BlemishStatus erode(uint8_t *mask, uint8_t *scratch, size_t height, size_t width, size_t radius, Error *e) {
    invert(mask, height * width);
    const BlemishStatus status = dilate(mask, scratch, height, width, radius, e);
    invert(mask, height * width);
    return status;
}

/* What the mask encloses - what is outside it and not connected to the picture's edge - becomes part of it: the middle
 * of a plain object changes as little as its background. */
static BlemishStatus fill_holes(uint8_t *mask, size_t height, size_t width, Error *e) {
    const size_t pixels = height * width;
    uint32_t *labels = array_new(pixels, sizeof *labels, e), count;
    uint8_t *open = NULL;
    invert(mask, pixels);
    BlemishStatus status = labels ? mask_components(mask, height, width, labels, &count, e) : e->status;
    if (status == BLEMISH_OK && (open = array_new((size_t)count + 1, 1, e)) == NULL) status = e->status;
    for (size_t i = 0; i < pixels && status == BLEMISH_OK; i++) {
        const size_t y = i / width, x = i % width;
        if (y == 0 || x == 0 || y + 1 == height || x + 1 == width) open[labels[i]] = 1;
    }
    for (size_t i = 0; i < pixels && status == BLEMISH_OK; i++) mask[i] = labels[i] == 0 || !open[labels[i]];
    array_free(labels), array_free(open);
    return status;
}

static BlemishStatus shape(uint8_t *mask, size_t height, size_t width, Error *e) {
    const size_t side = height < width ? height : width, speck = 1 + side / 256, gap = 1 + side / 64;
    uint8_t *scratch = array_new(height, width, e);
    if (scratch == NULL) return e->status;
    BlemishStatus status = erode(mask, scratch, height, width, speck, e);
    if (status == BLEMISH_OK) status = dilate(mask, scratch, height, width, speck + gap, e);
    if (status == BLEMISH_OK) status = erode(mask, scratch, height, width, gap, e);
    if (status == BLEMISH_OK) status = fill_holes(mask, height, width, e);
    if (status == BLEMISH_OK) status = dilate(mask, scratch, height, width, 1 + side / 32, e);
    array_free(scratch);
    return status;
}

/* From each pixel's deviation, in grey levels. Fills found but for images. */
static BlemishStatus choose(const float *deviation, size_t height, size_t width, uint8_t *mask, BlemishRoi *found,
                            Error *e) {
    const size_t pixels = height * width;
    float threshold = 0;
    size_t inside = 0;
    const double explained = split(deviation, pixels, &threshold);
    found->still = found->moving = NAN;
    found->whole = NULL;
    if (explained == 0) {
        found->whole = "no pixel changes more than another: the images are all the same";
    } else {
        if (medians(deviation, pixels, threshold, found, e)) return e->status;
        for (size_t i = 0; i < pixels; i++) mask[i] = deviation[i] >= threshold;
        if (explained < EXPLAINED || !(found->moving >= RATIO * fmax(found->still, (double)FLOOR)))
            found->whole = "no part of the image is much stiller than the rest";
        else if (shape(mask, height, width, e))
            return e->status;
    }
    for (size_t i = 0; i < pixels && !found->whole; i++) inside += mask[i];
    found->share = (double)inside / (double)pixels;
    if (!found->whole && inside == 0) found->whole = "only specks change from image to image";
    if (!found->whole && found->share >= WHOLE) found->whole = "what changes, with its margin, is all of the image";
    if (found->whole == NULL) return BLEMISH_OK;
    memset(mask, 1, pixels);
    found->share = 1;
    return BLEMISH_OK;
}

BlemishStatus roi_learn(const Manifest *m, size_t height, size_t width, uint8_t *mask, BlemishRoi *found,
                        BlemishProgressFn progress, void *progress_user, Error *e) {
    size_t good = 0;
    for (size_t i = 0; i < m->count; i++)
        good += m->samples[i].split == BLEMISH_SPLIT_TRAIN && m->samples[i].label == BLEMISH_LABEL_GOOD;
    if (good < ROI_IMAGES_LEAST)
        return error_set(e, BLEMISH_ERROR_ARGUMENT,
                         "region of interest: found %zu good training images, expected %d or more to learn from", good,
                         ROI_IMAGES_LEAST);
    e->status = BLEMISH_OK;
    const size_t pixels = height * width;
    float *planes[2] = {array_new(pixels, 3 * sizeof(float), e), array_new(pixels, 3 * sizeof(float), e)};
    float *deviation = array_new(pixels, sizeof *deviation, e);
    if (planes[0] && planes[1] && deviation &&
        measure(m, good, height, width, planes, deviation, &found->images, progress, progress_user, e) == BLEMISH_OK)
        choose(deviation, height, width, mask, found, e);
    array_free(planes[0]), array_free(planes[1]), array_free(deviation);
    return e->status;
}
