#include "train/augment.h"

#include <math.h>
#include <string.h>

/* ---- drawing --------------------------------------------------------------------------------------------- */

static float draw_factor(Random *random, double most) {
    return (float)(1 + most * (2 * (double)random_float(random) - 1));
}

static ptrdiff_t draw_shift(Random *random, double most, size_t side) {
    const uint32_t reach = (uint32_t)(most * (double)side);
    return (ptrdiff_t)random_below(random, 2 * reach + 1) - (ptrdiff_t)reach;
}

void augment_draw(Augmentation *a, const Recipe *recipe, Random *random) {
    a->contrast = draw_factor(random, recipe->contrast);
    a->brightness = draw_factor(random, recipe->brightness);
    a->down = draw_shift(random, recipe->shift, recipe->height);
    a->right = draw_shift(random, recipe->shift, recipe->width);
}

/* ---- places ---------------------------------------------------------------------------------------------- */

/* In place, on (height, width) pixels of so many bytes. */
static void shift(uint8_t *at, size_t height, size_t width, size_t pixel, ptrdiff_t down, ptrdiff_t right) {
    const size_t row = width * pixel;
    const size_t v = (size_t)(down < 0 ? -down : down), u = (size_t)(right < 0 ? -right : right) * pixel;
    for (size_t i = 0; i < height && v; i++) { /* from the side that rows move to */
        const size_t y = down > 0 ? height - 1 - i : i, last = height - 1;
        const size_t from = down > 0 ? (y > v ? y - v : 0) : (y + v < last ? y + v : last);
        if (from != y) memcpy(at + y * row, at + from * row, row);
    }
    for (size_t y = 0; y < height && u; y++) {
        uint8_t *p = at + y * row, *end = p + row;
        memmove(right > 0 ? p + u : p, right > 0 ? p : p + u, row - u);
        for (size_t i = pixel; i < u; i += pixel)
            memcpy(right > 0 ? p + i : end - pixel - i, right > 0 ? p : end - pixel, pixel);
    }
}

static void swap(uint8_t *a, uint8_t *b, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        const uint8_t kept = a[i];
        a[i] = b[i];
        b[i] = kept;
    }
}

static void flip(uint8_t *at, size_t height, size_t width, size_t pixel, Flip flip) {
    const size_t row = width * pixel;
    for (size_t y = 0; y < height && flip & FLIP_HORIZONTAL; y++)
        for (size_t x = 0; x < width / 2; x++)
            swap(at + y * row + x * pixel, at + y * row + (width - 1 - x) * pixel, pixel);
    for (size_t y = 0; y < height / 2 && flip & FLIP_VERTICAL; y++)
        swap(at + y * row, at + (height - 1 - y) * row, row);
}

static void place(const Augmentation *a, void *at, size_t height, size_t width, size_t pixel) {
    shift(at, height, width, pixel, a->down, a->right);
    flip(at, height, width, pixel, a->flip);
}

static BlemishStatus turn(const BlemishImage *in, unsigned turns, BlemishImage *out, Error *e) {
    static const int orientation[4] = {1, 8, 3, 6}; /* EXIF's */
    return image_orient(in, orientation[turns], out, e);
}

/* ---- images ---------------------------------------------------------------------------------------------- */

/* On the network's input, whose values were v = input * std + mean before. */
static void change_light(const Augmentation *a, float *input, size_t pixels) {
    if (a->contrast == 1 && a->brightness == 1) return;
    double sum = 0;
    for (size_t i = 0; i < 3 * pixels; i++) {
        input[i] = input[i] * image_std[i % 3] + image_mean[i % 3];
        sum += (double)input[i];
    }
    const float mean = (float)(sum / (double)(3 * pixels));
    for (size_t i = 0; i < 3 * pixels; i++) {
        const float v = (mean + (input[i] - mean) * a->contrast) * a->brightness;
        input[i] = (fminf(fmaxf(v, 0), 1) - image_mean[i % 3]) / image_std[i % 3];
    }
}

BlemishStatus augment_image(const Augmentation *a, const BlemishImage *image, const BlemishImage *roi, size_t height,
                            size_t width, float *input, Error *e) {
    BlemishImage turned = {0};
    uint8_t *inside = NULL;
    if (roi && (inside = array_new(height, width, e)) == NULL) return e->status;
    if ((inside && augment_turn_mask(a->turn, roi, height, width, inside, e)) ||
        (a->turn && turn(image, a->turn, &turned, e))) {
        array_free(inside);
        return e->status;
    }
    image_to_input(a->turn ? &turned : image, height, width, input);
    image_free(&turned);
    if (inside) roi_fill(inside, height * width, input); /* what is outside has no say in the mean either */
    change_light(a, input, height * width);
    if (inside) roi_fill(inside, height * width, input);
    array_free(inside);
    place(a, input, height, width, 3 * sizeof *input);
    return BLEMISH_OK;
}

/* ---- masks ----------------------------------------------------------------------------------------------- */

BlemishStatus augment_turn_mask(unsigned turns, const BlemishImage *mask, size_t height, size_t width, uint8_t *out,
                                Error *e) {
    BlemishImage turned = {0};
    if (turns && turn(mask, turns, &turned, e)) return e->status;
    const BlemishImage *in = turns ? &turned : mask;
    mask_resize_nearest(in->data, in->height, in->width, out, height, width);
    image_free(&turned);
    return BLEMISH_OK;
}

void augment_keep_defect(Augmentation *a, const uint8_t *mask, size_t height, size_t width) {
    size_t all = 0, kept = 0;
    while (a->down || a->right) {
        all = kept = 0;
        for (size_t y = 0; y < height; y++)
            for (size_t x = 0; x < width; x++) {
                const ptrdiff_t to_y = (ptrdiff_t)y + a->down, to_x = (ptrdiff_t)x + a->right;
                const bool stays = to_y >= 0 && to_x >= 0 && to_y < (ptrdiff_t)height && to_x < (ptrdiff_t)width;
                all += mask[y * width + x];
                kept += mask[y * width + x] && stays;
            }
        if (2 * kept >= all) return;
        a->down /= 2;
        a->right /= 2;
    }
}

void augment_mask(const Augmentation *a, uint8_t *mask, size_t height, size_t width) {
    place(a, mask, height, width, 1);
}

BlemishStatus augment_roi(const Augmentation *a, const BlemishImage *roi, uint8_t *out, Error *e) {
    if (augment_turn_mask(a->turn, roi, roi->height, roi->width, out, e)) return e->status;
    augment_mask(a, out, roi->height, roi->width);
    return BLEMISH_OK;
}
