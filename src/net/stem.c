/* The first convolution of a quantised network. Its input is pixels, which are bytes already: with the normalisation in
 * its weights and bias, an image of the network's size is read without any error, and others are rounded to a grey
 * level. Padding would be black; here it is the mean pixel, which is the padding with zeros of the network that was
 * trained. */
#include "net/net.h"

#include "image/image.h"

#include <math.h>
#include <string.h>

enum { COLOURS = 3, PADDING = 3 };

/* What a normalised pixel's unit is in grey levels: row[i] of a weight belongs to colour i / taps. */
static float levels(size_t i, size_t taps) {
    return 255 * image_std[i / taps];
}

BlemishStatus stem_quantise(const TrunkConv *c, const float *moments, Error *e) {
    const size_t taps = c->kernel * c->kernel, per = c->in * taps;
    float *by_level = array_new(per * per, sizeof *by_level, e), *scale = array_new(c->out, sizeof *scale, e);
    int8_t *rounded = array_new(c->out * per, 1, e);
    if (by_level && scale && rounded) {
        for (size_t i = 0; i < per * per; i++) by_level[i] = moments[i] * levels(i / per, taps) * levels(i % per, taps);
        for (size_t i = 0; i < c->out * per; i++) c->weight[i] /= levels(i % per, taps);
        quantise_rows_for(c->weight, c->out, per, by_level, rounded, scale, e);
        for (size_t i = 0; i < c->out * per; i++)
            c->weight[i] = (float)rounded[i] * scale[i / per] * levels(i % per, taps);
    }
    array_free(by_level);
    array_free(scale);
    array_free(rounded);
    return e->status;
}

BlemishStatus stem_open(Conv **out, Engine *engine, const TrunkConv *c, const float *plain, const ConvShape *shape,
                        Error *e) {
    const size_t taps = c->kernel * c->kernel, per = c->in * taps;
    float *by_level = array_new(c->out * per, sizeof *by_level, e);
    float *scale = array_new(c->out, sizeof *scale, e), *bias = array_new(c->out, sizeof *bias, e);
    int8_t *weight = array_new(c->out * per, 1, e);
    if (by_level && scale && bias && weight) {
        for (size_t i = 0; i < c->out * per; i++) by_level[i] = plain[i] / levels(i % per, taps);
        quantise_rows(by_level, c->out, per, per, weight, scale);
        for (size_t o = 0; o < c->out; o++) {
            double mean = 0; /* what the mean pixel gives */
            for (size_t i = 0; i < per; i++)
                mean += (double)scale[o] * weight[o * per + i] * 255 * (double)image_mean[i / taps];
            bias[o] = (float)(((double)c->bias[o] - mean) / (double)c->step);
            scale[o] /= c->step;
        }
        ConvShape padded = *shape;
        padded.from = padded.to = ELEMENT_U8;
        padded.height += 2 * PADDING, padded.width += 2 * PADDING;
        padded.padding = 0;
        conv_open_int8(out, engine, &padded, weight, scale, bias, e);
    }
    array_free(by_level);
    array_free(scale);
    array_free(bias);
    array_free(weight);
    return e->status;
}

size_t stem_input_bytes(size_t batch, size_t height, size_t width) {
    return batch * (height + 2 * PADDING) * (width + 2 * PADDING) * COLOURS;
}

void stem_input(const float *in, size_t batch, size_t height, size_t width, uint8_t *out) {
    const Kernels *k = kernels();
    const size_t across = width + 2 * PADDING, down = height + 2 * PADDING;
    float scale[COLOURS], shift[COLOURS];
    uint8_t mean[COLOURS];
    for (size_t c = 0; c < COLOURS; c++) scale[c] = 255 * image_std[c], shift[c] = 255 * image_mean[c];
    k->to_pixels((float[COLOURS]){0}, 1, scale, shift, mean);
#pragma omp parallel for schedule(static)
    for (size_t r = 0; r < batch * down; r++) {
        uint8_t *row = out + r * across * COLOURS;
        const size_t y = r % down - PADDING; /* above the image it wraps to beyond it */
        const size_t left = y < height ? PADDING : across, right = y < height ? PADDING + width : across;
        for (size_t x = 0; x < left; x++) memcpy(row + x * COLOURS, mean, COLOURS);
        if (left < right)
            k->to_pixels(in + (r / down * height + y) * width * COLOURS, width, scale, shift, row + left * COLOURS);
        for (size_t x = right; x < across; x++) memcpy(row + x * COLOURS, mean, COLOURS);
    }
}
