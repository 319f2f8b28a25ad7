#include "infer/infer.h"

#include <string.h>

enum { SIDE_MIN = 16, SIDE_MAX = 4096, QUALITY = 82 };

/* The mean over whole blocks of k x k pixels: bilinear sampling alone would skip over fine texture. */
static BlemishStatus average_blocks(const BlemishImage *image, size_t k, BlemishImage *out, Error *e) {
    const size_t channels = (size_t)image->channels;
    if (image_new(out, image->width / k, image->height / k, image->channels, e)) return e->status;
    for (size_t y = 0; y < out->height; y++)
        for (size_t i = 0; i < out->width * channels; i++) {
            const uint8_t *from = image->data + y * k * image->stride + i / channels * k * channels + i % channels;
            size_t sum = 0;
            for (size_t v = 0; v < k; v++)
                for (size_t u = 0; u < k; u++) sum += from[v * image->stride + u * channels];
            image_pixels(out)[y * out->stride + i] = (uint8_t)((sum + k * k / 2) / (k * k));
        }
    return BLEMISH_OK;
}

static BlemishStatus encode_jpeg(const BlemishImage *image, size_t side, uint8_t **bytes, size_t *size, Error *e) {
    const size_t longest = image->width > image->height ? image->width : image->height,
                 shortest = image->width < image->height ? image->width : image->height;
    size_t block = longest / side < shortest ? longest / side : shortest;
    if (longest <= side) return image_encode_jpeg(image, QUALITY, bytes, size, e);
    BlemishImage averaged, small;
    if (average_blocks(image, block, &averaged, e)) return e->status;
    const size_t width = (image->width * side + longest / 2) / longest,
                 height = (image->height * side + longest / 2) / longest;
    BlemishStatus status = image_resize(&averaged, width ? width : 1, height ? height : 1, &small, e);
    image_free(&averaged);
    if (status) return status;
    status = image_encode_jpeg(&small, QUALITY, bytes, size, e);
    image_free(&small);
    return status;
}

static BlemishStatus encode_image(const BlemishEvaluated *v, size_t side, uint8_t **bytes, size_t *size, Error *e) {
    BlemishImage dark;
    if (v->roi == NULL) return encode_jpeg(&v->image, side, bytes, size, e);
    if (overlay_roi(&dark, &v->image, roi_of_evaluated(v), e)) return e->status;
    BlemishStatus status = encode_jpeg(&dark, side, bytes, size, e);
    image_free(&dark);
    return status;
}

static void map_palette(Palette *p) {
    const float strongest = 0.85f; /* as opaque as the hottest colour gets, so that the surface shows */
    p->count = 256;
    for (size_t i = 0; i < p->count; i++) {
        colour_turbo((float)i / 255, p->rgba[i]);
        p->rgba[i][3] = (uint8_t)(strongest * (float)i + 0.5f);
    }
}

static void map_indexes(const BlemishEvaluated *v, float *map, uint8_t *indexes, size_t height, size_t width) {
    plane_resize_bilinear(v->result.map, v->result.map_height, v->result.map_width, map, height, width);
    for (size_t i = 0; i < height * width; i++) indexes[i] = (uint8_t)(255 * map[i] + 0.5f);
}

static void mask_indexes(const BlemishEvaluated *v, uint8_t *mask, uint8_t *indexes, size_t height, size_t width,
                         bool outline) {
    mask_resize_nearest(v->mask, v->result.map_height, v->result.map_width, mask, height, width);
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++)
            indexes[y * width + x] = outline ? mask_on_contour(mask, height, width, x, y) : mask[y * width + x] != 0;
}

/* Maps and masks are shown at their own size, shrunk where that is more than was asked for. */
static BlemishStatus encode_plane(const BlemishEvaluated *v, BlemishPictureKind kind, size_t side, uint8_t **bytes,
                                  size_t *size, Error *e) {
    static const Palette truth = {.count = 2, .rgba = {{0, 0, 0, 255}, {255, 255, 255, 255}}},
                         outline = {.count = 2, .rgba = {{0, 0, 0, 0}, {255, 255, 255, 255}}};
    const size_t height = v->result.map_height < side ? v->result.map_height : side,
                 width = v->result.map_width < side ? v->result.map_width : side;
    uint8_t *indexes = array_new(height * width, sizeof *indexes, e);
    float *values = array_new(height * width, sizeof *values, e); /* the map, or in its first part the mask */
    BlemishStatus status = indexes && values ? BLEMISH_OK : e->status;
    if (status == BLEMISH_OK && kind == BLEMISH_PICTURE_MAP) {
        Palette heat;
        map_palette(&heat);
        map_indexes(v, values, indexes, height, width);
        status = image_encode_indexed(indexes, width, height, &heat, bytes, size, e);
    } else if (status == BLEMISH_OK) {
        const bool line = kind == BLEMISH_PICTURE_OUTLINE;
        mask_indexes(v, (uint8_t *)values, indexes, height, width, line);
        status = image_encode_indexed(indexes, width, height, line ? &outline : &truth, bytes, size, e);
    }
    array_free(indexes);
    array_free(values);
    return status;
}

BlemishStatus picture_encode(const BlemishEvaluated *v, BlemishPictureKind kind, size_t side, uint8_t **bytes,
                             size_t *size, Error *e) {
    *bytes = NULL;
    *size = 0;
    if ((unsigned)kind >= BLEMISH_PICTURES)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "picture: kind: found %d, expected 0 to %d", (int)kind,
                         BLEMISH_PICTURES - 1);
    if (side < SIDE_MIN || side > SIDE_MAX)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "picture: side: found %zu pixels, expected %d to %d", side,
                         SIDE_MIN, SIDE_MAX);
    if (kind == BLEMISH_PICTURE_IMAGE) return encode_image(v, side, bytes, size, e);
    if (kind != BLEMISH_PICTURE_MAP && v->mask == NULL) return BLEMISH_OK;
    return encode_plane(v, kind, side, bytes, size, e);
}
