#include "infer/infer.h"

#include <string.h>

/* A packed RGB copy. */
static BlemishStatus copy_rgb(BlemishImage *out, const BlemishImage *image, Error *e) {
    if (image_new(out, image->width, image->height, 3, e)) return e->status;
    for (size_t y = 0; y < image->height; y++) {
        const uint8_t *from = image->data + y * image->stride;
        uint8_t *to = image_pixels(out) + y * out->stride;
        if (image->channels == 3)
            memcpy(to, from, 3 * image->width);
        else
            for (size_t x = 0; x < image->width; x++) to[3 * x] = to[3 * x + 1] = to[3 * x + 2] = from[x];
    }
    return BLEMISH_OK;
}

BlemishStatus overlay_roi(BlemishImage *out, const BlemishImage *image, Roi roi, Error *e) {
    if (copy_rgb(out, image, e)) return e->status;
    uint8_t *pixels = image_pixels(out);
    for (size_t i = 0; i < out->height * out->width && roi.mask; i++)
        if (!roi_has(&roi, out->height, out->width, i / out->width, i % out->width))
            for (size_t c = 0; c < 3; c++) pixels[3 * i + c] /= 3;
    return BLEMISH_OK;
}

BlemishStatus overlay_draw(BlemishImage *out, const BlemishImage *image, const float *map, const Regions *regions,
                           Roi roi, Error *e) {
    static const uint8_t box[3] = {255, 255, 255};
    if (overlay_roi(out, image, roi, e)) return e->status;
    draw_heatmap(out, map);
    size_t side = out->width < out->height ? out->width : out->height, thickness = 1 + side / 400;
    for (size_t i = 0; i < regions->count; i++) {
        const BlemishRegion *r = &regions->list[i];
        draw_rectangle(out, r->x, r->y, r->width, r->height, thickness, box);
    }
    return BLEMISH_OK;
}
