#include "net/model_file.h"

#include "image/image.h"

#include <string.h>

static BlemishStatus check_mask(const BlemishImage *m, Error *e) {
    if (m->data == NULL || m->width < 1 || m->height < 1 || m->width > IMAGE_SIDE_MAX || m->height > IMAGE_SIDE_MAX ||
        m->channels != 1 || m->stride < m->width)
        return error_set(e, BLEMISH_ERROR_ARGUMENT,
                         "region of interest: found a mask of %zux%zu pixels, %d channels, stride %zu, expected 1 "
                         "channel, sides of 1 to %d pixels",
                         m->width, m->height, m->channels, m->stride, IMAGE_SIDE_MAX);
    return BLEMISH_OK;
}

/* As mask_resize_nearest has it. */
static uint8_t value_at(const BlemishImage *m, const Geometry *g, size_t y, size_t x) {
    return m->data[y * m->height / g->height * m->stride + x * m->width / g->width] != 0;
}

BlemishStatus model_set_roi(Model *model, const BlemishImage *mask, bool *changed, Error *e) {
    const Geometry *g = &model->geometry;
    const size_t pixels = g->height * g->width;
    uint8_t *roi = NULL;
    if (mask) {
        if (check_mask(mask, e)) return e->status;
        if (model->tiles)
            return error_set(e, BLEMISH_ERROR_ARGUMENT,
                             "region of interest: found a model by tiles, expected one that sees the whole image");
        if ((roi = array_new(pixels, 1, e)) == NULL) return e->status;
        for (size_t i = 0; i < pixels; i++) roi[i] = value_at(mask, g, i / g->width, i % g->width);
        if (memchr(roi, 1, pixels) == NULL) {
            array_free(roi);
            return error_set(e, BLEMISH_ERROR_ARGUMENT,
                             "region of interest: found a mask without a pixel that counts, expected some that are "
                             "not black");
        }
    }
    if (roi && memchr(roi, 0, pixels) == NULL) { /* leaves nothing out */
        array_free(roi);
        roi = NULL;
    }
    *changed = roi && model->roi ? memcmp(roi, model->roi, pixels) != 0 : roi != model->roi;
    array_free(model->roi);
    model->roi = roi;
    return BLEMISH_OK;
}

double model_roi_share(const Model *model) {
    const size_t pixels = model->geometry.height * model->geometry.width;
    size_t inside = 0;
    for (size_t i = 0; model->roi && i < pixels; i++) inside += model->roi[i];
    return model->roi ? (double)inside / (double)pixels : 1;
}

BlemishStatus roi_read(Model *model, const TensorFile *file, Error *e) {
    const Geometry *g = &model->geometry;
    const size_t shape[2] = {g->height, g->width};
    const Tensor *tensor;
    if (model->tiles)
        return error_set(e, BLEMISH_ERROR_FORMAT, "%s: roi: found true, expected false in a model by tiles",
                         file->path);
    if (tensor_file_get(file, "roi", 2, shape, &tensor, e)) return e->status;
    if (tensor->type != TENSOR_U8)
        return error_set(e, BLEMISH_ERROR_FORMAT, "%s: roi: found another type of numbers, expected U8", file->path);
    float *values = array_new(tensor->count, sizeof *values, e);
    model->roi = values ? array_new(tensor->count, 1, e) : NULL;
    if (model->roi && tensor_file_floats(file, tensor, values, e) == BLEMISH_OK) {
        size_t inside = 0;
        for (size_t i = 0; i < tensor->count && e->status == BLEMISH_OK; i++) {
            if (!(values[i] <= 1))
                error_set(e, BLEMISH_ERROR_FORMAT, "%s: roi: found %g at %zu, expected 0 or 1", file->path,
                          (double)values[i], i);
            inside += model->roi[i] = values[i] != 0;
        }
        if (e->status == BLEMISH_OK && inside == 0)
            error_set(e, BLEMISH_ERROR_FORMAT, "%s: roi: found zeros only, expected a part that counts", file->path);
    }
    array_free(values);
    return e->status;
}
