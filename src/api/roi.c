#include "api/api.h"

#include <string.h>

enum { SIDE_MIN = 16, SIDE_MAX = 4096 };

BLEMISH_API BlemishStatus blemish_roi_learn(const BlemishDataset *dataset, size_t height, size_t width,
                                            BlemishImage *mask, BlemishRoi *found, BlemishProgressFn progress,
                                            void *progress_user, char *error) {
    Error e = {0};
    if (mask) *mask = (BlemishImage){0};
    if (mask == NULL || found == NULL)
        error_null(&e, mask ? "found" : "mask");
    else if (dataset == NULL || !dataset->open)
        error_set(&e, BLEMISH_ERROR_ARGUMENT, "data set: found none, or one that failed to open");
    else if (height < SIDE_MIN || height > SIDE_MAX || width < SIDE_MIN || width > SIDE_MAX)
        error_set(&e, BLEMISH_ERROR_ARGUMENT, "region of interest: found %zu x %zu pixels, expected %d to %d each",
                  height, width, SIDE_MIN, SIDE_MAX);
    else if (image_new(mask, width, height, 1, &e) == BLEMISH_OK &&
             roi_learn(&dataset->manifest, height, width, image_pixels(mask), found, progress, progress_user, &e))
        image_free(mask);
    return error_report(&e, error);
}

/* The mask in white on black. */
static BlemishStatus draw_mask(BlemishImage *out, const BlemishImage *mask, Error *e) {
    if (image_new(out, mask->width, mask->height, 3, e)) return e->status;
    for (size_t y = 0; y < mask->height; y++)
        for (size_t x = 0; x < mask->width; x++)
            memset(image_pixels(out) + y * out->stride + 3 * x, mask->data[y * mask->stride + x] ? 255 : 0, 3);
    return BLEMISH_OK;
}

static BlemishStatus write(const BlemishImage *mask, const BlemishImage *image, const char *path, Error *e) {
    BlemishImage white, out = {0};
    if (mask->data == NULL || mask->channels != 1 || mask->width < 1 || mask->height < 1 || mask->stride < mask->width)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "mask: found %zux%zu pixels, %d channels, expected 1 channel",
                         mask->width, mask->height, mask->channels);
    if (image && (image->data == NULL || (image->channels != 1 && image->channels != 3) || image->width < 1 ||
                  image->height < 1 || image->stride < image->width * (size_t)image->channels))
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "image: found %zux%zu pixels, %d channels, expected 1 or 3",
                         image->width, image->height, image->channels);
    if (draw_mask(&white, mask, e)) return e->status;
    BlemishStatus status = BLEMISH_OK;
    if (image) {
        uint8_t *pixels = image_pixels(&white); /* as packed bytes of one channel */
        for (size_t i = 0; i < mask->width * mask->height; i++) pixels[i] = pixels[3 * i];
        status = overlay_roi(&out, image, (Roi){pixels, mask->height, mask->width}, e);
    }
    if (status == BLEMISH_OK) status = image_write_png(image ? &out : &white, path, e);
    image_free(&white);
    image_free(&out);
    return status;
}

BLEMISH_API BlemishStatus blemish_roi_write(const BlemishImage *mask, const BlemishImage *image, const char *path,
                                            char *error) {
    Error e = {0};
    if (mask == NULL || path == NULL)
        error_null(&e, mask ? "path" : "mask");
    else
        write(mask, image, path, &e);
    return error_report(&e, error);
}
